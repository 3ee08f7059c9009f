from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.session.environments import Count, Loop, Slow

from openenv import Environment
from openenv.environment import describe
from openenv.errors import EnvironmentFailedError, InfrastructureError, OrderError, SessionCreationError
from openenv.session import HostedSession, InlineHost, LoopHost, Phase, Session, SharedThread, ThreadHost
from openenv.session.closing import close_environment
from openenv.session.deadline import WATCHDOG, Abandoned, Call, Watchdog


def wait_until(condition: Callable[[], bool], seconds: float = 5) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_job_that_fails_does_not_end_the_thread() -> None:
    host = ThreadHost("test")
    ran = threading.Event()

    def broken() -> None:
        raise RuntimeError("a bug")

    host.submit(broken)
    host.submit(ran.set)
    assert ran.wait(5)
    host.stop()
    wait_until(lambda: not any(t.name == "test" for t in threading.enumerate()))


def test_a_shared_thread_cannot_be_abandoned_and_outlives_its_sessions() -> None:
    host = SharedThread("shared")
    host.abandon()
    host.stop()
    ran = threading.Event()
    host.submit(ran.set)
    assert ran.wait(5)
    host.shutdown()


def test_inline_has_nothing_to_abandon_or_stop() -> None:
    host = InlineHost()
    ran: list[int] = []
    host.submit(lambda: ran.append(threading.get_ident()))
    host.abandon()
    host.stop()
    assert ran == [threading.get_ident()]


async def test_a_loop_host_takes_jobs_from_any_thread_and_survives_a_failing_one() -> None:
    host = LoopHost("test")
    done = asyncio.Event()

    async def broken() -> None:
        raise RuntimeError("a bug")

    async def finish() -> None:
        done.set()

    host.submit(broken)
    await asyncio.to_thread(host.submit, finish)
    await asyncio.wait_for(done.wait(), 5)
    host.abandon()
    host.stop()


async def test_a_broken_door_on_the_loop_answers_with_an_infrastructure_error() -> None:
    hosted = HostedSession(Session(describe(Loop)), LoopHost(), owner="test", lease_s=1)
    await hosted.acall("start")
    assert await hosted.acall("state") is not None
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def prepare() -> Any:
        raise KeyError("a bug")

    hosted.post(prepare, lambda _, error: answer.set_result(error))
    assert isinstance(await answer, InfrastructureError)
    nothing: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    hosted.post(lambda: None, lambda value, error: nothing.set_result((value, error)))
    assert await nothing == (None, None)
    with pytest.raises(OrderError):
        await hosted.acall("step", action={})
    await hosted.acall("close")
    hosted.host.stop()


def test_a_callers_callback_that_fails_does_not_end_the_session() -> None:
    hosted = HostedSession(Session(describe(Count)), ThreadHost(), owner="test", lease_s=1)
    hosted.call("start").result(5)

    def explode(value: Any, error: Any) -> None:
        raise RuntimeError("a bug of the door")

    hosted.post(lambda: ("state", {}), explode)
    assert hosted.call("reset").result(5).step == 0
    cancelled = hosted.call("state")
    cancelled.cancel()
    assert hosted.call("state").result(5) is not None
    hosted.host.stop()


def test_calls_of_one_session_do_not_overlap() -> None:
    session = Session(describe(Slow))
    session.start()
    session.reset()
    thread = threading.Thread(target=lambda: session.step({"mode": "sleep", "seconds": 0.3}))
    thread.start()
    time.sleep(0.1)
    with pytest.raises(OrderError, match="while step"):
        session.step({"mode": "answer"})
    with pytest.raises(OrderError, match="while step"):
        session.state()
    thread.join()


class Touchy(Environment):
    """Fails where told."""

    def reset(self, fail: bool = False) -> str:
        if fail:
            raise RuntimeError("reset failed")
        return ""

    def step(self, x: int = 0) -> str:
        return ""

    @property
    def state(self) -> object:
        raise RuntimeError("state failed")


def test_a_reset_that_fails_leaves_no_episode_behind() -> None:
    session = Session(describe(Touchy))
    session.start()
    with pytest.raises(EnvironmentFailedError, match="reset failed"):
        session.reset(options={"fail": True})
    assert session.phase is Phase.NEW
    session.reset()
    with pytest.raises(EnvironmentFailedError):
        session.reset(options={"fail": True})
    assert (session.phase, session.episode, session.status) == (Phase.NEEDS_RESET, None, "unscored")
    with pytest.raises(OrderError):
        session.step({})
    session.reset()
    assert session.step({}).step == 1
    with pytest.raises(EnvironmentFailedError, match="state failed"):
        session.state()
    with pytest.raises(EnvironmentFailedError, match="asked") as failed:
        session.ask("question", lambda env: (_ for _ in ()).throw(ValueError("asked")))
    assert failed.value.data["exception"] == "ValueError"


async def test_questions_to_an_asynchronous_session() -> None:
    session = Session(describe(Touchy))
    session.start()
    with pytest.raises(EnvironmentFailedError, match="state failed"):
        await session.aask("state", session.spec.read_state)
    with pytest.raises(SessionCreationError):
        await session.aask("question", lambda env: (_ for _ in ()).throw(SessionCreationError("no")))
    await session.areset()
    with pytest.raises(EnvironmentFailedError):
        await session.areset(options={"fail": True})
    await session.aclose()


class Closing:
    def __init__(self, action: str) -> None:
        self.action = action
        self.closed = 0

    def close(self) -> Any:
        self.closed += 1
        if self.action == "raise":
            raise RuntimeError("close failed")
        return self._later() if self.action.startswith("later") else None

    async def _later(self) -> None:
        await asyncio.sleep(0)
        self.closed += 1
        if self.action == "later raise":
            raise RuntimeError("close failed")


@pytest.mark.parametrize(("action", "closed"), [("", 1), ("raise", 1), ("later", 2), ("later raise", 2)])
async def test_closing_never_raises(action: str, closed: int) -> None:
    outside, inside = Closing(action), Closing(action)
    await asyncio.to_thread(close_environment, outside, "s")
    close_environment(inside, "s")
    await asyncio.sleep(0.02)
    assert (outside.closed, inside.closed) == (closed, closed)
    close_environment(object(), "s")


class CloseFails(Touchy):
    async def close(self) -> None:  # type: ignore[override]
        raise RuntimeError("close failed")


async def test_an_asynchronous_close_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    session = Session(describe(CloseFails))
    session.start()
    await session.aclose()
    assert "close failed" in caplog.text


def test_a_call_cannot_expire_while_the_rules_run_or_when_it_is_over() -> None:
    expired: list[Call] = []
    call = Call(0.01, expired.append)
    assert call.expire() is False
    call.enter()
    call.leave()
    call.finish()
    assert call.expire() is True
    assert expired == []


def test_a_call_that_expired_is_abandoned_by_its_thread() -> None:
    outcome: list[BaseException] = []

    def run() -> None:
        call = Call(0.01, lambda _: "environment")
        calls.append(call)
        call.enter()
        try:
            try:
                while True:
                    time.sleep(0.001)
            finally:
                call.leave()
        except BaseException as gone:  # noqa: BLE001,RUF100 - whatever ends the thread is the outcome
            outcome.append(gone)

    calls: list[Call] = []
    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: bool(calls))
    time.sleep(0.02)
    assert calls[0].expire()
    thread.join(5)
    assert isinstance(outcome[0], Abandoned)
    assert outcome[0].environment == "environment"


class Target:
    current_call: Call | None = None
    watched_until = float("inf")


def test_the_watchdog_moves_on_to_a_later_deadline_and_retries_a_busy_call() -> None:
    watchdog, target = Watchdog(), Target()
    first = Call(0.05, lambda _: None)
    watchdog.watch(target, first)
    first.enter()
    first.leave()
    first.finish()
    done = threading.Event()
    second = Call(0.15, lambda _: done.set())
    watchdog.watch(target, second)
    assert target.watched_until <= second.deadline
    assert not done.wait(0.25)  # the rules hold the call: it is tried again, and not expired
    second.thread_id = 0
    second.enter()
    assert done.wait(5)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_gets_a_watchdog_of_its_own() -> None:
    WATCHDOG.watch(Target(), Call(60, lambda _: None))
    child = os.fork()
    if child == 0:
        expired = threading.Event()
        call = Call(0.01, lambda _: expired.set())
        call.thread_id = 0
        WATCHDOG.watch(Target(), call)
        call.enter()
        os._exit(0 if expired.wait(5) else 1)
    assert os.waitpid(child, 0)[1] == 0
