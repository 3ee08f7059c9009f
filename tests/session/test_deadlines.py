from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from tests.session.environments import Loop, Slow

from openenv.environment import describe
from openenv.errors import OrderError, SessionCreationError, StepTimeoutError
from openenv.session import HostedSession, LoopHost, Phase, Session, ThreadHost
from openenv.session.quarantine import Quarantine


def hosted(quarantine: Quarantine | None = None) -> HostedSession:
    session = Session(describe(Slow))
    result = HostedSession(session, ThreadHost("test", quarantine), owner="test", lease_s=60)
    result.call("start").result(5)
    result.call("reset").result(5)
    return result


def wait_until(condition: Callable[[], bool], seconds: float = 5) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_sleeping_step_is_answered_at_its_deadline_and_the_next_reset_gets_a_fresh_environment() -> None:
    quarantine = Quarantine()
    session = hosted(quarantine)
    thread = session.call("step", action={"mode": "answer"}).result(5).observation.result
    began = time.monotonic()
    with pytest.raises(StepTimeoutError) as caught:
        session.call("step", action={"mode": "sleep", "seconds": 1.0}, timeout_s=0.1).result(5)
    assert time.monotonic() - began < 0.9
    assert (caught.value.outcome, caught.value.session_fate) == ("timeout", "needs_reset")
    assert (caught.value.timeout_s, caught.value.retryable) == (0.1, True)
    assert session.session.phase is Phase.NEEDS_RESET
    assert quarantine.count == 1
    with pytest.raises(OrderError, match="replaced"):
        session.call("step", action={"mode": "answer"}).result(5)
    session.call("reset").result(5)
    assert session.call("step", action={"mode": "answer"}).result(5).observation.result != thread
    wait_until(lambda: quarantine.count == 0)
    assert int(thread) in Slow.closed
    session.call("close").result(5)
    session.host.stop()


def test_a_spinning_step_is_interrupted() -> None:
    quarantine = Quarantine()
    session = hosted(quarantine)
    began = time.monotonic()
    with pytest.raises(StepTimeoutError):
        session.call("step", action={"mode": "spin", "seconds": 20}, timeout_s=0.1).result(5)
    wait_until(lambda: quarantine.count == 0)
    assert time.monotonic() - began < 5
    session.host.stop()


def test_calls_that_return_in_time_are_never_expired() -> None:
    session = hosted()
    for _ in range(300):
        assert session.call("step", action={"mode": "answer"}, timeout_s=5).result(5).outcome == "ok"
    session.host.stop()


@pytest.mark.slow
def test_deadlines_that_race_with_the_return_leave_exactly_one_answer() -> None:
    quarantine = Quarantine(10_000)
    session = hosted(quarantine)
    outcomes = {"ok": 0, "timeout": 0}
    for index in range(400):
        seconds = 0.004 + (index % 7 - 3) * 0.0004
        future = session.call("step", action={"mode": "sleep", "seconds": 0.004}, timeout_s=seconds)
        try:
            future.result(5)
            outcomes["ok"] += 1
        except StepTimeoutError:
            outcomes["timeout"] += 1
            session.call("reset").result(5)
    assert min(outcomes.values()) > 0
    assert session.pending == 0
    wait_until(lambda: quarantine.count == 0)
    session.host.stop()


def test_too_many_stuck_environments_refuse_new_ones() -> None:
    quarantine = Quarantine(1)
    quarantine.check()
    quarantine.enter()
    with pytest.raises(SessionCreationError, match="stuck"):
        quarantine.check()
    quarantine.leave()
    quarantine.check()
    assert quarantine.total == 1


async def test_an_asynchronous_step_is_cancelled_at_its_deadline() -> None:
    session = Session(describe(Loop))
    hosted = HostedSession(session, LoopHost(), owner="test", lease_s=60)
    await hosted.acall("start")
    await hosted.acall("reset")
    with pytest.raises(StepTimeoutError):
        await hosted.acall("step", action={"seconds": 20.0}, timeout_s=0.05)
    assert session.phase is Phase.NEEDS_RESET
    await hosted.acall("reset")
    assert (await hosted.acall("step", action={}, timeout_s=5)).observation.result == "done"
    with pytest.raises(StepTimeoutError):
        await hosted.acall("step", action={"seconds": 20.0, "stubborn": True}, timeout_s=0.05)
    await hosted.acall("reset")
    await asyncio.sleep(0.4)
    assert session.phase is Phase.READY
    assert (await hosted.acall("step", action={})).step == 1
    await hosted.acall("close")
    hosted.host.stop()
    await asyncio.sleep(0)


def test_the_watchdog_is_one_thread_for_all() -> None:
    sessions = [hosted() for _ in range(5)]
    for session in sessions:
        session.call("step", action={"mode": "answer"}, timeout_s=3).result(5)
        session.host.stop()
    assert sum(t.name == "openenv-watchdog" for t in threading.enumerate()) == 1
