"""State of an environment: its annotated class attributes.

::

    class Guess(Environment):
        low: int = 1                       # public: part of the state that callers see
        tried: list[int] = []              # each instance gets its own copy
        target: int = hidden(0)            # never leaves the server
        _notes: dict[str, int] = {}        # neither does a leading underscore

Fields are collected when a class is made. `ClassVar`, `Final`, UPPER_CASE constants and the framework's own
attributes are not fields. A class that brings a `state` property of its own, takes no class keyword and
declares nothing `hidden` is of the published kind: its class attributes are left alone, since such
classes may share them among instances on purpose.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from openenv.environment.annotations import raw_annotations
from openenv.environment.options import GIVEN
from openenv.environment.source import definition_error

FIELDS = "_openenv_fields"
"""Class attribute that holds the fields a class itself declares."""

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "MISSING"})()
_FRAMEWORK = frozenset({"rng", "np_rng", "episode", "transform", "rubric", "state"})
_PLAIN = (int, float, str, bool, bytes, type(None))


class _Hidden:
    """What `hidden()` leaves in the class body until the class is made."""

    def __init__(self, default: Any, default_factory: Callable[[], Any] | None) -> None:
        self.default = default
        self.default_factory = default_factory


def hidden(default: Any = MISSING, *, default_factory: Callable[[], Any] | None = None) -> Any:
    """Declare a field that never leaves the server: not in `state`, not on the wire, not on the page.

    Args:
        default: its value in a new instance; a mutable one is copied for each.
        default_factory: called for the value of a new instance.

    Raises:
        TypeError: both were given.
    """
    if default is not MISSING and default_factory is not None:
        raise TypeError("hidden() takes a default or a default_factory, not both")
    return _Hidden(default, default_factory)


@dataclass(frozen=True, slots=True)
class Field:
    """One declared field.

    Attributes:
        name: the attribute.
        annotation: its annotation as written (a string under ``from __future__ import annotations``).
        owner: the class that declares it.
        default: value of a new instance; MISSING if there is none.
        default_factory: makes the value of a new instance.
        public: whether it is part of the state that callers see.
        marked: whether it was declared with `hidden()`.
    """

    name: str
    annotation: Any
    owner: type
    default: Any = MISSING
    default_factory: Callable[[], Any] | None = None
    public: bool = True
    marked: bool = False

    @property
    def per_instance(self) -> bool:
        """Whether each instance needs a value of its own."""
        return self.default_factory is not None or not (
            self.default is MISSING or isinstance(self.default, _PLAIN)
        )

    def make(self) -> Any:
        """Return the value for a new instance."""
        return self.default_factory() if self.default_factory else copy.deepcopy(self.default)


def keep_fields(cls: type) -> None:
    """Collect the fields a class declares; replace each `hidden()` in its body by its default."""
    annotations = raw_annotations(cls)
    body = dict(vars(cls))
    for name, value in body.items():
        if isinstance(value, _Hidden):
            annotations.setdefault(name, Any)
    found: dict[str, Field] = {}
    for name, annotation in annotations.items():
        default = body.get(name, MISSING)
        if isinstance(default, _Hidden):
            found[name] = _hidden_field(cls, name, annotation, default)
        elif _is_field(name, annotation):
            found[name] = Field(name, annotation, cls, default, public=not name.startswith("_"))
    setattr(cls, FIELDS, found)


def _hidden_field(cls: type, name: str, annotation: Any, mark: _Hidden) -> Field:
    if name in _FRAMEWORK:
        raise definition_error(cls, f"{cls.__name__}.{name} is the framework's", "Choose another name")
    if mark.default is MISSING:
        delattr(cls, name)
    else:
        setattr(cls, name, mark.default)
    return Field(name, annotation, cls, mark.default, mark.default_factory, public=False, marked=True)


def _is_field(name: str, annotation: Any) -> bool:
    if name in _FRAMEWORK or name.startswith("__") or name.isupper():
        return False
    return not _is_class_variable(annotation)


def _is_class_variable(annotation: Any) -> bool:
    text = annotation if isinstance(annotation, str) else repr(annotation)
    return text.split("[", 1)[0].rsplit(".", 1)[-1] in ("ClassVar", "Final")


def class_fields(cls: type) -> dict[str, Field]:
    """Return the fields in force for a class, those of its bases first."""
    merged: dict[str, Field] = {}
    for base in reversed(cls.__mro__):
        declared: dict[str, Field] = vars(base).get(FIELDS, {})
        for name, field in declared.items():
            secret = name in merged and not merged[name].public
            merged[name] = _as_secret(field) if secret else field
    return {name: _current(cls, field) for name, field in merged.items()}


def _as_secret(field: Field) -> Field:
    """A subclass that declares a hidden field again does not publish it by accident."""
    return replace(field, public=False)


def _current(cls: type, field: Field) -> Field:
    """Take a default that a subclass assigned without annotating it again."""
    value = getattr(cls, field.name, MISSING)
    if value is field.default or value is MISSING or field.default_factory is not None:
        return field
    return replace(field, default=MISSING if hasattr(type(value), "__get__") else value)


def manages_fields(cls: type, published_state: Any) -> bool:
    """Whether the framework gives instances of `cls` their fields (see the module's text).

    Args:
        cls: the class.
        published_state: the base class's own `state` property.
    """
    if getattr(cls, "state", None) is published_state:
        return True
    if any(vars(base).get(GIVEN) for base in cls.__mro__):
        return True
    return any(field.marked for field in class_fields(cls).values())


def nearest_field(cls: type, name: str) -> str:
    """Say which field a wrong name may have meant."""
    known = list(class_fields(cls))
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"its fields are {', '.join(known)}" if known else "it declares no fields"
