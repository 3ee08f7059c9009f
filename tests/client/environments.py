"""Environments that the tests drive in this process and, played by a script, over a server."""

from __future__ import annotations

import time
from typing import Any

from tests.client.scripted import Peer, Script

from openenv import Environment, Outcome, hidden, tool
from openenv.client.env import Env
from openenv.environment import describe
from openenv.errors import InvalidActionError

FAILS, HANGS = -987_654_321, -987_654_322
"""Guesses that no space draws."""


class Guess(Environment, max_steps=50):
    """Find the number."""

    guesses: int = 0
    number: int = hidden(0)

    def reset(self, top: int = 9) -> str:
        self.number, self.guesses = self.rng.randint(1, top), 0
        return f"1 to {top}"

    def step(self, guess: int) -> str | Outcome[str]:
        self.guesses += 1
        if guess == FAILS:
            raise ValueError("negative")
        if guess == HANGS:
            time.sleep(30)
        if guess == self.number:
            return Outcome("won", reward=1.0, terminated=True, components={"speed": 1 / self.guesses})
        return "higher" if guess < self.number else "lower"


class Toolbox(Environment):
    """Tools."""

    @tool
    def add(self, a: int, b: int = 1) -> int:
        """Add."""
        return a + b

    @tool
    def fail(self) -> str:
        """Fail."""
        raise ValueError("as asked")


class Slow(Environment):
    """Asynchronous."""

    async def reset(self) -> str:
        return "ready"

    async def step(self, word: str) -> Outcome[str]:
        return Outcome(word[::-1], reward=1.0)


class Broken(Environment):
    def __init__(self) -> None:
        raise OSError("no licence")

    def reset(self) -> str:
        return ""

    def step(self, x: int) -> str:
        return ""


def played_by(target: type) -> Script:
    """A plain server session of an environment class, for a client to tell from the real thing."""

    def play(peer: Peer) -> None:
        env = Env.embedded(describe(target))
        while True:
            request = peer.request()
            try:
                if request["type"] == "reset":
                    env.reset(**request["data"])
                elif request["type"] == "step":
                    env.step(request["data"])
                elif request["type"] == "state":
                    peer.send({"type": "state", "data": env.state().model_dump()}, request)
                    continue
                else:
                    tools = [one.model_dump() for one in env.list_tools()]
                    peer.send({"type": "mcp", "data": {"result": {"tools": tools}}}, request)
                    continue
            except InvalidActionError as error:
                data = {"message": "Invalid message", "code": "VALIDATION_ERROR", "errors": error.errors}
                peer.send({"type": "error", "data": data}, request)
                continue
            last = env.last
            assert last is not None
            fields = last.observation.model_dump(exclude={"reward", "done"})
            peer.observe(request, last.reward, last.done, **fields)

    return play


def schema_of(target: type) -> dict[str, Any]:
    env = Env.embedded(describe(target))
    try:
        return env.schema
    finally:
        env.close()
