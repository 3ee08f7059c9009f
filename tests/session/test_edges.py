"""What happens rarely: late returns, cancelled callers, stuck constructors, interrupted programs."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable

import pytest
from tests.session.environments import Count, Loop, Slow
from tests.session.test_hosts import CloseFails, Target
from tests.session.test_session import AsyncScored

from openenv import Environment
from openenv.environment import describe
from openenv.errors import SessionCapacityError, SessionCreationError, StepTimeoutError
from openenv.session import HostedSession, Phase, Session, SessionManager, ThreadHost
from openenv.session.deadline import Abandoned, Call, Watchdog
from openenv.session.driving import is_awaitable
from openenv.session.quarantine import Quarantine


def wait_until(condition: Callable[[], bool], seconds: float = 5) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_thread_that_was_left_ends_when_its_job_returns() -> None:
    quarantine = Quarantine()
    host = ThreadHost("left", quarantine)
    started, release, ran = threading.Event(), threading.Event(), threading.Event()

    def job() -> None:
        started.set()
        release.wait(5)

    host.submit(job)
    assert started.wait(5)
    host.abandon()
    host.submit(ran.set)
    assert ran.wait(5)
    assert quarantine.count == 1
    release.set()
    wait_until(lambda: quarantine.count == 0)
    host.stop()


def test_starting_twice_builds_one_environment() -> None:
    session = Session(describe(Slow))
    before = len(Slow.made)
    session.start()
    session.start()
    assert len(Slow.made) == before + 1


class Interrupting(Environment):
    def reset(self) -> str:
        return ""

    def step(self, x: int = 0) -> str:
        raise KeyboardInterrupt


def test_ctrl_c_in_the_programs_own_thread_is_the_programs() -> None:
    session = Session(describe(Interrupting))
    session.start()
    session.reset()
    with pytest.raises(KeyboardInterrupt):
        session.step({})
    assert session.reset().step == 0


def test_a_deadline_without_a_host_still_abandons_the_call() -> None:
    session = Session(describe(Slow))
    session.start()
    session.reset()
    session.stoppable = True
    told: list[StepTimeoutError] = []
    with pytest.raises(Abandoned):
        session.step({"mode": "sleep", "seconds": 0.2}, timeout_s=0.05, on_expiry=told.append)
    assert told[0].timeout_s == 0.05
    assert session.phase is Phase.NEEDS_RESET


async def test_a_caller_that_is_cancelled_cancels_the_step() -> None:
    session = Session(describe(Loop))
    session.start()
    await session.areset()
    task = asyncio.create_task(session.astep({"seconds": 20.0}, timeout_s=20))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await session.astep({})).observation.result == "done"
    await session.aclose()


async def test_no_environment_is_built_when_too_many_are_stuck() -> None:
    manager = SessionManager(describe(Count), max_quarantined=0)
    with pytest.raises(SessionCreationError, match="stuck"):
        await manager.open(owner="test")
    assert manager.active == 0


async def test_those_who_wait_are_refused_when_the_server_drains() -> None:
    manager = SessionManager(describe(Count), max_sessions=1, queue_size=3, queue_timeout_s=5)
    await manager.open(owner="test")
    waiting = [asyncio.create_task(manager.open(owner="test")) for _ in range(2)]
    await asyncio.sleep(0.01)
    waiting[0].cancel()
    await manager.drain(1)
    with pytest.raises(SessionCapacityError, match="shutting down"):
        await waiting[1]
    assert manager.active == 0


class SlowToLeave(Loop):
    async def close(self) -> None:  # type: ignore[override]
        await asyncio.sleep(0.3)


async def test_a_coroutine_that_does_not_close_in_time_gives_its_slot_back() -> None:
    manager = SessionManager(describe(SlowToLeave))
    await manager.open(owner="test")
    await manager.drain(0.02)
    assert manager.active == 0
    assert manager.quarantine.count == 0
    await asyncio.sleep(0.4)


def test_types_made_on_the_fly_are_not_remembered_for_ever() -> None:
    for index in range(4200):
        assert not is_awaitable(type(f"T{index}", (), {})())


def test_an_asynchronous_rubric_under_a_deadline() -> None:
    hosted = HostedSession(Session(describe(AsyncScored)), ThreadHost(), owner="test", lease_s=1)
    hosted.call("start").result(5)
    hosted.call("reset").result(5)
    assert hosted.call("step", action={"by": 1}, timeout_s=5).result(5).reward == 0.75
    hosted.host.stop()


class SlowToBuild(Slow):
    delay = 0.0

    def __init__(self) -> None:
        with contextlib.suppress(BaseException):  # even the watchdog's interrupt: it goes on to be built
            time.sleep(type(self).delay)
        super().__init__()


def test_an_environment_that_was_built_too_late_is_closed() -> None:
    quarantine = Quarantine()
    hosted = HostedSession(Session(describe(SlowToBuild)), ThreadHost("q", quarantine), owner="t", lease_s=1)
    hosted.call("start").result(5)
    hosted.call("reset").result(5)
    with pytest.raises(StepTimeoutError):
        hosted.call("step", action={"mode": "sleep", "seconds": 0.2}, timeout_s=0.02).result(5)
    wait_until(lambda: quarantine.count == 0)
    closed = len(Slow.closed)
    SlowToBuild.delay = 0.3
    try:
        with pytest.raises(StepTimeoutError):
            hosted.call("reset", timeout_s=0.05).result(5)
        wait_until(lambda: quarantine.count == 0)
    finally:
        SlowToBuild.delay = 0.0
    assert hosted.call("reset").result(5).step == 0
    assert len(Slow.closed) == closed + 1
    hosted.host.stop()


def test_an_entry_that_an_earlier_deadline_replaced_is_passed_over() -> None:
    watchdog, target = Watchdog(), Target()
    expired: list[float] = []
    later = Call(0.25, lambda _: expired.append(0.25))
    watchdog.watch(target, later)
    sooner = Call(0.05, lambda _: expired.append(0.05))
    sooner.thread_id = 0
    watchdog.watch(target, sooner)
    sooner.enter()
    wait_until(lambda: expired == [0.05])
    time.sleep(0.3)
    assert expired == [0.05]


def stuck(value: object, error: object) -> None:
    raise KeyError("the door's own mistake")


async def test_logs_name_sessions_by_their_beginnings_for_ids_are_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG", logger="openenv")
    ids = []
    for cls in (SlowToLeave, Slow, CloseFails):
        manager = SessionManager(describe(cls), lease_s=0.05)
        hosted = await manager.open(owner="test")
        ids.append(hosted.id)
        if cls is Slow:
            await hosted.acall("reset")
            await asyncio.wait({asyncio.wrap_future(hosted.call("step", action={"mode": "exit"}))})
            hosted.post(lambda: ("state", {}), stuck)
            await asyncio.sleep(0.5)
        await manager.drain(0.02)
    await asyncio.sleep(0.4)
    said = caplog.text
    for text in ("did not close within", "Answering a call", "lease of", "close() of the env", "step() of"):
        assert text in said, text
    for session_id in ids:
        assert session_id not in said
        assert session_id[:8] in said
