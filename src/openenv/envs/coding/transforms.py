"""The published scores of code by its looks; off unless a reset names them.

They say nothing about what the code does: ``reset(transforms=["safety", "quality"])`` pays a policy that
does nothing 0.1 for every step. They are here for those who compare with published results.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from openenv.envs.coding.models import CodeObservation
from openenv.errors import InvalidActionError
from openenv.transforms import CompositeTransform, Transform

_MODULES = frozenset({"os", "subprocess"})
_CALLS = frozenset({"eval", "exec", "open", "__import__"})


class CodeSafetyTransform(Transform[Any]):
    """Sets the reward to a penalty where code imports `os` or `subprocess`, or opens, evaluates or imports.

    Args:
        penalty: the reward then; otherwise a missing reward becomes 0.
    """

    def __init__(self, penalty: float = -1.0) -> None:
        self.penalty = penalty

    def __call__(self, observation: Any) -> Any:
        """Score the code named in ``metadata["last_code"]``; the finding goes to ``safety_violation``."""
        if not isinstance(observation, CodeObservation) or "last_code" not in observation.metadata:
            return observation
        found = _violation(observation.metadata["last_code"])
        if found is not None:
            observation.reward = self.penalty
            observation.metadata["safety_violation"] = found
        elif observation.reward is None:
            observation.reward = 0.0
        return observation


class CodeQualityTransform(Transform[Any]):
    """Adds a bonus for short code and a penalty for code that cannot be parsed.

    Args:
        concise_bonus: added if the stripped code is no longer than the threshold.
        max_length_threshold: characters.
        syntax_penalty: added if the code is no Python.
    """

    def __init__(
        self, concise_bonus: float = 0.1, max_length_threshold: int = 100, syntax_penalty: float = -0.2
    ) -> None:
        self.concise_bonus = concise_bonus
        self.max_length_threshold = max_length_threshold
        self.syntax_penalty = syntax_penalty

    def __call__(self, observation: Any) -> Any:
        """Add the score of the code named in ``metadata["last_code"]`` to the reward."""
        if not isinstance(observation, CodeObservation):
            return observation
        score = 0.0
        code = observation.metadata.get("last_code")
        if code is not None:
            score += self.concise_bonus if len(code.strip()) <= self.max_length_threshold else 0.0
            score += self.syntax_penalty if _parsed(code) is None else 0.0
        observation.reward = (observation.reward or 0.0) + score
        return observation


_NAMED: dict[str, type[Transform[Any]]] = {"safety": CodeSafetyTransform, "quality": CodeQualityTransform}


def named_transforms(names: Sequence[str]) -> CompositeTransform | None:
    """Make the transforms of these names, in this order; None if there are none.

    Raises:
        InvalidActionError: there is no transform of a name.
    """
    for name in names:
        if name not in _NAMED:
            message = f"transforms: expected some of {', '.join(_NAMED)}, got {name!r}"
            entry = {"type": "value_error", "loc": ["transforms"], "msg": message, "input": name}
            raise InvalidActionError(message, errors=[entry])
    return CompositeTransform([_NAMED[name]() for name in names]) if names else None


def _parsed(code: str) -> ast.Module | None:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _violation(code: str) -> str | None:
    tree = _parsed(code)
    for node in ast.walk(tree) if tree is not None else ():
        match node:
            case ast.Import(names=names):
                tops = [alias.name.partition(".")[0] for alias in names]
            case ast.ImportFrom(module=str(module)):
                tops = [module.partition(".")[0]]
            case ast.Call(func=ast.Name(id=name)) if name in _CALLS:
                return name
            case _:
                continue
        for top in tops:
            if top in _MODULES:
                return f"import {top}"
    return None


__all__ = ["CodeQualityTransform", "CodeSafetyTransform", "named_transforms"]
