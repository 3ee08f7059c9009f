"""Where things were written."""

from __future__ import annotations

import functools

import pytest

from openenv.environment import Environment, environment_source_location
from openenv.environment.source import definition_error
from openenv.errors import DefinitionError


class Here(Environment):
    def step(self, x: int) -> int:
        return x

    @staticmethod
    def fixed() -> None: ...


def decorate(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


@decorate
def wrapped(x):
    return x


def line_of(text: str) -> int:
    with open(__file__, encoding="utf-8") as file:
        return 1 + next(at for at, line in enumerate(file) if line.startswith(text))


@pytest.mark.parametrize(
    ("target", "line"),
    [
        (Here, line_of("class Here")),
        (Here.step, line_of("class Here") + 1),
        (Here().step, line_of("class Here") + 1),
        (functools.partial(Here), line_of("class Here")),
        (functools.partial(wrapped, 1), line_of("@decorate")),
        (wrapped, line_of("@decorate")),
        (Here(), line_of("class Here")),
    ],
)
def test_file_and_line(target, line):
    assert environment_source_location(target) == f"{__file__}:{line}"


def test_classes_without_source():
    made = type("Made", (Environment,), {"step": Here.step})
    assert environment_source_location(made) == f"{__file__}:{line_of('class Here') + 1}"
    empty = type("Empty", (), {"__module__": "nowhere"})
    assert environment_source_location(empty) == "nowhere.Empty"
    scope: dict[str, type] = {"__name__": "typed_at_a_prompt"}
    exec("class Typed:\n    def step(self): ...", scope)
    assert environment_source_location(scope["Typed"]) == "<string>:2"


def test_definition_error_says_where_what_and_how():
    error = definition_error(Here, "it is odd", "Make it even")
    assert isinstance(error, DefinitionError)
    assert str(error) == f"{__file__}:{line_of('class Here')}: it is odd. Make it even."
