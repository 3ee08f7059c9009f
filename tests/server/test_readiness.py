from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.server.environments import Broken, BrokenReset, Guess, Napping, Picky
from tests.server.wire import Wire, runtime_of

from openenv.server import readiness


@pytest.mark.parametrize(
    ("target", "ready", "detail"),
    [
        (Guess, True, "opened and reset"),
        (Picky, True, "asks for options"),
        (Broken, False, "Failed to create environment"),
        (BrokenReset, False, "reset failed: no start"),
    ],
)
async def test_it_is_found_out_by_doing(target: Any, ready: bool, detail: str) -> None:
    runtime = runtime_of(target)
    answer = await runtime.readiness.check()
    assert answer.ready is ready
    assert detail in answer.detail
    await runtime.drain()
    assert runtime.manager.active == 0


async def test_an_answer_stands_for_a_while() -> None:
    runtime = runtime_of(Guess, ready_cache_s=60)
    first = await runtime.readiness.check()
    assert await runtime.readiness.check() is first
    assert runtime.manager.statistics().opened == 1


async def test_without_a_while_each_asks_anew() -> None:
    runtime = runtime_of(Guess, ready_cache_s=0)
    await runtime.readiness.check()
    await runtime.readiness.check()
    assert runtime.manager.statistics().opened == 2


async def test_askers_share_one_probe() -> None:
    runtime = runtime_of(Guess, ready_cache_s=0)
    answers = await asyncio.gather(*(runtime.readiness.check() for _ in range(5)))
    assert all(answer.ready for answer in answers)
    assert runtime.manager.statistics().opened == 1


async def test_an_asker_that_leaves_does_not_stop_the_probe() -> None:
    runtime = runtime_of(Guess)
    asker = asyncio.create_task(runtime.readiness.check())
    await asyncio.sleep(0)
    asker.cancel()
    await asyncio.wait({asker})
    assert (await runtime.readiness.check()).ready
    assert runtime.manager.statistics().opened == 1


async def test_a_full_server_is_ready() -> None:
    runtime = runtime_of(Guess, max_sessions=1)
    async with Wire(runtime):
        answer = await runtime.readiness.check()
        assert answer.ready
        assert "in use" in answer.detail


async def test_a_draining_server_is_not() -> None:
    runtime = runtime_of(Guess)
    await runtime.drain()
    assert not (await runtime.readiness.check()).ready


class Sleepy(Napping):
    def reset(self) -> str:
        import time

        time.sleep(0.3)
        return "late"


async def test_a_reset_that_takes_too_long_is_no_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "PROBE_TIMEOUT_S", 0.05)
    answer = await runtime_of(Sleepy).readiness.check()
    assert not answer.ready
    assert "more than" in answer.detail


async def test_a_probe_that_is_cancelled_leaves_no_answer() -> None:
    runtime = runtime_of(Guess)
    asker = asyncio.create_task(runtime.readiness.check())
    await asyncio.sleep(0)
    probe = runtime.readiness._probing
    assert probe is not None
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asker
    assert (await runtime.readiness.check()).ready
    await runtime.drain()
