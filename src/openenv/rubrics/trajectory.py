"""Rubrics that judge a whole episode and then share the score out over its steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from inspect import isawaitable
from typing import Any

from openenv._drive import Steps, discard, drive
from openenv.rubrics.base import Rubric, Score

Trajectory = list[tuple[Any, Any]]
"""Pairs of action and observation, in order."""


class TrajectoryRubric(Rubric):
    """Collects the steps of an episode and scores them when it ends.

    A step that does not end the episode (its observation's `done` is false) scores `intermediate_reward`.
    Subclasses say what the episode is worth and how that is shared out.

    Args:
        intermediate_reward: score of every step but the last.
    """

    def __init__(self, intermediate_reward: float = 0.0) -> None:
        super().__init__()
        self.intermediate_reward = intermediate_reward
        self._trajectory: Trajectory = []
        self._final_score: float | None = None

    @abstractmethod
    def score_trajectory(self, trajectory: Trajectory) -> Score:
        """Return what the whole episode is worth, usually between 0 and 1; may be async."""

    @abstractmethod
    def compute_step_rewards(self) -> list[float]:
        """Return one reward for each step so far: the credit assignment."""

    @property
    def trajectory(self) -> Trajectory:
        """The steps so far (a copy of the list)."""
        return list(self._trajectory)

    def forward(self, action: Any, observation: Any) -> Score:
        """Take note of the step; return the episode's score if it ends here."""
        self._trajectory.append((action, observation))
        self._final_score = None
        if not getattr(observation, "done", False):
            return self.intermediate_reward
        return drive(self._scored())

    def _scored(self) -> Steps[float]:
        result: Any = self.score_trajectory(self._trajectory)
        score: float = (yield result) if isawaitable(result) else result
        self._final_score = score
        return score

    def final_score(self) -> float:
        """Return the score of the steps so far, the one already given if the episode has ended.

        Raises:
            TypeError: the episode has not ended and `score_trajectory` is async.
        """
        if self._final_score is not None:
            return self._final_score
        score: Any = self.score_trajectory(self._trajectory)
        if isawaitable(score):
            discard(score)
            raise TypeError("score_trajectory is async: credit can be assigned once the episode has ended")
        return score  # type: ignore[no-any-return]

    def reset(self) -> None:
        """Forget the episode."""
        super().reset()
        self._trajectory = []
        self._final_score = None

    def state_dict(self) -> dict[str, Any]:
        """Return the configuration, without the steps."""
        return {**super().state_dict(), "intermediate_reward": self.intermediate_reward}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a configuration."""
        super().load_state_dict(state)
        self.intermediate_reward = state.get("intermediate_reward", self.intermediate_reward)


class ExponentialDiscountingTrajectoryRubric(TrajectoryRubric):
    """Shares the episode's score out by temporal discounting.

    Step t of T gets ``gamma ** (T - 1 - t) * score``: the last step the whole score, earlier ones less.

    Args:
        gamma: discount factor between 0 (all credit to the last step) and 1 (the same for all).
        intermediate_reward: score of every step but the last, while the episode runs.

    Raises:
        ValueError: `gamma` is not between 0 and 1.
    """

    def __init__(self, gamma: float = 0.99, intermediate_reward: float = 0.0) -> None:
        super().__init__(intermediate_reward=intermediate_reward)
        if not 0.0 <= gamma <= 1.0:
            raise ValueError(f"gamma must be between 0 and 1, got {gamma}")
        self.gamma = gamma

    def compute_step_rewards(self) -> list[float]:
        """Return the discounted score for each step so far."""
        if not self._trajectory:
            return []
        score = self.final_score()
        last = len(self._trajectory) - 1
        return [score * self.gamma ** (last - t) for t in range(last + 1)]

    def state_dict(self) -> dict[str, Any]:
        """Return the configuration, without the steps."""
        return {**super().state_dict(), "gamma": self.gamma}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a configuration."""
        super().load_state_dict(state)
        self.gamma = state.get("gamma", self.gamma)
