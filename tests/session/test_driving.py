"""What an environment raises, and what only passes through it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from openenv import Environment
from openenv.environment import describe
from openenv.errors import EnvironmentFactoryError, EnvironmentFailedError
from openenv.session import Session, SessionManager


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError


class Waiting(Environment):
    async def reset(self) -> str:
        self.waits = asyncio.Event()
        return ""

    async def step(self, kind: str = "") -> str:
        if kind == "cancelled":
            task = asyncio.ensure_future(asyncio.sleep(60))
            task.cancel()
            await task
        if kind == "interrupt":
            raise KeyboardInterrupt
        if kind == "wait":
            self.waits.set()
            await asyncio.sleep(60)
        return "fine"

    @property
    def state(self) -> object:
        raise SystemExit


class Plain(Environment):
    def reset(self) -> str:
        return ""

    def step(self, kind: str = "") -> str:
        if kind == "interrupt":
            raise KeyboardInterrupt
        raise Unprintable


async def test_a_cancellation_that_the_environment_awaited_is_its_failure() -> None:
    session = Session(describe(Waiting))
    session.start()
    await session.areset()
    with pytest.raises(EnvironmentFailedError, match="CancelledError"):
        await session.astep({"kind": "cancelled"})
    assert (await session.astep({})).observation.result == "fine"
    with pytest.raises(EnvironmentFailedError, match="SystemExit"):
        await session.aask("state", session.spec.read_state)


async def test_a_cancellation_of_the_caller_is_the_callers() -> None:
    session = Session(describe(Waiting))
    session.start()
    await session.areset()
    calling = asyncio.ensure_future(session.astep({"kind": "wait"}))
    await session._env.waits.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling


@pytest.mark.parametrize("target", [Waiting, Plain])
async def test_in_a_server_no_interrupt_comes_from_a_keyboard(target: type) -> None:
    manager = SessionManager(describe(target), max_sessions=1, host="auto" if target is Waiting else "inline")
    hosted = await manager.open(owner="test")
    await hosted.acall("reset")
    with pytest.raises(EnvironmentFailedError, match="KeyboardInterrupt"):
        await hosted.acall("step", action={"kind": "interrupt"})
    await manager.drain()


def test_an_exception_without_a_text_is_named_by_its_class() -> None:
    session = Session(describe(Plain))
    session.start()
    session.reset()
    with pytest.raises(EnvironmentFailedError, match="Unprintable"):
        session.step({})


def test_an_interrupt_in_another_thread_is_the_environments() -> None:
    session = Session(describe(Plain))
    found: list[BaseException] = []

    def run() -> None:
        session.start()
        session.reset()
        with pytest.raises(EnvironmentFailedError) as raised:
            session.step({"kind": "interrupt"})
        found.append(raised.value)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found


class Leaving(Plain):
    def __init__(self) -> None:
        raise SystemExit(3)


def test_a_constructor_does_not_end_the_process() -> None:
    with pytest.raises(EnvironmentFactoryError, match="SystemExit: 3"):
        Session(describe(Leaving)).start()
