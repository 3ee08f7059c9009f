"""Rewards as trees of small scorers, in the manner of `torch.nn.Module`.

Write a `Rubric` with a `forward(action, observation)`, or use a plain function, and combine them with the
containers. `score_components` names what every part of the tree scored.
"""

from typing import Any

from openenv.errors import NotAvailableError
from openenv.rubrics.base import Rubric
from openenv.rubrics.components import instantiate, score_components
from openenv.rubrics.containers import Gate, RubricDict, RubricList, Sequential, WeightedSum
from openenv.rubrics.function import FunctionRubric, RewardFn, as_rubric
from openenv.rubrics.trajectory import ExponentialDiscountingTrajectoryRubric, TrajectoryRubric

__all__ = [
    "ExponentialDiscountingTrajectoryRubric",
    "FunctionRubric",
    "Gate",
    "RewardFn",
    "Rubric",
    "RubricDict",
    "RubricList",
    "Sequential",
    "TrajectoryRubric",
    "WeightedSum",
    "as_rubric",
    "instantiate",
    "score_components",
]


def __getattr__(name: str) -> Any:
    if name == "LLMJudge":
        raise NotAvailableError(
            "LLMJudge is not part of this release: call your judge model from an async Rubric.forward"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
