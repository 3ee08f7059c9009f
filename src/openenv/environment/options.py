"""What an author says about a class in its header: ``class Guess(Environment, max_steps=20)``.

Each class keeps the keywords it was given; what holds for it is the merge along its bases. `name` and
`version` are not inherited: a subclass is another environment.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from openenv.environment.source import definition_error

GIVEN = "_openenv_given"
"""Class attribute that holds the keywords a class itself was given."""

OPTIONS = "_openenv_options"
"""Class attribute that holds the options in force."""

_HOSTS = ("auto", "thread", "shard", "inline", "process")
_SECONDS = ("step_timeout_s", "reset_timeout_s", "episode_timeout_s")


class Unset:
    """The default of a keyword that was not given."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Any = Unset()


@dataclass(frozen=True, slots=True)
class ClassOptions:
    """The keywords in force for a class; see `openenv.environment.Environment` for their meaning."""

    name: str | None = None
    version: str | None = None
    max_steps: int | None = None
    step_timeout_s: float | None = None
    reset_timeout_s: float | None = None
    episode_timeout_s: float | None = None
    deterministic: bool = True
    requires_reset: bool | None = None
    host: str = "auto"
    rubric: Any = None
    transforms: tuple[Any, ...] = ()
    tasks: Any = None
    given: frozenset[str] = field(default=frozenset())


KEYWORDS = tuple(f.name for f in fields(ClassOptions) if f.name != "given")


def keep_options(cls: type, keywords: dict[str, Any]) -> None:
    """Check the keywords of a class header and keep them on the class.

    Raises:
        DefinitionError: one of them has a value that makes no sense.
    """
    given = {name: value for name, value in keywords.items() if value is not UNSET}
    if "transforms" in given and isinstance(given["transforms"], Iterable):
        given["transforms"] = tuple(given["transforms"])
    for name, value in given.items():
        problem = _problem(name, value)
        if problem:
            raise definition_error(cls, f"{cls.__name__}: {name}={value!r} makes no sense", problem)
    setattr(cls, GIVEN, given)
    setattr(cls, OPTIONS, _merged(cls))


def _merged(cls: type) -> ClassOptions:
    merged: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        inherited = {k: v for k, v in merged.items() if k not in ("name", "version")}
        merged = {**inherited, **vars(base).get(GIVEN, {})}
    return ClassOptions(**merged, given=frozenset(merged))


def class_options(cls: type) -> ClassOptions:
    """Return the options that hold for a class: its own and, beneath them, those of its bases."""
    options: ClassOptions = getattr(cls, OPTIONS, _DEFAULTS)
    return options


_DEFAULTS = ClassOptions()


def unknown_keyword(cls: type, names: Iterable[str]) -> Exception:
    """Build the error for class keywords that do not exist, with the nearest one that does."""
    name = next(iter(names))
    near = difflib.get_close_matches(name, KEYWORDS, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(KEYWORDS)}"
    return definition_error(cls, f"{cls.__name__}: unknown class keyword {name!r}", hint)


def _problem(name: str, value: Any) -> str:
    """Say what a keyword must be, or nothing if it is that."""
    if name == "host" and value not in _HOSTS:
        return f"Use one of {', '.join(map(repr, _HOSTS))}"
    if name in _SECONDS and not _none_or_positive(value):
        return "Give a number of seconds above 0, or None for no limit"
    if name == "max_steps" and not _none_or_positive(value, whole=True):
        return "Give a whole number above 0, or None for no limit"
    if name in ("deterministic", "requires_reset") and not isinstance(value, bool):
        return "Give True or False"
    if name in ("name", "version") and not (value is None or (isinstance(value, str) and value)):
        return "Give a text, or leave it out"
    if name == "transforms" and not (isinstance(value, tuple) and all(map(callable, value))):
        return "Give a sequence of callables that take and return an observation"
    if name == "rubric" and not (value is None or callable(value)):
        return "Give a Rubric, a class of one, or a function (action, observation) -> float"
    return ""


def _none_or_positive(value: Any, *, whole: bool = False) -> bool:
    kinds = int if whole else (int, float)
    return value is None or (isinstance(value, kinds) and not isinstance(value, bool) and value > 0)
