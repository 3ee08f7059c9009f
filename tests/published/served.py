"""Runs on the published openenv: serves an environment at a free port and says which."""

import os
import socket
import sys
import time

import uvicorn
from pydantic import Field

from openenv.core.env_server import Action, Environment, Observation, State, create_app
from openenv.core.env_server.mcp_environment import MCPEnvironment
from openenv.core.env_server.mcp_types import CallToolAction, CallToolObservation


class CounterAction(Action):
    by: int = Field(default=1, ge=-5, le=5)
    mode: str = "count"
    seconds: float = 0.0


class CounterObservation(Observation):
    count: int = 0
    label: str = ""
    nested: dict = Field(default_factory=dict)


class CounterState(State):
    count: int = 0
    seed: int | None = None


class Counter(Environment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self):
        super().__init__()
        self._state = CounterState()
        self._label = ""

    def reset(self, seed=None, episode_id=None, label="", **kwargs):
        self._state = CounterState(episode_id=episode_id or "made-up", seed=seed)
        self._label = label
        return CounterObservation(label=label)

    def step(self, action, timeout_s=None, **kwargs):
        self._state.step_count += 1
        self._state.count += action.by
        if action.mode == "sleep":
            time.sleep(action.seconds)
        if action.mode == "raise":
            raise ValueError("asked to fail")
        if action.mode == "die":
            os._exit(1)
        if action.mode == "big":
            return CounterObservation(count=self._state.count, label="x" * 2_000_000)
        if action.mode == "extra":
            return RichObservation(count=self._state.count, more={"a": [1]})
        return CounterObservation(
            count=self._state.count,
            label=self._label,
            reward=float(action.by),
            done=action.mode == "end",
            metadata={"mode": action.mode},
        )

    @property
    def state(self):
        return self._state


class RichObservation(CounterObservation):
    more: dict = Field(default_factory=dict)


def counter():
    return create_app(
        Counter,
        CounterAction,
        CounterObservation,
        env_name="counter",
        max_concurrent_envs=8,
        state_cls=CounterState,
    )


def single():
    return create_app(Counter, CounterAction, CounterObservation, env_name="counter", max_concurrent_envs=1)


class Tools(MCPEnvironment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self):
        from fastmcp import FastMCP

        server = FastMCP("tools")

        @server.tool
        def add(a: int, b: int = 2) -> int:
            """Add two numbers."""
            return a + b

        @server.tool
        def fail(why: str) -> str:
            """Fail."""
            raise ValueError(why)

        super().__init__(server)
        self._state = State(episode_id="t", step_count=0)

    def reset(self, seed=None, episode_id=None, **kwargs):
        self._state = State(episode_id=episode_id or "t", step_count=0)
        return Observation(metadata={"ready": True})

    def step(self, action, timeout_s=None, **kwargs):
        self._state.step_count += 1
        observation = super().step(action, timeout_s=timeout_s, **kwargs)
        observation.reward = 0.5
        return observation

    async def step_async(self, action, timeout_s=None, **kwargs):
        self._state.step_count += 1
        observation = await super().step_async(action, timeout_s=timeout_s, **kwargs)
        observation.reward = 0.5
        return observation

    def _step_impl(self, action, timeout_s=None, **kwargs):
        return Observation(metadata={"error": "unknown action"})

    @property
    def state(self):
        return self._state


def tools():
    return create_app(Tools, CallToolAction, CallToolObservation, env_name="tools", max_concurrent_envs=8)


if __name__ == "__main__":
    app = {"counter": counter, "single": single, "tools": tools}[sys.argv[1]]()
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    pause = float(os.environ.get("PING_S", "20"))
    config = uvicorn.Config(app, log_level="warning", ws_ping_interval=pause, ws_ping_timeout=5 * pause)
    uvicorn.Server(config).run(sockets=[listener])
