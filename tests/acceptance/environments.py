"""Environments as a user's one file holds them: an honest one, and ones that are hard to serve."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from enum import Enum
from typing import Any

import numpy as np
from pydantic import BaseModel, Field, field_validator

from openenv import Action, Environment, Observation, Outcome, TaskSet, hidden, tool


class Word(Environment):
    """A typed environment: says a word back and counts."""

    count: int = 0

    def reset(self) -> str:
        self.count = 0
        return "say something"

    def step(self, word: str, times: int = 1) -> Outcome[str]:
        self.count += 1
        return Outcome(word * times, reward=float(self.count), terminated=word == "end")


class Order(BaseModel):
    item: str = Field(min_length=1, max_length=20)
    amount: int = Field(ge=1, le=9)


class StrictAction(Action):
    order: Order
    note: str = ""

    @field_validator("note")
    @classmethod
    def _no_swearing(cls, value: str) -> str:
        if value == "damn":
            raise ValueError("mind your language")
        if value == "bug":
            raise ZeroDivisionError("a validator with a mistake")
        return value


class Total(Observation):
    total: int = 0


class Strict(Environment):
    """A model environment with a strict action."""

    total: int = 0

    def reset(self) -> Total:
        self.total = 0
        return Total()

    def step(self, action: StrictAction) -> Total:
        self.total += action.order.amount
        return Total(total=self.total, reward=1.0)


class Colour(Enum):
    RED = "red"


class Anything(Observation):
    value: Any = None


class Odd(Environment):
    """Observes values that JSON does not have."""

    def reset(self) -> Anything:
        return Anything(value="ready")

    def step(self, kind: str) -> Anything:
        values = {
            "nan": float("nan"),
            "infinities": [float("inf"), -float("inf")],
            "bytes": b"text",
            "binary": b"\xff\x00",
            "array": np.array([[1.5, float("nan")]]),
            "integers": np.arange(3, dtype=np.uint8),
            "scalar": np.float32(0.5),
            "numpy bool": np.bool_(True),
            "enum": Colour.RED,
            "date": dt.date(2024, 1, 2),
            "set": {1},
            "keys": {1: "one", (2, 3): "two"},
            "surrogate": "\ud800",
            "big": 2**70,
            "object": object(),
            "model": Order(item="x", amount=1),
        }
        return Anything(value=values[kind], reward=float("nan") if kind == "nan" else 1.0)


class Slow(Environment):
    """Steps that take as long as they are told."""

    steps: int = 0

    def reset(self) -> str:
        self.steps = 0
        return "ready"

    def step(self, seconds: float = 0.0) -> int:
        end = time.monotonic() + seconds
        if seconds:
            print("busy", flush=True)
        while time.monotonic() < end:
            time.sleep(0.01)
        self.steps += 1
        return self.steps


class Stubborn(Environment):
    """One long sleep that nothing interrupts."""

    def reset(self) -> str:
        return "ready"

    def step(self, seconds: float = 0.0) -> str:
        time.sleep(seconds)
        return "awake"


class Tools(Environment):
    """Tools and a score."""

    calls: int = 0

    def reset(self) -> None:
        self.calls = 0

    @tool
    def add(self, a: int, b: int = 2) -> int:
        """Add two numbers."""
        self.calls += 1
        return a + b

    @tool
    def finish(self) -> Outcome[str]:
        """End the episode."""
        return Outcome("done", reward=1.0, terminated=True)


class Vault(Environment):
    """Its secret must never be told."""

    opened: bool = False
    _underscored: str = "CANARY-underscore"
    code: str = hidden(default="CANARY-default")
    made: list[str] = hidden(default_factory=lambda: ["CANARY-factory"])

    def reset(self, level: int = 1) -> str:
        self.opened = False
        self.code = f"CANARY-{self.rng.random()}"
        self._later = "CANARY-attribute"
        if level == 2:
            raise RuntimeError("reset failed as asked")
        return "closed"

    def step(self, guess: str) -> str:
        if guess == "raise":
            raise RuntimeError("step failed as asked")
        if guess == "self":
            raise RuntimeError(repr(self))
        if guess == "assert":
            assert self.code == guess
        if guess == "recurse":
            return self.step(guess)
        if guess == "wrong type":
            return self  # type: ignore[return-value]
        if guess == "sleep":
            time.sleep(30)
        return "no"


class Quiz(
    Environment,
    tasks=TaskSet(
        {
            "train": [
                {"question": f"{n} + {n}?", "answer": f"CANARY-{2 * n}", "_hint": "CANARY-hint"}
                for n in range(3)
            ],
            "test": [{"id": "last", "question": "why?", "answer": "CANARY-because"}],
        }
    ),
):
    """Its tasks have answers, and it is careless with them."""

    current: Any = None
    mine: Any = None
    answers: dict[str, str] = hidden(default_factory=lambda: {"all": "CANARY-all"})

    def reset(self) -> str:
        self.current = self.episode.task
        self.mine = self
        return str(self.episode.task["question"])

    def step(self, answer: str) -> Any:
        if answer == "the task":
            return self.episode.task
        if answer == "all":
            return {"task": [self.episode.task], "episode": self.episode, "env": self}
        if answer == "raise":
            raise LookupError(self.episode.task)
        return Outcome("checked", reward=float(answer == self.episode.task.answer), components={"right": 0.0})


class Careless(Vault):
    """Publishes by mistake what its base hides."""

    code: str = "CANARY-again"
    made: list[str] = ["CANARY-made"]
    _underscored: str = "CANARY-still"


class PublishedVault(Environment):
    """Of the published kind: its own state, private attributes of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._answer = "CANARY-published"

    def reset(self, seed: Any = None, episode_id: Any = None, **kwargs: Any) -> Anything:
        self._answer = "CANARY-reset"
        return Anything(value="go")

    def step(self, action: StrictAction, timeout_s: Any = None, **kwargs: Any) -> Anything:
        if action.note == "raise":
            raise RuntimeError(str(self))
        return Anything(value=self if action.note == "self" else "no")

    @property
    def state(self) -> Any:
        return {"tries": 1, "_answer": self._answer}


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


RAISED: dict[str, BaseException] = {
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt("not from a keyboard"),
    "cancelled": asyncio.CancelledError(),
    "generator": GeneratorExit(),
    "stop": StopIteration(1),
    "stop async": StopAsyncIteration(1),
    "base": BaseException("of the base"),
    "group": BaseExceptionGroup("several", [SystemExit(), ValueError()]),
    "memory": MemoryError(),
    "unprintable": Unprintable(),
}


class Raising(Environment):
    """Raises whatever it is asked for, also what is no `Exception`."""

    reading: str = ""

    def reset(self, kind: str = "") -> str:
        return self.say(kind)

    def step(self, kind: str = "", later: str = "") -> str:
        self.later = later
        return self.say(kind)

    def say(self, kind: str) -> str:
        if kind:
            raise RAISED[kind]
        return "fine"

    @property
    def state(self) -> Any:
        later, self.later = getattr(self, "later", ""), ""
        return {"said": self.say(later)}


class RaisingInline(Raising, host="inline"):
    """The same on the server's own loop."""


class RaisingShared(Raising):
    """The same on one thread for all sessions."""

    REQUIRES_SINGLE_THREAD_EXECUTOR = True


class RaisingAsync(Raising):
    """The same as coroutines."""

    async def reset(self, kind: str = "") -> str:  # type: ignore[override]
        return self.say(kind)

    async def step(self, kind: str = "", later: str = "") -> str:  # type: ignore[override]
        self.later = later
        if kind == "cancelled":
            task = asyncio.get_running_loop().create_task(asyncio.sleep(60))
            task.cancel()
            await task
        return self.say(kind)
