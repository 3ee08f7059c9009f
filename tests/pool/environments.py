"""Environments that the tests of pools drive; workers import them from here."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import time
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import numpy as np
from pydantic import BaseModel, Field, field_validator

from openenv import Action, Environment, Observation, Outcome, State, tool


class Walk(Environment, max_steps=1000):
    """Walks along a line; some steps go wrong."""

    place: int = 0
    process: int = 0

    def reset(self, start: int = 0) -> int:
        if start < 0:
            raise ValueError("no place below zero")
        self.place = start
        return start

    def step(self, by: int, pause: float = 0.0) -> int | Outcome[int]:
        """Walk.

        Args:
            by: how far; 13 fails, 99 arrives, 666 kills the process.
            pause: seconds to wait before.
        """
        if pause:
            time.sleep(pause)
        if by == 13:
            raise ValueError("unlucky")
        if by == 666:
            os.kill(os.getpid(), signal.SIGKILL)
        if by == 667:
            ctypes.string_at(0)
        self.place += by
        reward = float(by)
        return Outcome(
            self.place, reward=reward, terminated=by == 99, components={"far": 0.5} if by == 50 else {}
        )


class Alone(Environment):
    """Its instances may not share a process."""

    SUPPORTS_CONCURRENT_SESSIONS = False

    def reset(self) -> int:
        return os.getpid()

    def step(self, by: int) -> int:
        return os.getpid()


class Dice(Environment):
    """Throws dice."""

    def reset(self) -> int:
        return self.rng.randrange(1_000_000)

    def step(self, end: bool) -> Outcome[int]:
        return Outcome(self.rng.randrange(1_000_000), reward=0.5, terminated=end)


class Lucky(Environment):
    """The first reset of each process works, later ones fail."""

    started = 0

    def reset(self) -> int:
        type(self).started += 1
        if type(self).started > 1:
            raise RuntimeError("no second time")
        return 1

    def step(self, end: bool) -> Outcome[int]:
        return Outcome(7, reward=3.0, terminated=end)


class Broken(Environment):
    """Cannot be built."""

    def __init__(self) -> None:
        raise OSError("no display")

    def reset(self) -> int:
        return 0

    def step(self, by: int) -> int:
        return by


class Slow(Environment):
    """Waits without blocking."""

    async def reset(self) -> str:
        return "ready"

    async def step(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "waited"


class Stubborn(Environment):
    """A C call that no exception interrupts and that holds the interpreter's lock."""

    def reset(self) -> int:
        return 0

    def step(self, seconds: int) -> int:
        ctypes.PyDLL(None).sleep(ctypes.c_uint(seconds))
        return seconds


class Picture(Observation):
    """An image."""

    image: np.ndarray[Any, Any]
    tag: str = ""


class Camera(Environment):
    """Shows images of a size."""

    def reset(self, side: int = 84) -> Picture:
        self._side = side
        self._count = 0
        return self._shot("first")

    def step(self, shade: int) -> Picture:
        self._count += 1
        return self._shot(str(shade), shade)

    def _shot(self, tag: str, shade: int = 0) -> Picture:
        return Picture(image=np.full((self._side, self._side, 4), shade, np.uint8), tag=tag, reward=1.0)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    pair: tuple[int, str]
    colour: Colour = Colour.RED


class Rich(Observation):
    """Values that plain data cannot hold."""

    inner: Inner
    when: datetime
    names: set[str]
    number: int = Field(alias="theNumber")
    anything: Any = None

    model_config = {"populate_by_name": True}

    @field_validator("number")
    @classmethod
    def _positive(cls, value: int) -> int:
        assert value >= 0
        return value


class RichAction(Action):
    inner: Inner
    size: int = Field(default=0, alias="theSize")

    model_config = {"populate_by_name": True}


class Strange:
    def __repr__(self) -> str:
        return "<strange>"


class Values(Environment):
    """Returns rich observations of what it is given."""

    def reset(self) -> Rich:
        return self._seen(Inner(pair=(0, "zero")), 0)

    def step(self, action: RichAction) -> Rich:
        return self._seen(action.inner, action.size)

    def _seen(self, inner: Inner, number: int) -> Rich:
        anything: Any = {
            0: None,
            1: np.float32(1.5),
            2: Strange(),
            3: 2**80,
            4: [np.arange(3)],
            5: "\ud800",
        }.get(number)
        when = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
        return Rich(inner=inner, when=when, names={"a", "b"}, theNumber=number, anything=anything)


class Tools(Environment):
    """Has tools."""

    @tool
    def double(self, number: int) -> int:
        """Double a number."""
        return number * 2


class Published(Environment[Action, Observation, State]):
    """The published form, without any declaration."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self._state = State()

    def reset(self, seed: int | None = None, episode_id: str | None = None, **kwargs: Any) -> Observation:
        self._state = State(episode_id=episode_id)
        return Observation(metadata={"seed": seed})

    def step(self, action: Action, timeout_s: float | None = None, **kwargs: Any) -> Observation:
        self._state.step_count += 1
        return Observation(reward=self._state.step_count, metadata={"count": self._state.step_count})

    @property
    def state(self) -> State:
        return self._state


class Child(Environment):
    """Starts a process of its own."""

    def reset(self) -> int:
        self._pid = os.fork()
        if not self._pid:
            time.sleep(120)
            os._exit(0)
        return self._pid

    def step(self, by: int) -> int:
        return self._pid


class Closing(Environment):
    """Leaves a word when it is closed."""

    folder: str = ""

    def reset(self, folder: str) -> str:
        self.folder = folder
        return folder

    def step(self, by: int) -> int:
        return by

    def close(self) -> None:
        if self.folder:
            with open(os.path.join(self.folder, f"closed-{os.getpid()}-{id(self)}"), "w"):
                pass


def make_walk() -> Walk:
    return Walk()
