"""Actions that are wrong in many ways, made from right ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from openenv.errors import InvalidActionError

_MISFITS: tuple[Any, ...] = (None, True, -1, 10**30, 0.5, "", "\x00", "x" * 1000, [], [[]], {}, {"x": 1})
_DEPTH = 4


def mutations(action: Any) -> Iterator[Any]:
    """Yield variants of an action: not an object, fields missing, added, and of other types and sizes."""
    yield from copy.deepcopy(_MISFITS)
    if not isinstance(action, dict):
        return
    yield {**action, "no_such_field": 1}
    for path in _paths(action, ()):
        for misfit in _MISFITS:
            yield _replaced(action, path, misfit)
        yield _without(action, path)


def invalid_actions(action: Any, validate: Callable[[Any], Any], most: int) -> list[Any]:
    """Return mutations that a validator refuses, spread over all kinds if there are more than `most`.

    Args:
        action: a valid action, as data.
        validate: raises `InvalidActionError` for an invalid one.
        most: how many to return at most.
    """
    refused = [variant for variant in mutations(action) if _is_refused(variant, validate)]
    stride = max(1, -(-len(refused) // most))
    return refused[::stride]


def _is_refused(action: Any, validate: Callable[[Any], Any]) -> bool:
    try:
        validate(copy.deepcopy(action))
    except InvalidActionError:
        return True
    return False


def _paths(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if len(path) >= _DEPTH:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value[:2]):
            yield from _paths(inner, (*path, index))


def _replaced(action: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(action)
    _parent(changed, path)[path[-1]] = copy.deepcopy(value)
    return changed


def _without(action: Any, path: tuple[Any, ...]) -> Any:
    changed = copy.deepcopy(action)
    del _parent(changed, path)[path[-1]]
    return changed


def _parent(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        value = value[key]
    return value
