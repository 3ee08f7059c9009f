"""Which class a factory makes, told without making an instance where that is possible.

Published packages hand a class, a `functools.partial`, or a function. A function tells by its attribute
``factory_class``, by its return annotation, or by naming exactly one environment class in its body. Only
where none of these helps is it called once; that instance is closed again, unless the function keeps it
(a module's global instance, returned each time).
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

from openenv.environment.base import Environment
from openenv.errors import EnvironmentFactoryError


def class_of(factory: Any) -> type | None:
    """Return the class that a factory makes, None if it does not tell without being called."""
    if isinstance(factory, functools.partial):
        return class_of(factory.func)
    if isinstance(factory, type):
        return factory
    said = getattr(factory, "factory_class", None)
    if isinstance(said, type):
        return said
    return _annotated(factory) or _named(factory)


def probe(factory: Callable[[], Any]) -> type:
    """Call a factory once to see what it makes.

    Raises:
        EnvironmentFactoryError: it raised.
    """
    try:
        instance = factory()
    except Exception as error:
        # Boundary: the author's constructor.
        raise EnvironmentFactoryError(getattr(factory, "__name__", repr(factory))) from error
    if not any(value is instance for value in _kept(factory)):
        close = getattr(instance, "close", None)
        if close is not None:
            close()
    return type(instance)


def _annotated(factory: Any) -> type | None:
    try:
        hint = typing.get_type_hints(factory).get("return")
    except (NameError, TypeError, AttributeError):
        return None
    proper = isinstance(hint, type) and issubclass(hint, Environment) and hint is not Environment
    return hint if proper and not inspect.isabstract(hint) else None


def _named(factory: Any) -> type | None:
    """Return the one environment class that a function's body names."""
    function = inspect.unwrap(getattr(factory, "__func__", factory))
    if not isinstance(function, types.FunctionType):
        return None
    scope = {**function.__globals__, **_closure(function)}
    found = {value for name in _names(function.__code__) if _is_environment(value := scope.get(name))}
    return found.pop() if len(found) == 1 else None


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    yield from code.co_freevars
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _is_environment(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Environment) and not inspect.isabstract(value)


def _closure(function: types.FunctionType) -> dict[str, Any]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells if _is_filled(cell)}


def _is_filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _kept(factory: Any) -> Iterator[Any]:
    """Yield what a factory can reach again: globals, closure, defaults, its object, its cache."""
    if isinstance(factory, functools.partial):
        yield from factory.args
        yield from factory.keywords.values()
        factory = factory.func
    if hasattr(factory, "cache_info"):
        yield factory()
    holder = getattr(factory, "__self__", None)
    if holder is not None:
        yield from getattr(holder, "__dict__", {}).values()
    function = inspect.unwrap(getattr(factory, "__func__", factory))
    if isinstance(function, types.FunctionType):
        yield from function.__globals__.values()
        yield from _closure(function).values()
        yield from function.__defaults__ or ()
        for value in (*function.__globals__.values(), *_closure(function).values()):
            if isinstance(value, dict | list):
                yield from value.values() if isinstance(value, dict) else value
