"""Coding: real CPython and a shell in a sandbox, tasks with hidden tests.

`CodingEnvironment` takes the published `CodeAction` and the tools of `toolbox`. `grade` judges a submission.
"""

from openenv.envs.coding.environment import CodingEnvironment
from openenv.envs.coding.grading import Verdict, grade
from openenv.envs.coding.models import CodeAction, CodeObservation, CodeState
from openenv.envs.coding.tasks import CallCase, CodingTasks, Problem, RunCase
from openenv.envs.coding.transforms import CodeQualityTransform, CodeSafetyTransform

__all__ = [
    "CallCase",
    "CodeAction",
    "CodeObservation",
    "CodeQualityTransform",
    "CodeSafetyTransform",
    "CodeState",
    "CodingEnvironment",
    "CodingTasks",
    "Problem",
    "RunCase",
    "Verdict",
    "grade",
]
