"""Composable rewards."""

from typing import NoReturn

from openenv.core._later import refuse
from openenv.rubrics import (
    ExponentialDiscountingTrajectoryRubric,
    Gate,
    Rubric,
    RubricDict,
    RubricList,
    Sequential,
    TrajectoryRubric,
    WeightedSum,
)

__all__ = [
    "ExponentialDiscountingTrajectoryRubric",
    "Gate",
    "Rubric",
    "RubricDict",
    "RubricList",
    "Sequential",
    "TrajectoryRubric",
    "WeightedSum",
]


def __getattr__(name: str) -> NoReturn:
    if name == "LLMJudge":
        refuse("openenv.core.rubrics.LLMJudge", "call your judge model from an async Rubric.forward")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
