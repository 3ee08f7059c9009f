"""One environment for each check that breaks exactly what this check asks for, and one that breaks nothing.

A villain is called like its check: `SeedRepeats` is found by `seed-repeats`.
"""

import os
import random
import threading
import time
from typing import Annotated, Any

from pydantic import Field

from openenv import Environment, Observation, Outcome, hidden
from openenv.errors import InvalidActionError

Guess = Annotated[int, Field(ge=1, le=1000)]

position = 0
kept: list[Any] = []


class Saint(Environment, max_steps=8):
    """Guess a number."""

    tries: int = 0
    seen: list[int] = []
    number: int = hidden(0)

    def reset(self) -> str:
        self.tries = 0
        self.seen = []
        self.number = self.rng.randint(1, 1000)
        return "Guess."

    def step(self, guess: Guess) -> Outcome[str]:
        self.tries += 1
        self.seen.append(guess)
        if guess == self.number:
            return Outcome("yes", reward=1.0, terminated=True)
        return Outcome("higher" if guess < self.number else "lower", reward=0.0)


class Starts(Saint):
    def reset(self) -> str:
        raise RuntimeError("no board")


class ActionSpace(Saint):
    def step(self, guess: Annotated[str, Field(pattern=r"^\p{L}+$")]) -> str:
        return guess


class StepRaises(Saint):
    def step(self, guess: Guess) -> Outcome[str]:
        if guess > 500:
            raise KeyError("too large")
        return super().step(guess)


class StateRead(Saint):
    reads = 0

    @property
    def state(self) -> dict[str, int]:
        self.reads += 1
        return {"reads": self.reads}


class Ends(Saint, max_steps=None):
    def step(self, guess: Guess) -> str:
        return "go on"


class SeedRepeats(Saint):
    def reset(self) -> str:
        super().reset()
        return f"Guess, {random.SystemRandom().random()}."


class ResetRestarts(Saint):
    def reset(self) -> str:
        self.number = self.rng.randint(1, 1000)
        return "Guess."


class HashSeed(Saint):
    def reset(self) -> str:
        super().reset()
        return " ".join({"ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen"})


class GlobalRandom(Saint):
    def reset(self) -> str:
        random.seed(4)
        return super().reset()


class InvalidActions(Saint):
    def step(self, guess: Guess) -> Outcome[str]:
        self.tries += 1
        if guess % 2:
            raise InvalidActionError("even numbers only")
        return Outcome("no", reward=0.0)


class Order(Saint, requires_reset=False):
    board: dict[int, str] = hidden()

    def reset(self) -> str:
        self.board = {}
        return super().reset()

    def step(self, guess: Guess) -> Outcome[str]:
        self.board[guess] = "x"
        return super().step(guess)


class Sprite:
    def __repr__(self) -> str:
        return "Sprite()"


class Serializable(Saint):
    def step(self, guess: Guess) -> Outcome[str]:
        return Outcome("no", reward=0.0, metadata={"sprite": Sprite()})


class FiniteRewards(Saint):
    def step(self, guess: Guess) -> Outcome[str]:
        return Outcome("no", reward=float("inf"))


class Seen(Observation):
    guesses: Any


class Aliasing(Saint):
    def step(self, guess: Guess) -> Seen:
        self.seen.append(guess)
        return Seen(guesses=self.seen)


class HiddenValues(Saint):
    def reset(self) -> str:
        super().reset()
        return f"Guess, but not {self.number}."


class PublicSecrets(Saint):
    answer: str = "unknown"


class Interleaved(Saint):
    def reset(self) -> str:
        global position
        position = 0
        return super().reset()

    def step(self, guess: Guess) -> str:
        global position
        position += 1
        return f"step {position}"


class SharedState(Saint):
    history = []

    def step(self, guess: Guess) -> Outcome[str]:
        self.history.append(guess)
        return super().step(guess)


class CloseRaises(Saint):
    def close(self) -> None:
        raise OSError("already gone")


class LeakThreads(Saint):
    def reset(self) -> str:
        threading.Thread(target=time.sleep, args=(8,), name="villain", daemon=True).start()
        return super().reset()


class LeakFiles(Saint):
    def reset(self) -> str:
        os.open(os.devnull, os.O_RDONLY)
        return super().reset()


class LeakMemory(Saint):
    def reset(self) -> str:
        kept.append(bytearray(30_000))
        return super().reset()


class Hangs(Saint):
    def step(self, guess: Guess) -> str:
        time.sleep(3)
        return "done"


class Unrepeatable(Saint, deterministic=False):
    def reset(self) -> str:
        super().reset()
        return f"It is {random.SystemRandom().random()}."
