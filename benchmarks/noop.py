"""An environment that does nothing, in the published form: one source, run unmodified by both packages.

Run as a program it serves itself as published packages do, by `create_app` under plain uvicorn, and prints
its port. Both interpreters run this same file.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

from openenv.core.env_server import Action, Environment, Observation, State, create_app


class NoopAction(Action):
    """About 200 bytes on the wire, like a short tool call."""

    message: str
    tokens: list[int] = []


class NoopObservation(Observation):
    message: str = ""
    count: int = 0


class NoopEnvironment(Environment[NoopAction, NoopObservation, State]):
    """Counts its steps."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self._state = State()

    def reset(self, seed: int | None = None, episode_id: str | None = None, **kwargs: Any) -> NoopObservation:
        self._state = State(episode_id=episode_id, step_count=0)
        return NoopObservation(message="ready")

    def step(self, action: NoopAction, timeout_s: float | None = None, **kwargs: Any) -> NoopObservation:
        self._state.step_count += 1
        return NoopObservation(message=action.message, count=self._state.step_count, reward=1.0)

    @property
    def state(self) -> State:
        return self._state


def main() -> None:
    """Serve at most ``argv[1]`` sessions on a free loopback port."""
    import uvicorn

    app = create_app(
        NoopEnvironment,
        NoopAction,
        NoopObservation,
        env_name="noop",
        max_concurrent_envs=int(sys.argv[1]),
    )
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main()
