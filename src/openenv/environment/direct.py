"""Stepping an environment by hand, without a session: what the base class's `step` does."""

from __future__ import annotations

import inspect
from typing import Any

from openenv._drive import Steps, drive
from openenv.environment.describe import describe


def step_by_hand(env: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Validate an action, do it and return the observation, or an awaitable of it.

    Args:
        env: an environment with `@action` or `@tool` methods.
        args: the action, an object or a dict.
        kwargs: ``timeout_s`` and further arguments; without `args`, the action's fields.

    Raises:
        InvalidActionError: the action does not fit.
        DefinitionError: the class has no actions.
    """
    return drive(_step(env, args, kwargs))


def _step(env: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Steps[Any]:
    spec = describe(type(env))
    timeout_s = kwargs.pop("timeout_s", None)
    action = spec.validate_action(args[0] if args else kwargs)
    raw = spec.call_step(env, action, timeout_s=timeout_s, extra=kwargs if args else None)
    if inspect.isawaitable(raw):
        raw = yield raw
    seen = spec.transition(env, action, raw)
    if inspect.isawaitable(seen):
        seen = yield seen
    return seen.observation
