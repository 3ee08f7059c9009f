"""The base of rubrics."""

from openenv.rubrics import Rubric

__all__ = [
    "Rubric",
]
