"""An environment that does nothing, in the published form: one source, run unmodified by both packages."""

from __future__ import annotations

from typing import Any

from openenv.core.env_server import Action, Environment, Observation, State


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
