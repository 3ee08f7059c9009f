"""Reading annotations: of methods, of generic bases, and what a return annotation promises.

Names in string annotations are looked up in the function's module, in the class, and in the function
that the class was defined in (kept when the class is made), so classes inside tests and notebooks work.
"""

from __future__ import annotations

import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from openenv.environment.source import definition_error
from openenv.types import Outcome

NAMESPACE = "_openenv_namespace"
"""Class attribute: local names of the function a class was defined in, for string annotations."""

EMPTY: Any = type("Empty", (), {"__repr__": lambda self: "EMPTY"})()
"""No annotation."""

_MACHINERY = frozenset({"__new__", "__init_subclass__", "__call__", "new_class", "_wrapped_init_subclass"})


def raw_annotations(target: Any) -> dict[str, Any]:
    """Return the annotations of a class body or a function, unevaluated where they are strings."""
    if sys.version_info >= (3, 14):
        import annotationlib

        return annotationlib.get_annotations(target, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(target)


def keep_namespace(cls: type) -> None:
    """Keep those local names that the annotations of a class mention, if it is made inside a function."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_name in _MACHINERY:
        frame = frame.f_back
    if frame.f_locals is not frame.f_globals and frame.f_code.co_name != "<module>":
        local = frame.f_locals
        setattr(cls, NAMESPACE, {name: local[name] for name in _mentioned(cls) if name in local})


def _mentioned(cls: type) -> set[str]:
    members = (getattr(v, "fget", None) or getattr(v, "__func__", v) for v in vars(cls).values())
    holders = [cls, *(member for member in members if inspect.isfunction(member))]
    texts = (str(annotation) for holder in holders for annotation in raw_annotations(holder).values())
    return set(re.findall(r"[^\W\d]\w*", " ".join(texts)))


def method_hints(cls: type, function: Callable[..., Any]) -> dict[str, Any]:
    """Return the evaluated annotations of a method, `Annotated` kept, `return` included.

    Raises:
        DefinitionError: a name in an annotation cannot be found.
    """
    target = getattr(function, "__func__", function)
    while hasattr(target, "__wrapped__"):
        target = target.__wrapped__
    written = getattr(target, "__annotations__", {})
    return {name: evaluate(cls, value, target, name) for name, value in written.items()}


def evaluate(cls: type, annotation: Any, where: Any = None, name: str = "") -> Any:
    """Evaluate one annotation as written in `cls`, or in the function `where`.

    Raises:
        DefinitionError: a name in it cannot be found.
    """
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    module = sys.modules.get(cls.__module__)
    names = dict(vars(module)) if module else {}
    names.update(getattr(where, "__globals__", {}))
    local = {**_locals(cls), cls.__name__: cls}
    try:
        return typing.get_type_hints(holder, names, local, include_extras=True)["it"]
    except NameError as error:
        raise definition_error(
            where or cls,
            f"{cls.__name__}: annotation {annotation!r} of {name or 'a field'} cannot be evaluated ({error})",
            "Import the name at run time, not only under TYPE_CHECKING",
        ) from error


def _locals(cls: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        found.update(vars(base).get(NAMESPACE, {}))
    return found


def own_parameters(cls: type, method: str) -> list[inspect.Parameter]:
    """Return the parameters of a method that its caller fills: all but ``self`` or ``cls``."""
    parameters = list(inspect.signature(getattr(cls, method)).parameters.values())
    if isinstance(inspect.getattr_static(cls, method), (staticmethod, classmethod)):
        return parameters
    first = parameters[0].kind if parameters else None
    return parameters if first is inspect.Parameter.VAR_POSITIONAL else parameters[1:]


def generic_arguments(cls: type, base: type) -> tuple[Any, ...]:
    """Return what a class put for the type variables of its generic base, through any number of levels.

    Args:
        cls: ``class Guess(Environment[A, O, S])`` or a subclass of such a class.
        base: the generic base, `Environment`.

    Returns:
        The arguments; unbound ones are type variables; () where none were given.
    """
    for parent in getattr(cls, "__orig_bases__", ()):
        origin = get_origin(parent)
        if origin is base:
            return get_args(parent)
        if isinstance(origin, type) and issubclass(origin, base):
            inner = generic_arguments(origin, base)
            bound = dict(zip(getattr(origin, "__parameters__", ()), get_args(parent), strict=False))
            return tuple(bound.get(arg, arg) if isinstance(arg, TypeVar) else arg for arg in inner)
    for plain in cls.__bases__:
        if issubclass(plain, base) and plain is not base:
            found = generic_arguments(plain, base)
            if found:
                return found
    return ()


def union_members(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union; the annotation itself if it is none."""
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(member for part in get_args(annotation) for member in union_members(part))
    return (annotation,)


def union_of(members: Iterable[Any]) -> Any:
    """Return the union of annotations; the only one itself."""
    distinct = tuple(dict.fromkeys(members))
    return distinct[0] if len(distinct) == 1 else Union.__getitem__(distinct)


def without_outcome(annotation: Any) -> Any:
    """Return what the value inside is: ``Outcome[T]`` and ``T | Outcome[T]`` are T.

    A bare `Outcome` says nothing about its value: beside other members it is left out, alone it is `Any`.
    """
    if get_origin(annotation) is Annotated:
        inner, *extras = get_args(annotation)
        return Annotated[(without_outcome(inner), *extras)]
    members: list[Any] = []
    bare = False
    for member in union_members(annotation):
        if member is Outcome:
            bare = True
        elif get_origin(member) is Outcome:
            members.extend(union_members(get_args(member)[0]))
        else:
            members.append(member)
    members = [m for m in members if not isinstance(m, TypeVar)]
    if not members:
        return Any if bare or annotation is not EMPTY else EMPTY
    return union_of(members)


def strip_annotated(annotation: Any) -> Any:
    """Return the type inside `Annotated`."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation
