"""Plain functions as rubrics."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from openenv.errors import UsageError
from openenv.rubrics.base import Rubric, Score

RewardFn = Callable[[Any, Any], Score]
"""``fn(action, observation) -> number``, as `def` or `async def`."""


class FunctionRubric(Rubric):
    """A rubric whose `forward` is a function.

    Args:
        fn: called with action and observation.
        name: what it is called in messages; the function's own name by default.
    """

    def __init__(self, fn: RewardFn, name: str | None = None) -> None:
        super().__init__()
        self.fn = fn
        self.name: str = name or str(getattr(fn, "__name__", type(fn).__name__))

    def __repr__(self) -> str:
        return f"FunctionRubric({self.name})"

    def forward(self, action: Any, observation: Any) -> Score:
        """Return what the function returns."""
        return self.fn(action, observation)


def as_rubric(rubric: Rubric | RewardFn) -> Rubric:
    """Return `rubric` itself, or a rubric around a reward function.

    Raises:
        UsageError: it is neither a rubric nor a function of an action and an observation.
    """
    if isinstance(rubric, Rubric):
        return rubric
    if not callable(rubric) or isinstance(rubric, type):
        hint = f": write {rubric.__name__}()" if isinstance(rubric, type) else ""
        raise UsageError(f"{rubric!r} is not a rubric or a function of (action, observation){hint}")
    if not takes_action_and_observation(rubric):
        raise UsageError(f"reward function {rubric!r} must take two arguments: (action, observation)")
    return FunctionRubric(rubric)


def takes_action_and_observation(fn: Callable[..., Any]) -> bool:
    """Say whether `fn` can be called with two positional arguments; yes where it cannot be known."""
    try:
        inspect.signature(fn).bind(None, None)
    except TypeError:
        return False
    except ValueError:
        return True
    return True
