"""Environments in this process: hosts, ends that do not come, and environments of one thread."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from openenv import Environment
from openenv.client import embedded
from openenv.client.async_env import AsyncEnv
from openenv.client.embedded import host_kind, with_deadline
from openenv.client.env import Env
from openenv.environment import describe
from openenv.errors import EnvironmentFactoryError, OrderError, UsageError
from openenv.protocol.mcp_types import CallToolAction, ListToolsAction, ListToolsObservation, Tool
from openenv.session import Limits
from openenv.types import Action, Observation


class Where(Environment):
    """Says in which thread it runs."""

    def step(self, word: str) -> int:
        return threading.get_ident()


class OneThread(Where):
    REQUIRES_SINGLE_THREAD_EXECUTOR = True
    SUPPORTS_CONCURRENT_SESSIONS = True


class NeverCloses(Where):
    def close(self) -> None:
        time.sleep(1.0)


class NeverStarts(Where):
    def __init__(self) -> None:
        raise OSError("no")


class OldTools(Environment[Action, Observation, Any]):
    """A published tool environment, whose tools only its own `step` knows."""

    def reset(self, seed: int | None = None) -> Observation:
        return Observation()

    def step(self, action: Action) -> Observation:
        if isinstance(action, ListToolsAction):
            return ListToolsObservation(tools=[Tool(name="old", description="", input_schema={})])
        return Observation()


def old_tools() -> Any:
    return describe(OldTools, action_type=CallToolAction, observation_type=Observation)


def thread_of(env: Env[Any, Any, Any]) -> int:
    env.reset()
    return int(env.step("where?").observation.result)


def test_where_it_runs() -> None:
    with Env.embedded(describe(Where)) as inline, Env.embedded(describe(Where), host="thread") as thread:
        assert thread_of(inline) == threading.get_ident()
        assert thread_of(thread) != threading.get_ident()


def test_a_deadline_or_the_author_asks_for_a_thread() -> None:
    class Wants(Where, host="thread"):
        pass

    class Bounded(Where, step_timeout_s=5.0):
        pass

    assert host_kind(describe(Where), None, Limits()) == "inline"
    assert host_kind(describe(Wants), None, Limits()) == "thread"
    with Env.embedded(describe(Bounded)) as env:
        assert thread_of(env) != threading.get_ident()


def test_environments_of_one_thread_share_it() -> None:
    spec = describe(OneThread)
    with Env.embedded(spec, host="thread") as one, Env.embedded(spec, host="thread") as two:
        assert thread_of(one) == thread_of(two) != threading.get_ident()


def test_with_deadline() -> None:
    assert with_deadline(None, None) is None
    both = with_deadline(Limits(step_timeout_s=1.0), 3.0)
    assert both == Limits(step_timeout_s=1.0, reset_timeout_s=3.0)


def test_an_environment_that_does_not_close_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "CLOSE_TIMEOUT_S", 0.05)
    env = Env[Any, Any, Any].embedded(describe(NeverCloses), host="thread")
    env.reset()
    began = time.monotonic()
    env.close()
    assert time.monotonic() - began < 0.5
    with pytest.raises(OrderError):
        env.reset()


async def test_an_environment_that_does_not_close_holds_up_no_coroutine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedded, "CLOSE_TIMEOUT_S", 0.05)
    env = AsyncEnv[Any, Any, Any].embedded(describe(NeverCloses))
    await env.reset()
    began = time.monotonic()
    await env.close()
    assert time.monotonic() - began < 0.5
    with pytest.raises(OrderError):
        await env.reset()


async def test_an_environment_that_does_not_start() -> None:
    env = AsyncEnv[Any, Any, Any].embedded(describe(NeverStarts))
    for _ in range(2):
        with pytest.raises((EnvironmentFactoryError, OrderError)):
            await env.reset()


async def test_tools_that_only_the_environment_knows() -> None:
    with Env.embedded(old_tools()) as env:
        assert [one.name for one in env.list_tools()] == ["old"]
        assert env.action_space.sample().tool_name == "old"
    with Env.embedded(old_tools(), host="thread") as env:
        assert [one.name for one in env.list_tools()] == ["old"]
        assert env.metadata.name
    async with AsyncEnv.embedded(old_tools()) as aenv:
        assert [one.name for one in await aenv.list_tools()] == ["old"]
        assert (await aenv.action_space()).sample().tool_name == "old"


def test_no_tools() -> None:
    with Env.embedded(describe(OldTools, action_type=Action, observation_type=Observation)) as env:
        assert env.list_tools()

    class Plain(OldTools):
        def step(self, action: Action) -> Observation:
            return Observation()

    with (
        Env.embedded(describe(Plain, action_type=Action, observation_type=Observation)) as env,
        pytest.raises(UsageError, match="has no tools"),
    ):
        env.list_tools()


def test_what_it_is_called() -> None:
    with Env.embedded(describe(Where)) as env:
        assert "in this process" in repr(env)
    assert "in this process" in repr(AsyncEnv[Any, Any, Any].embedded(describe(Where)))
