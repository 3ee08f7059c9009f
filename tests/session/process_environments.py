"""Environments for host `process`."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import subprocess
import sys
import time
from enum import Enum
from typing import Any

from openenv import Action, Environment, Observation, Outcome

count = 0  # of this process


def sockets_of_this_process() -> list[str]:
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the descriptor that lists them
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [name for name in found if name.startswith(("socket", "anon_inode"))]


class Mood(Enum):
    GOOD = "good"


class Careless(Environment, host="process", max_steps=50):
    """Keeps its state in the module, and dies of some actions."""

    SUPPORTS_CONCURRENT_SESSIONS = False
    level: int = 0

    def reset(self, level: int = 0) -> str:
        global count
        count = 0
        self.level = level
        return f"{self.rng.random()}"

    def step(self, what: str) -> Outcome[str]:
        global count
        count += 1
        if what == "segfault":
            ctypes.string_at(0)
        if what == "exit":
            os._exit(3)
        if what == "hang":
            ctypes.PyDLL(None).sleep(1000)  # a call that keeps the interpreter's lock
        if what == "spawn":
            return Outcome(str(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"]).pid))
        if what == "print":
            os.write(1, b"said \x1b[31mby\n" + b"x" * 9000)
            time.sleep(0.05)
        if what == "raise":
            raise ValueError("raised by the environment")
        if what == "files":
            return Outcome(" ".join(sockets_of_this_process()))
        return Outcome(f"{count} {os.getpid()} {self.episode.step}", reward=1.0, terminated=what == "done")

    def helper(self, number: int) -> int:
        return number + count

    def broken(self) -> None:
        raise NotImplementedError("not this one")


class Look(Action):
    mood: Mood = Mood.GOOD


class Seen(Observation):
    mood: Mood
    pixels: Any = None


class Model(Environment, host="process"):
    async def reset(self) -> Seen:
        await asyncio.sleep(0)
        return Seen(mood=Mood.GOOD)

    async def step(self, action: Look) -> Seen:
        await asyncio.sleep(0)
        return Seen(mood=action.mood, pixels=b"\x00\xff", reward=1.0)

    async def close(self) -> None:
        print("closed", flush=True)


class Unmade(Environment, host="process"):
    def __init__(self) -> None:
        if os.environ.get("UNMADE") == "crash":
            os._exit(4)
        raise RuntimeError("no")

    def step(self, number: int) -> str:
        return ""


def long_rubric(action: Any, observation: Any) -> float:
    return 2.0 if observation.done else 0.5


class Scored(Environment, host="process", rubric=long_rubric, max_steps=2):
    def reset(self) -> str:
        return "go"

    def step(self, number: int) -> str:
        return str(number)
