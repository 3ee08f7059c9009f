"""Stepping an environment by hand, without a session: what the base class's `step` does."""

from __future__ import annotations

import inspect
from typing import Any

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
    spec = describe(type(env))
    timeout_s = kwargs.pop("timeout_s", None)
    action = spec.validate_action(args[0] if args else kwargs)
    raw = spec.call_step(env, action, timeout_s=timeout_s, extra=kwargs if args else None)
    if inspect.isawaitable(raw):
        return _later(spec, env, action, raw)
    seen = spec.transition(env, action, raw)
    return _observation(seen) if inspect.isawaitable(seen) else seen.observation


async def _later(spec: Any, env: Any, action: Any, raw: Any) -> Any:
    seen = spec.transition(env, action, await raw)
    return (await seen if inspect.isawaitable(seen) else seen).observation


async def _observation(seen: Any) -> Any:
    return (await seen).observation
