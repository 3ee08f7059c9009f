"""Environments that the server tests serve."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from pydantic import field_validator

from openenv import Action, Environment, Observation, Outcome, State, TaskSet, tool
from openenv.protocol.mcp_types import (
    CallToolAction,
    CallToolObservation,
    ListToolsAction,
    ListToolsObservation,
    Tool,
)
from openenv.types import EnvironmentMetadata


class Guess(Environment):
    """Guess a number."""

    guesses: int = 0

    def reset(self, low: int = 0) -> str:
        self.guesses = 0
        return f"above {low}"

    def step(self, guess: int) -> str | Outcome[str]:
        self.guesses += 1
        if guess < 0:
            raise ValueError("negative")
        if guess == 42:
            return Outcome("won", reward=1.0, terminated=True)
        return "wrong"


class Napping(Environment):
    """Sleeps as long as it is told."""

    def reset(self) -> str:
        return "awake"

    def step(self, seconds: float) -> str:
        time.sleep(seconds)
        return "awake"


class Looping(Environment):
    """Asynchronous."""

    count: int = 0

    async def reset(self) -> str:
        await asyncio.sleep(0)
        self.count = 0
        return "ready"

    async def step(self, by: int) -> str:
        await asyncio.sleep(0)
        self.count += by
        return str(self.count)


class Calculator(Environment):
    """Has tools."""

    calls: int = 0

    @tool
    def add(self, a: int, b: int) -> int:
        """Add two numbers."""
        self.calls += 1
        return a + b

    @tool
    def fail(self) -> str:
        """Always fails."""
        raise RuntimeError("broken tool")

    @tool
    def nap(self, seconds: float) -> str:
        """Sleep."""
        time.sleep(seconds)
        return "awake"

    @tool
    def finish(self) -> Outcome[str]:
        """End the episode."""
        return Outcome("over", reward=2.0, terminated=True)


class MoveAction(Action):
    by: int

    @field_validator("by")
    @classmethod
    def small(cls, value: int) -> int:
        if value > 100:
            raise ValueError("too far")
        return value


class MoveObservation(Observation):
    at: int = 0
    extra: Any = None


class MoveState(State):
    at: int = 0


class Published(Environment[MoveAction, MoveObservation, MoveState]):
    """The published form; never calls the base constructor."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        self._state = MoveState()

    def reset(self, seed: int | None = None, episode_id: str | None = None, **kwargs: Any) -> MoveObservation:
        self._state = MoveState(episode_id=episode_id)
        return MoveObservation(at=0, metadata=kwargs)

    def step(self, action: MoveAction, timeout_s: float | None = None, **kwargs: Any) -> MoveObservation:
        self._state.at += action.by
        self._state.step_count += 1
        if action.by == 13:
            raise RuntimeError("unlucky")
        return MoveObservation(
            at=self._state.at, reward=action.by, done=self._state.at >= 100, extra=kwargs or None
        )

    @property
    def state(self) -> MoveState:
        return self._state

    def list_splits(self) -> list[Any]:
        return ["train", "dev", {"name": "test", "type": "test"}, 7]

    def list_tasks(self, split: str) -> list[dict[str, Any]]:
        return [{"split": split, "n": 1}]

    def num_tasks(self, split: str) -> int:
        return 1

    def get_task(self, split: str, index: int) -> dict[str, Any]:
        return self.list_tasks(split)[index]

    def get_task_range(self, split: str, start: int | None = None, stop: int | None = None) -> Any:
        raise NotImplementedError


class Single(Published):
    """Allows one session, and describes itself."""

    SUPPORTS_CONCURRENT_SESSIONS = False

    def get_metadata(self) -> EnvironmentMetadata:
        return EnvironmentMetadata(name="single", description=f"at {self._state.at}", version="9")


class Broken(Environment):
    """Cannot be made."""

    def __init__(self) -> None:
        super().__init__()
        raise ValueError("no engine")

    def step(self, x: int) -> str:
        return "never"


class BrokenReset(Environment):
    """Can be made, not reset."""

    def reset(self) -> str:
        raise ValueError("no start")

    def step(self, x: int) -> str:
        return "never"


class Picky(Environment):
    """Its reset asks for an option."""

    def reset(self, level: int) -> str:
        return str(level)

    def step(self, x: int) -> str:
        return str(x)


class ByStep(Environment[CallToolAction, CallToolObservation, State]):
    """Published: its own step understands the tool actions."""

    def reset(self, seed: int | None = None, episode_id: str | None = None) -> Observation:
        return Observation()

    def step(self, action: Any) -> Observation:
        if isinstance(action, ListToolsAction):
            if type(self).lists_oddly:
                return Observation()
            return ListToolsObservation(
                tools=[Tool(name="a", description="d", input_schema={"type": "object"})]
            )
        if action.tool_name == "odd":
            return Observation()
        return CallToolObservation(tool_name=action.tool_name, result={"x": 1}, reward=1.0, done=True)

    lists_oddly = False

    @property
    def state(self) -> State:
        return State()


class OddByStep(ByStep):
    lists_oddly = True


class Quiz(Environment, tasks=TaskSet({"train": [{"q": "1+1", "answer": "2"}, {"q": "2+2", "answer": "4"}]})):
    """Has tasks."""

    def reset(self) -> str:
        return str(self.episode.task["q"])

    def step(self, reply: str) -> Outcome[str]:
        return Outcome("ok", reward=float(reply == self.episode.task.answer), terminated=True)
