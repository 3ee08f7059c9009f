from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from tests.session.environments import Count, Loop, Slow

from openenv import Environment
from openenv.environment import describe
from openenv.errors import (
    EnvironmentFactoryError,
    InfrastructureError,
    OpenEnvError,
    SessionCapacityError,
    SessionNotFoundError,
    UsageError,
)
from openenv.session import Limits, SessionManager


async def test_open_call_close() -> None:
    manager = SessionManager(describe(Count), max_sessions=2)
    session = await manager.open(owner="test")
    assert manager.get(session.id) is session
    assert (await session.acall("reset", seed=1)).seed == 1
    assert (await session.acall("step", action={"by": 1})).step == 1
    assert await manager.close(session.id)
    assert not await manager.close(session.id)
    with pytest.raises(SessionNotFoundError, match="Unknown session_id"):
        manager.get(session.id)
    assert manager.active == 0
    await manager.drain(1)


async def test_capacity_refuses_queues_and_hands_slots_over_in_order() -> None:
    manager = SessionManager(describe(Count), max_sessions=1, queue_size=2, queue_timeout_s=5)
    first = await manager.open(owner="test")
    with pytest.raises(SessionCapacityError, match="1/1") as refused:
        await manager.open(owner="test", wait=False)
    assert refused.value.retry_after > 0
    order: list[int] = []

    async def wait(index: int) -> None:
        session = await manager.open(owner="test")
        order.append(index)
        await manager.close(session.id)

    waiting = [asyncio.create_task(wait(i)) for i in range(2)]
    await asyncio.sleep(0.01)
    assert manager.statistics().queued == 2
    with pytest.raises(SessionCapacityError):
        await manager.open(owner="test")
    await manager.close(first.id)
    await asyncio.gather(*waiting)
    assert order == [0, 1]
    assert manager.active == 0
    assert manager.statistics().rejected == 2
    await manager.drain(1)


async def test_a_queue_gives_up_in_time_and_a_cancelled_waiter_loses_no_slot() -> None:
    manager = SessionManager(describe(Count), max_sessions=1, queue_size=5, queue_timeout_s=0.05)
    first = await manager.open(owner="test")
    with pytest.raises(SessionCapacityError):
        await manager.open(owner="test")
    task = asyncio.create_task(manager.open(owner="test"))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await manager.close(first.id)
    assert manager.active == 0
    await manager.close((await manager.open(owner="test")).id)
    await manager.drain(1)


async def test_a_constructor_that_raises_frees_its_slot_and_names_the_cause() -> None:
    class Broken(Environment):
        def __init__(self) -> None:
            raise RuntimeError("no licence")

        def reset(self) -> str:
            return ""

        def step(self, x: int) -> str:
            return ""

    manager = SessionManager(describe(Broken), max_sessions=1)
    for _ in range(3):
        with pytest.raises(EnvironmentFactoryError, match="no licence"):
            await manager.open(owner="test")
        await asyncio.sleep(0.02)
    assert manager.active == 0
    await manager.drain(1)


async def test_the_lease_reaps_what_nobody_holds() -> None:
    manager = SessionManager(describe(Count), lease_s=0.08)
    idle = await manager.open(owner="test")
    held = await manager.open(owner="test")
    held.attached = 1
    until = time.monotonic() + 5
    while manager.statistics().reaped == 0:
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
    with pytest.raises(SessionNotFoundError):
        manager.get(idle.id)
    assert manager.get(held.id) is held
    await manager.drain(1)
    assert manager.active == 0


async def test_a_running_call_is_not_idle() -> None:
    manager = SessionManager(describe(Slow), lease_s=0.05)
    session = await manager.open(owner="test")
    await session.acall("reset")
    call = session.call("step", action={"mode": "sleep", "seconds": 0.4})
    await asyncio.sleep(0.2)
    assert not session.expired
    assert manager.get(session.id) is session
    assert (await asyncio.wrap_future(call)).outcome == "ok"
    await manager.drain(1)


async def test_sessions_have_threads_of_their_own_and_do_not_delay_each_other() -> None:
    manager = SessionManager(describe(Slow))
    sessions = [await manager.open(owner="test") for _ in range(8)]
    for session in sessions:
        await session.acall("reset")
    began = time.monotonic()
    steps = [s.acall("step", action={"mode": "sleep", "seconds": 0.3}) for s in sessions]
    threads = {r.observation.result for r in await asyncio.gather(*steps)}
    assert len(threads) == 8
    assert time.monotonic() - began < 1.5
    await manager.drain(1)


async def test_a_class_that_must_stay_on_one_thread_does() -> None:
    class Single(Slow):
        REQUIRES_SINGLE_THREAD_EXECUTOR = True

    manager = SessionManager(describe(Single), limits=Limits(step_timeout_s=5, max_steps=9))
    sessions = [await manager.open(owner="test") for _ in range(3)]
    threads = set()
    for session in sessions:
        await session.acall("reset")
        threads.add((await session.acall("step", action={"mode": "answer"})).observation.result)
    assert len(threads) == 1
    assert threads != {str(threading.get_ident())}
    await manager.drain(1)


async def test_inline_runs_in_the_callers_thread_and_async_on_the_loop() -> None:
    manager = SessionManager(describe(Slow), host="inline")
    session = await manager.open(owner="test")
    await session.acall("reset")
    answer = await session.acall("step", action={"mode": "answer"})
    assert answer.observation.result == str(threading.get_ident())
    await manager.drain(1)
    before = threading.active_count()
    loop_manager = SessionManager(describe(Loop))
    many = [await loop_manager.open(owner="test") for _ in range(20)]
    assert threading.active_count() <= before
    await asyncio.gather(*(s.acall("reset") for s in many))
    await loop_manager.drain(1)
    assert loop_manager.active == 0


async def test_drain_finishes_running_calls_and_refuses_new_sessions() -> None:
    manager = SessionManager(describe(Slow))
    session = await manager.open(owner="test")
    await session.acall("reset")
    call = asyncio.wrap_future(session.call("step", action={"mode": "sleep", "seconds": 0.2}))
    await manager.drain(5)
    assert (await call).outcome == "ok"
    with pytest.raises(SessionCapacityError, match="shutting down"):
        await manager.open(owner="test")
    assert manager.active == 0
    assert manager.statistics().draining


async def test_a_stuck_session_is_left_behind_when_drained() -> None:
    manager = SessionManager(describe(Slow))
    session = await manager.open(owner="test")
    await session.acall("reset")
    call = asyncio.wrap_future(session.call("step", action={"mode": "sleep", "seconds": 0.6}))
    await manager.drain(0.05)
    assert manager.active == 0
    assert manager.quarantine.count == 1
    await call
    await asyncio.sleep(0.1)
    assert manager.quarantine.count == 0


def test_a_wrong_host_is_refused() -> None:
    with pytest.raises(UsageError, match="host"):
        SessionManager(describe(Count), host="cloud")


def test_an_authors_deadline_on_a_host_that_cannot_stop_is_refused() -> None:
    class Hurry(Slow, step_timeout_s=1.0):
        pass

    with pytest.raises(UsageError, match="deadline"):
        SessionManager(describe(Hurry), host="inline")


async def test_whatever_goes_wrong_the_caller_is_answered() -> None:
    manager = SessionManager(describe(Count))
    session = await manager.open(owner="test")

    def prepare() -> Any:
        raise KeyError("a bug of ours")

    future: asyncio.Future[OpenEnvError | None] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()
    session.post(prepare, lambda _, error: loop.call_soon_threadsafe(future.set_result, error))
    assert isinstance(await future, InfrastructureError)
    assert (await session.acall("reset")).step == 0
    await manager.drain(1)
