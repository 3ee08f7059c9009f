"""What the parts of a rubric scored, and how a session gets a rubric of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from openenv.errors import UsageError
from openenv.rubrics.base import Rubric
from openenv.rubrics.function import RewardFn, as_rubric, takes_action_and_observation


def score_components(rubric: Rubric) -> dict[str, float]:
    """Return the score of every descendant in the last call, by dotted path.

    Rubrics that the call left out (behind a closed gate, not picked from a `RubricDict`) are absent.

    Args:
        rubric: the root; its own score is the reward and is not among the components.
    """
    found: dict[str, float] = {}
    _collect(rubric, "", found)
    return found


def _collect(parent: Rubric, prefix: str, found: dict[str, float]) -> None:
    for name, child in parent.named_children():
        path = f"{prefix}{name}"
        if child.last_score is not None:
            found[path] = child.last_score
        if child.last_score is not None or child._is_group:
            _collect(child, f"{path}.", found)


def instantiate(rubric: Rubric | Callable[[], Rubric] | RewardFn) -> Rubric:
    """Return a rubric that shares no state with any other session.

    Args:
        rubric: an instance (it is copied), a `Rubric` class or a function without arguments that returns a
            rubric (it is called), or a reward function of action and observation.

    Raises:
        UsageError: an instance that cannot be copied, or something that gives no rubric.
    """
    if isinstance(rubric, Rubric):
        return _own_copy(rubric)
    source: Any = rubric
    if not isinstance(source, type) and (not callable(source) or takes_action_and_observation(source)):
        return as_rubric(source)
    made = source()
    if not isinstance(made, Rubric):
        raise UsageError(f"{rubric!r} returned {type(made).__name__}, not a Rubric")
    return made


def _own_copy(rubric: Rubric) -> Rubric:
    try:
        own = copy.deepcopy(rubric)
    except Exception as error:  # boundary: whatever an attribute's own copying raises
        raise UsageError(
            f"{type(rubric).__name__} cannot be copied for each session ({error}): "
            "give the class, or a function that builds the rubric, instead of an instance"
        ) from error
    own.reset()
    return own
