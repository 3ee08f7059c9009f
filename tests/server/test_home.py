from __future__ import annotations

import asyncio
import gc
import threading
import time

import pytest

from openenv.server.home import HomeLoop


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
    ended = threading.Event()

    async def linger() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def begin() -> asyncio.AbstractEventLoop:
        asyncio.get_running_loop().linger = asyncio.ensure_future(linger())  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    loop = asyncio.run(home.run(begin))
    home.leave()
    assert ended.wait(5)
    until = time.monotonic() + 5
    while not loop.is_closed() and time.monotonic() < until:
        time.sleep(0.01)
    assert loop.is_closed()
    assert not home.known


def test_a_forgotten_home_ends_too() -> None:
    home = HomeLoop()
    loop = asyncio.run(home.run(where))
    del home
    gc.collect()
    until = time.monotonic() + 5
    while not loop.is_closed() and time.monotonic() < until:
        time.sleep(0.01)
    assert loop.is_closed()
