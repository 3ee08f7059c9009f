"""Rubric and transforms, where the framework applies them.

Published environments apply their own inside `step`, and nothing is applied twice: the framework does it
for the other styles, and for a rubric or transforms named in the class header. A reward that the step
itself gave stands; the rubric scores what has none. When an episode ends, a trajectory rubric's credit for
each of its steps travels in the metadata as `step_rewards`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from typing import Any

from openenv._drive import Steps, drive
from openenv.environment.episode import ATTACHED
from openenv.environment.observations import Transition, number
from openenv.protocol.mcp_types import ListToolsObservation
from openenv.rubrics import Rubric, TrajectoryRubric, score_components
from openenv.types import StepOutcome


class Scoring:
    """What is done to the observations of one class.

    Args:
        cls: the environment class.
        rubric: whether the instance's `rubric` is applied.
        transform: whether the instance's `transform` is applied.
    """

    def __init__(self, cls: type, *, rubric: bool, transform: bool) -> None:
        self._cls = cls
        self._rubric = rubric
        self._transform = transform

    def reset(self, env: Any) -> None:
        """Clear the rubric's memory of the episode before."""
        rubric = getattr(env, "rubric", None) if self._rubric else None
        clear = getattr(rubric, "reset", None)
        if clear is not None:
            clear()

    def step(self, env: Any, action: Any, seen: Transition) -> Transition | Awaitable[Transition]:
        """Score a step, then transform its observation."""
        rubric = getattr(env, "rubric", None) if self._rubric else None
        if rubric is None or seen.reward is not None or not _counts(seen):
            return self.transform(env, seen)
        score = rubric(action, seen.observation)
        if inspect.isawaitable(score):
            return drive(self._later(env, rubric, score, seen))
        return self._scored(env, rubric, score, seen)

    def _later(self, env: Any, rubric: Any, score: Awaitable[Any], seen: Transition) -> Steps[Transition]:
        return self._scored(env, rubric, (yield score), seen)

    def _scored(self, env: Any, rubric: Any, score: Any, seen: Transition) -> Transition:
        reward = number(self._cls, score)
        if reward is not None:
            seen.observation.reward = reward  # type: ignore[attr-defined]
            seen.reward = reward
        if isinstance(rubric, Rubric):
            seen.components = {**score_components(rubric), **seen.components}
        if seen.done and isinstance(rubric, TrajectoryRubric):
            credit = {"step_rewards": rubric.compute_step_rewards()}
            seen.metadata = {**seen.metadata, **credit}
            seen.observation.metadata = seen.metadata  # type: ignore[attr-defined]
        return self.transform(env, seen)

    def transform(self, env: Any, seen: Transition) -> Transition:
        """Apply the class's transforms, then the instance's own; re-read what they may have changed."""
        own = getattr(env, "transform", None) if self._transform else None
        part = env.__dict__.get(ATTACHED)
        transforms = part.transforms if part is not None else ()
        if own is None and not transforms:
            return seen
        observation: Any = seen.observation
        for change in (*transforms, own) if own is not None else transforms:
            observation = change(observation)
        seen.observation = observation
        seen.reward = observation.reward
        seen.metadata = observation.metadata
        if observation.done and not seen.done:
            seen.terminated = True
        seen.done = bool(observation.done)
        if not seen.done:
            seen.terminated = seen.truncated = False
        return seen


def _counts(seen: Transition) -> bool:
    """Whether a step did anything that can be scored: a refused call did not, nor does listing tools."""
    refused = seen.outcome is StepOutcome.INVALID_ACTION
    return not (refused or isinstance(seen.observation, ListToolsObservation))
