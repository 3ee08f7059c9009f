"""In which of the four styles a class says what an agent can do."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

from openenv.environment.actions import ACTION_MARK, FRAMEWORK_PARAMETERS
from openenv.environment.annotations import (
    EMPTY,
    method_hints,
    own_parameters,
    strip_annotated,
    union_members,
)
from openenv.environment.base import Environment
from openenv.environment.models import is_model
from openenv.environment.source import definition_error
from openenv.environment.toolset import marked_tools

_PLAIN_TYPES = (int, float, str, bool)
_PLAIN_NAMES = tuple(kind.__name__ for kind in _PLAIN_TYPES)


def marked_methods(cls: type) -> dict[str, str]:
    """Return the `@action` methods: method name per action type, those of base classes first."""
    kinds: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for method, value in vars(base).items():
            kind = getattr(getattr(value, "__func__", value), ACTION_MARK, None)
            if isinstance(kind, str):
                kinds[method] = kind
    found: dict[str, str] = {}
    for method, kind in kinds.items():
        if getattr(cls, method) is None:
            continue
        if kind in found:
            raise definition_error(
                getattr(cls, method),
                f"{cls.__name__}: two actions are called {kind!r}",
                "Give one another name, with @action(name=...)",
            )
        found[kind] = method
    return found


def step_method(cls: type) -> str | None:
    """Return the step method that a class defines, `step_async` before `step`; None if it has neither."""
    for method in ("step_async", "step"):
        if getattr(cls, method, None) not in (None, getattr(Environment, method)):
            return method
    return None


def style_of(cls: type, *, named: bool, generic: Any) -> str:
    """Return ``model``, ``typed``, ``actions`` or ``tools``.

    Args:
        cls: the class.
        named: whether the action model was named from outside.
        generic: the action model among the class's generic arguments, if there is one.

    Raises:
        DefinitionError: the class offers nothing to do, or mixes styles.
    """
    step, actions, tools = step_method(cls), marked_methods(cls), marked_tools(cls)
    ways = {"a step method": step, "@action methods": actions, "@tool methods": tools}
    used = [way for way, found in ways.items() if found]
    if not used:
        raise definition_error(
            cls,
            f"{cls.__name__} gives agents nothing to do: no step method, no @action and no @tool methods",
            "Write def step(self, guess: int) -> str, or mark methods with @tool",
        )
    if len(used) > 1:
        culprit = step or next(iter(actions.values()))
        raise definition_error(
            getattr(cls, culprit),
            f"{cls.__name__} mixes {' and '.join(used)}: which of them an action means would be ambiguous",
            f"Keep one way; for instance, make all of them {used[-1]}",
        )
    if step is None:
        return "tools" if tools else "actions"
    return "model" if _takes_model(cls, step, named=named, generic=generic) else "typed"


def _takes_model(cls: type, step: str, *, named: bool, generic: Any) -> bool:
    """Whether the first parameter of a step is the action itself, and the only one that is needed."""
    parameters = [
        p
        for p in own_parameters(cls, step)
        if p.kind is not p.VAR_KEYWORD and p.name not in FRAMEWORK_PARAMETERS
    ]
    needed = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    if not parameters or len(needed) > 1 or (needed and needed[0] is not parameters[0]):
        return False
    if named:
        # Annotations of published classes may name what only type checkers import: not evaluated.
        return parameters[0].annotation not in (*_PLAIN_TYPES, *_PLAIN_NAMES)
    hint = method_hints(cls, getattr(cls, step)).get(parameters[0].name, EMPTY)
    if hint is EMPTY or isinstance(hint, TypeVar):
        return generic is not None
    return all(is_model(member) for member in union_members(strip_annotated(hint)))


def is_coroutine(cls: type, method: str) -> bool:
    """Whether calling that method gives a coroutine."""
    return inspect.iscoroutinefunction(getattr(cls, method, None))
