"""The built-in problems, made from right solutions: what they answer is what the hidden tests expect.

Inputs come from a generator seeded by the problem's name, so the tests are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable

from openenv.envs.coding.problems import lists, mappings, numbers, programs, repositories, strings, structures
from openenv.envs.coding.problems.making import Made
from openenv.envs.coding.tasks import Problem

_MODULES = (numbers, strings, lists, mappings, structures, programs, repositories)


def built_in(split: str) -> list[Callable[[], Problem]]:
    """Return what makes the problems of a split, `train` or `test`, in order."""
    return [made.problem for module in _MODULES for made in module.PROBLEMS if made.split == split]


__all__ = ["Made", "built_in"]
