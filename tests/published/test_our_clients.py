"""Our clients drive servers of the published package."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest
from tests.published.conftest import PublishedServer, Serve

from openenv.client import (
    EnvClient,
    GenericEnvClient,
    MCPToolClient,
    SessionGroup,
    connect,
    make_remote,
)
from openenv.errors import (
    EnvironmentFailedError,
    InvalidActionError,
    OrderError,
    ServerUnreachableError,
    SessionCapacityError,
    SessionLost,
    StepTimeoutError,
    ToolCallError,
)
from openenv.types import Action, Observation, State


class CounterAction(Action):
    by: int = 1
    mode: str = "count"
    seconds: float = 0.0


class CounterObservation(Observation):
    count: int = 0
    label: str = ""
    nested: dict[str, Any] = {}


class CounterClient(EnvClient[CounterAction, CounterObservation, State]):
    """Typed, with nothing written by hand."""


@pytest.fixture(scope="module")
def counter(serve_published: Serve) -> PublishedServer:
    return serve_published("counter")


@pytest.fixture(scope="module")
def tools(serve_published: Serve) -> PublishedServer:
    return serve_published("tools")


def test_the_literal_loop(counter: PublishedServer) -> None:
    with connect(counter.url).sync() as env:
        for _episode in range(3):
            observation = env.reset()
            assert observation.count == 0
            for _t in range(20):
                action = env.action_space.sample()
                observation, reward, done, info = env.step({**action, "mode": "count"})
                assert (reward, done) == (float(action.get("by", 1)), False)
                assert info["step"] == _t + 1


def test_env(counter: PublishedServer) -> None:
    with make_remote(counter.url) as env:
        assert env.reset(seed=4, episode_id="mine", label="hello", unknown=1).label == "hello"
        result = env.step(by=2)
        assert (result.observation.count, result.reward, result.metadata) == (2, 2.0, {"mode": "count"})
        assert (result.seed, result.episode_id, result.step) == (4, "mine", 1)
        state = env.state()
        assert (state.count, state.seed, state.step_count, state.episode_id) == (2, 4, 1, "mine")
        assert env.metadata.name == "Counter"
        assert set(env.schema) == {"action", "observation", "state", "reset_observation"}
        more = env.step(mode="extra").observation
        assert more.more == {"a": [1]}
        assert len(env.step(mode="big").observation.label) == 2_000_000
        assert env.step(mode="end").done
        with pytest.raises(OrderError):
            env.step(by=1)


@pytest.mark.parametrize("action", [{"by": "x"}, {"nope": 1}, {"by": 99}, {"by": float("nan")}])
def test_invalid_actions(counter: PublishedServer, action: dict[str, Any]) -> None:
    with make_remote(counter.url) as env:
        env.reset()
        with pytest.raises(InvalidActionError) as caught:
            env.step(action)
        assert caught.value.errors[0]["loc"]
        with pytest.raises(EnvironmentFailedError, match="asked to fail"):
            env.step(mode="raise")
        assert env.step(by=1).observation.count == 2


def test_a_timeout_leaves_no_reply_behind(counter: PublishedServer) -> None:
    with make_remote(counter.url) as env:
        env.reset()
        began = time.monotonic()
        with pytest.raises(StepTimeoutError):
            env.step(mode="sleep", seconds=1.0, timeout_s=0.2)
        assert time.monotonic() - began < 0.5
        with pytest.raises(OrderError):
            env.step(by=1)
        assert env.reset().count == 0
        assert env.step(by=3).observation.count == 3


def test_a_server_that_dies(serve_published: Serve) -> None:
    server = serve_published("counter")
    with make_remote(server.url) as env:
        env.reset(episode_id="mine")
        env.step(by=1)
        with pytest.raises(SessionLost) as caught:
            env.step(mode="die")
        assert (caught.value.episode, caught.value.step) == ("mine", 1)
        with pytest.raises(SessionLost):
            env.step(by=1)
        with pytest.raises(ServerUnreachableError, match="Nothing answers"):
            env.reset()


def test_a_full_server(serve_published: Serve) -> None:
    server = serve_published("single")
    # The published server refuses with or after its handshake: entering `second` may meet it as well.
    with make_remote(server.url) as first, contextlib.closing(make_remote(server.url)) as second:
        first.reset()
        with pytest.raises(SessionCapacityError) as caught:
            second.reset()
        assert caught.value.max_sessions == 1
        first.close()
        # The published server answers our close frame before it has freed the slot.
        until = time.monotonic() + 10
        while True:
            try:
                assert second.reset().count == 0
                break
            except SessionCapacityError:
                assert time.monotonic() < until
                time.sleep(0.05)


def test_an_idle_session_outlives_the_servers_pings(serve_published: Serve) -> None:
    server = serve_published("counter", PING_S="1")
    clients: list[Any] = [make_remote(server.url), GenericEnvClient(server.url).sync()]
    for client in clients:
        client.reset()
    time.sleep(7)
    for client in clients:
        assert client.step({"by": 1}).reward == 1.0
        client.close()


@pytest.mark.parametrize("client_type", [CounterClient, GenericEnvClient])
def test_published_style_clients(counter: PublishedServer, client_type: Any) -> None:
    with client_type(base_url=counter.url) as client:
        client.reset(seed=1)
        result = client.step(CounterAction(by=3))
        count = (
            result.observation["count"] if isinstance(result.observation, dict) else result.observation.count
        )
        assert (count, result.reward) == (3, 3.0)
        assert client.state() is not None
        with client.new_session() as other:
            assert other.reset() is not None
    with client_type(base_url=counter.url).sync() as sync:
        assert sync.reset().done is False


async def test_asynchronous_clients(counter: PublishedServer) -> None:
    async def episode(number: int) -> float:
        async with connect(counter.url) as env:
            await env.reset(seed=number)
            return sum([(await env.step(by=number)).reward or 0.0 for _ in range(10)])

    assert await asyncio.gather(*(episode(n) for n in range(1, 6))) == [10.0, 20.0, 30.0, 40.0, 50.0]
    async with CounterClient(base_url=counter.url) as client:
        await client.reset()
        assert (await client.step(CounterAction(by=2))).observation.count == 2


def test_tools_by_name(tools: PublishedServer) -> None:
    with make_remote(tools.url) as env:
        env.reset()
        assert [tool.name for tool in env.list_tools()] == ["add", "fail"]
        assert env.call_tool("add", a=1) == 3
        assert env.last is not None
        assert env.last.reward == 0.5
        for name, arguments in (("fail", {"why": "x"}), ("none", {}), ("add", {"a": "x"})):
            with pytest.raises(ToolCallError):
                env.call_tool(name, **arguments)
        for _ in range(5):
            assert env.action_space.sample()["tool_name"] in {"add", "fail"}
        assert env.state().step_count == 4


def test_the_tool_client(tools: PublishedServer) -> None:
    with MCPToolClient(tools.url).sync() as client:
        client.reset()
        assert client.call_tool("add", a=1, b=4) == 5
        assert client.state().step_count == 1, "a call is a step, with its reward"
        assert client.has_tool("fail")
        with pytest.raises(RuntimeError, match="fail"):
            client.call_tool("fail", why="asked")


async def test_the_tool_client_asynchronously(tools: PublishedServer) -> None:
    async with MCPToolClient(tools.url) as client:
        assert await client.call_tool("add", a=1) == 3
        assert len(await client.list_tools()) == 2


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENENV_TOKEN", raising=False)


def test_a_group_has_a_connection_for_each_session(counter: PublishedServer) -> None:
    with SessionGroup(counter.url) as group:
        group.open_many(3)
        assert [outcome.unwrap().observation["count"] for outcome in group.reset()] == [0, 0, 0]
        outcomes = group.step([2, 0], [{"by": 2}, {"by": 1}])
        assert [(o.index, o.unwrap().observation["count"], o.unwrap().step) for o in outcomes] == [
            (2, 2, 1),
            (0, 1, 1),
        ]
        assert sorted(o.index for o in group.as_ready(None, [{"by": 1}] * 3)) == [0, 1, 2]
        statistics = group.statistics()
        assert (statistics.connections, statistics.extended) == (3, False)
