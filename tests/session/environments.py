"""Environments that the session tests drive."""

from __future__ import annotations

import asyncio
import threading
import time

from openenv import Action, Environment, Observation, Outcome, hidden, tool


class Count(Environment, max_steps=5):
    """Counts to a hidden target."""

    count: int = 0
    target: int = hidden(0)

    def reset(self, start: int = 0) -> int:
        """Start.

        Args:
            start: where to begin.
        """
        self.count = start
        self.target = self.rng.randint(3, 1000)
        return self.count

    def step(self, by: int) -> int | Outcome[int]:
        """Add.

        Args:
            by: how much.
        """
        self.count += by
        if by < 0:
            raise ValueError("cannot count down")
        if by == 99:
            return Outcome(self.count, reward=1.0, terminated=True, reason="won")
        if by == 98:
            return Outcome(self.count, truncated=True, reason="cut")
        return self.count


class Slow(Environment):
    """Sleeps, spins or answers, and remembers its threads and whether it was closed."""

    made: list[int] = []
    closed: list[int] = []

    def __init__(self) -> None:
        super().__init__()
        type(self).made.append(threading.get_ident())

    def reset(self) -> str:
        return "ready"

    def step(self, mode: str, seconds: float = 30.0) -> str:
        if mode == "sleep":
            time.sleep(seconds)
        if mode == "spin":
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                pass
        if mode == "exit":
            raise SystemExit(3)
        return str(threading.get_ident())

    def close(self) -> None:
        type(self).closed.append(threading.get_ident())


class Loop(Environment):
    """An asynchronous environment."""

    async def reset(self) -> str:
        await asyncio.sleep(0)
        return "ready"

    async def step(self, seconds: float = 0.0, stubborn: bool = False) -> str:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            if not stubborn:
                raise
            await asyncio.sleep(0.3)
        return "done"


class EchoAction(Action):
    message: str


class EchoObservation(Observation):
    echoed: str = ""


class PublishedEcho(Environment[EchoAction, EchoObservation, object], requires_reset=False):
    """The published form."""

    def __init__(self) -> None:
        self.seed: int | None = None

    def reset(self, seed: int | None = None, episode_id: str | None = None) -> EchoObservation:
        self.seed = seed
        return EchoObservation(echoed=f"{seed} {episode_id}")

    def step(self, action: EchoAction) -> EchoObservation:
        return EchoObservation(echoed=action.message, reward=float(len(action.message)))

    @property
    def state(self) -> dict[str, object]:
        return {"seed": self.seed}


class Tools(Environment):
    """Adds."""

    @tool
    def add(self, a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @tool
    def fail(self) -> str:
        """Always fails."""
        raise RuntimeError("broken tool")
