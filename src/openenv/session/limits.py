"""What bounds an episode: where a server and an author both set a bound, the tighter one holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from openenv.environment import EnvironmentSpec

_N = TypeVar("_N", int, float)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a session's episodes and calls.

    Attributes:
        max_steps: steps after which an episode is truncated with reason `max_steps`.
        episode_timeout_s: seconds after which an episode is truncated with reason `time_limit`, checked
            when a step returns.
        step_timeout_s: deadline of a step in seconds; a passed deadline stops the step.
        reset_timeout_s: deadline of a reset in seconds.
    """

    max_steps: int | None = None
    episode_timeout_s: float | None = None
    step_timeout_s: float | None = None
    reset_timeout_s: float | None = None

    @property
    def has_deadlines(self) -> bool:
        """Whether every call has a deadline, so that the environment must run where it can be stopped."""
        return self.step_timeout_s is not None or self.reset_timeout_s is not None

    def within(self, spec: EnvironmentSpec) -> Limits:
        """These limits, tightened by those that the environment's author declared."""
        return Limits(
            max_steps=_tighter(self.max_steps, spec.max_steps),
            episode_timeout_s=_tighter(self.episode_timeout_s, spec.episode_timeout_s),
            step_timeout_s=_tighter(self.step_timeout_s, spec.step_timeout_s),
            reset_timeout_s=_tighter(self.reset_timeout_s, spec.reset_timeout_s),
        )


def _tighter(ours: _N | None, authors: _N | None) -> _N | None:
    if ours is None:
        return authors
    return ours if authors is None else min(ours, authors)
