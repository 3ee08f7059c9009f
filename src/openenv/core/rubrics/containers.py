"""Rubrics made of rubrics."""

from openenv.rubrics import Gate, Rubric, RubricDict, RubricList, Sequential, WeightedSum

__all__ = [
    "Gate",
    "Rubric",
    "RubricDict",
    "RubricList",
    "Sequential",
    "WeightedSum",
]
