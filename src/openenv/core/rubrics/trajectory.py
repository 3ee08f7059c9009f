"""Rubrics that score whole episodes."""

from openenv.rubrics import ExponentialDiscountingTrajectoryRubric, Rubric, TrajectoryRubric

__all__ = [
    "ExponentialDiscountingTrajectoryRubric",
    "Rubric",
    "TrajectoryRubric",
]
