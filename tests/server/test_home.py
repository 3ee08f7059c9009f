from __future__ import annotations

import asyncio
import threading
import time

import pytest

from openenv import Environment
from openenv.environment import describe
from openenv.server.home import HomeLoop
from openenv.server.runtime import ServerRuntime
from openenv.server.settings import ServerSettings


async def where() -> asyncio.AbstractEventLoop:
    await asyncio.sleep(0)
    return asyncio.get_running_loop()


async def test_an_adopted_loop_is_home() -> None:
    assert not HomeLoop().known
    home = HomeLoop()
    assert home.adopt()
    assert home.known
    assert await home.run(where) is asyncio.get_running_loop()


def test_without_one_home_is_a_thread_that_outlives_each_request() -> None:
    home = HomeLoop()
    first = asyncio.run(home.run(where))
    second = asyncio.run(home.run(where))
    assert first is second
    assert first.is_running()
    home.leave()


async def test_a_home_stays_when_another_loop_wants_to_be_it() -> None:
    home = HomeLoop()
    there = await home.run(where)
    assert there is not asyncio.get_running_loop()
    assert not home.adopt()
    home.leave()
    assert home.adopt()


async def test_errors_come_back() -> None:
    home = HomeLoop()

    async def fail() -> None:
        raise KeyError("here")

    with pytest.raises(KeyError, match="here"):
        await home.run(fail)
    home.leave()


async def test_cancelling_reaches_home() -> None:
    home = HomeLoop()
    cancelled = threading.Event()

    async def forever() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    task = asyncio.create_task(home.run(forever))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait({task})
    assert await asyncio.to_thread(cancelled.wait, 5)
    home.leave()


async def test_work_can_be_started_without_waiting() -> None:
    home = HomeLoop()
    done = threading.Event()

    async def work() -> None:
        done.set()

    home.start(work)
    assert await asyncio.to_thread(done.wait, 5)
    home.leave()


def test_leaving_ends_the_thread_and_its_tasks() -> None:
    home = HomeLoop()
    stopped = threading.Event()

    async def linger() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    async def begin() -> asyncio.AbstractEventLoop:
        asyncio.get_running_loop().linger = asyncio.ensure_future(linger())  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    loop = asyncio.run(home.run(begin))
    home.leave()
    assert stopped.wait(30)
    assert ended(loop)
    assert not home.known


def ended(loop: asyncio.AbstractEventLoop, seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not loop.is_closed() and time.monotonic() < end:
        time.sleep(0.01)
    return loop.is_closed()


def test_a_background_home_ends_when_it_has_nothing_to_do_and_comes_back() -> None:
    home = HomeLoop(idle_s=0.02)
    first = asyncio.run(home.run(where))
    assert ended(first)
    assert not home.known
    second = asyncio.run(home.run(where))
    assert second is not first
    assert ended(second)


def test_a_background_home_stays_while_something_lives_there() -> None:
    alive = True
    home = HomeLoop(busy=lambda: alive, idle_s=0.01)
    loop = asyncio.run(home.run(where))
    assert not ended(loop, 0.3)
    alive = False
    assert ended(loop)


def test_a_background_home_stays_while_a_coroutine_runs() -> None:
    home = HomeLoop(idle_s=0.01)
    errand = home.start(lambda: asyncio.sleep(0.3, "done"))
    assert errand.result(30) == "done"
    assert home.known


def test_an_application_that_nobody_starts_leaves_no_thread_behind() -> None:
    class Guess(Environment):
        def reset(self) -> str:
            return "go"

        def step(self, guess: int) -> str:
            return "no"

    before = set(threading.enumerate())
    runtime = ServerRuntime(describe(Guess), ServerSettings())
    for _ in range(2):  # the second time on another loop than the first

        async def serve_one() -> None:
            hosted = await runtime.open_session("http")
            assert (await hosted.acall("reset")).observation is not None
            await runtime.close_session(hosted.id)

        asyncio.run(serve_one())
        end = time.monotonic() + 30
        while set(threading.enumerate()) - before and time.monotonic() < end:
            time.sleep(0.02)
        assert not set(threading.enumerate()) - before
