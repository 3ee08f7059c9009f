"""`AsyncEnv`, over environments in this process and over servers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.client.scripted import Peer, Script, ScriptedServer, environment, until

from openenv import Environment, Outcome, tool
from openenv.client.async_env import AsyncEnv, connect
from openenv.environment import describe
from openenv.errors import OrderError, SessionLost, StepTimeoutError, ToolCallError, UsageError

Start = Callable[..., ScriptedServer]
SCHEMA = {"action": {"properties": {"by": {"type": "integer"}}}, "observation": {}, "state": {}}


class Adder(Environment):
    total: int = 0

    def reset(self, start: int = 0) -> int:
        self.total = start
        return start

    def step(self, by: int) -> int | Outcome[int]:
        if by == -1:
            time.sleep(30)
        self.total += by
        return Outcome(self.total, terminated=self.total >= 10)


class AsyncAdder(Adder):
    async def reset(self, start: int = 0) -> int:  # type: ignore[override]
        self.total = start
        return start

    async def step(self, by: int) -> int:  # type: ignore[override]
        if by == -1:
            await asyncio.sleep(30)
        self.total += by
        return self.total


class Toolbox(Environment):
    @tool
    def double(self, number: int) -> int:
        """Double."""
        return 2 * number


@pytest.fixture(params=["sync", "async"])
def adder(request: pytest.FixtureRequest) -> type[Environment[Any, Any, Any]]:
    return Adder if request.param == "sync" else AsyncAdder


async def test_embedded(adder: type[Environment[Any, Any, Any]]) -> None:
    async with AsyncEnv.embedded(describe(adder)) as env:
        assert (await env.reset(seed=2, start=1)).result == 1
        for act in (env.step(2), env.step({"by": 2}), env.step(by=2)):
            assert (await act).reward is None
        assert (await env.state()).total == 7
        assert (env.seed, env.last.step if env.last else None) == (2, 3)
        assert (await env.action_space()).contains({"by": 1})
        assert "action" in await env.schema()
        assert (await env.metadata()).name
        assert env.episode_id is not None
    with pytest.raises(OrderError):
        await env.reset()


async def test_a_blocking_step_does_not_block_the_loop() -> None:
    env = AsyncEnv[Any, Any, Any].embedded(describe(Adder), timeout_s=0.3)
    await env.reset()
    ticks = 0
    step = asyncio.create_task(env.step(-1))
    while not step.done():
        await asyncio.sleep(0.01)
        ticks += 1
    with pytest.raises(StepTimeoutError):
        await step
    assert ticks > 10
    assert (await env.reset()).result == 0
    await env.close()


async def test_a_deadline_stops_an_asynchronous_step() -> None:
    async with AsyncEnv.embedded(describe(AsyncAdder)) as env:
        await env.reset()
        began = time.monotonic()
        with pytest.raises(StepTimeoutError):
            await env.step(-1, timeout_s=0.1)
        assert time.monotonic() - began < 0.4


async def test_inline_runs_on_the_loop() -> None:
    before = threading.active_count()
    async with AsyncEnv.embedded(describe(Adder), host="inline") as env:
        await env.reset()
        assert threading.active_count() == before


async def test_tools() -> None:
    async with AsyncEnv.embedded(describe(Toolbox)) as env:
        await env.reset()
        assert await env.call_tool("double", number=4) == 8
        assert [one.name for one in await env.list_tools()] == ["double"]
        assert (await env.action_space()).sample().tool_name == "double"
        with pytest.raises(ToolCallError):
            await env.call_tool("halve", number=4)


async def test_remote(scripted: Start) -> None:
    server = scripted(environment(SCHEMA, lambda peer: peer.counter(), metadata={"name": "n"}))
    async with connect(server.url) as env:
        assert (await env.reset(seed=1)).count == 0
        for act in (env.step(2), env.step({"by": 2}), env.step(by=2)):
            assert (await act).observation.got == {"by": 2}
        assert (await env.state()).step_count == 3
        assert (await env.metadata()).name == "n"
        assert (await env.action_space()).contains({"by": 1})
    env = await connect(server.url)
    await env.close()
    with pytest.raises(OrderError):
        await env.reset()


async def test_the_first_call_connects(scripted: Start) -> None:
    env = connect(scripted(environment(SCHEMA, lambda peer: peer.counter())).url)
    assert (await env.reset()).count == 0
    await env.close()


async def test_lost_until_reset(scripted: Start) -> None:
    def dies(peer: Peer) -> None:
        peer.observe(peer.request())
        peer.request()

    sessions: list[Script] = [dies, Peer.counter]
    env = connect(scripted(environment({}, lambda peer: sessions.pop(0)(peer))).url)
    await env.reset()
    for _ in range(2):
        with pytest.raises(SessionLost):
            await env.step(by=1)
    assert len(sessions) == 1
    assert (await env.reset()).count == 0
    await env.close()


async def test_a_cancelled_step_leaves_the_session_usable(scripted: Start) -> None:
    def play(peer: Peer) -> None:
        peer.observe(peer.request())
        slow = peer.request()
        time.sleep(0.1)
        peer.observe(slow, n=1)
        while True:
            peer.observe(peer.request(), n=2)

    async with connect(scripted(environment({}, play)).url) as env:
        await env.reset()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(env.step(by=1), 0.02)
        assert (await env.step(by=1)).observation.n == 2


async def test_sync_is_for_unused_servers(scripted: Start) -> None:
    env = connect(scripted(environment({}, lambda peer: peer.counter())).url)
    await env.connect()
    with pytest.raises(UsageError, match="open session"):
        env.sync()
    await env.close()
    with pytest.raises(UsageError, match="make"):
        AsyncEnv[Any, Any, Any].embedded(describe(Adder)).sync()


async def test_many_at_once(scripted: Start) -> None:
    server = scripted(environment({}, lambda peer: peer.counter()))

    async def episode() -> int:
        async with connect(server.url, models=False) as env:
            await env.reset()
            for _ in range(20):
                result = await env.step(by=1)
            return int(result.observation["count"])

    assert await asyncio.gather(*(episode() for _ in range(30))) == [20] * 30
    assert "http://127.0.0.1" in repr(connect(server.url))
    until(lambda: threading.active_count() < 100)
