"""Sessions driven from one thread, synchronous and asynchronous environments alike.

The checks use real sessions: the rules of order, seeds and outcomes are those of a server. An
asynchronous environment gets one event loop for the whole check, as it would on a server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

from openenv.environment import EnvironmentSpec
from openenv.session import Session
from openenv.types import StepResult

ValueT = TypeVar("ValueT")


class Stage:
    """Opens sessions of one environment.

    Args:
        spec: the environment.

    Attributes:
        call: name of the call into the environment that runs now, empty if none does.
        since: `time.monotonic()` of its start.
    """

    def __init__(self, spec: EnvironmentSpec) -> None:
        self.spec = spec
        self.call = ""
        self.since = 0.0
        self._loop = asyncio.new_event_loop() if spec.is_async else None

    def open(self) -> Player:
        """Open a session with a fresh environment.

        Raises:
            EnvironmentFactoryError: its constructor raised.
        """
        return Player(self, Session(self.spec, id="check"))

    def close(self) -> None:
        """Close the event loop, if there is one."""
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def do(self, name: str, sync: Callable[[], ValueT], later: Callable[[], Any] | None = None) -> ValueT:
        """Make one call, on the loop where the environment has one.

        Args:
            name: the call's name, for whoever watches the time.
            sync: makes it.
            later: the same for an asynchronous environment; returns an awaitable.
        """
        self.call, self.since = name, time.monotonic()
        try:
            if self._loop is None:
                return sync()
            value: ValueT = self._loop.run_until_complete(_awaited(later or _soon(sync)))
            return value
        finally:
            self.call = ""


class Player:
    """One open session.

    Args:
        stage: what opened it.
        session: the session; its environment is built here.
    """

    def __init__(self, stage: Stage, session: Session) -> None:
        self.session = session
        self._do = stage.do
        self._do("start", session.start)

    def reset(self, seed: int | None, **options: Any) -> StepResult[Any]:
        """Start an episode; its id is always the same, so that episodes can be compared."""
        session = self.session
        return self._do(
            "reset",
            lambda: session.reset(seed=seed, episode_id="check", options=options),
            lambda: session.areset(seed=seed, episode_id="check", options=options),
        )

    def step(self, action: Any) -> StepResult[Any]:
        """Take a step."""
        return self._do("step", lambda: self.session.step(action), lambda: self.session.astep(action))

    def state(self) -> Any:
        """Read the public state."""
        return self.ask("state", self.session.spec.read_state)

    def ask(self, name: str, question: Callable[[Any], Any]) -> Any:
        """Put a question to the environment."""
        return self._do(
            name, lambda: self.session.ask(name, question), lambda: self.session.aask(name, question)
        )

    def close(self) -> None:
        """Close the session."""
        self._do("close", self.session.close, self.session.aclose)

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _awaited(make: Callable[[], Any]) -> Any:
    return await make()


def _soon(sync: Callable[[], Any]) -> Callable[[], Any]:
    async def call() -> Any:
        return sync()

    return call
