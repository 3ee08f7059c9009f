"""Reading annotations: evaluation, generic bases, outcomes."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Optional, TypeVar, Union

import pytest

from openenv.environment import Environment
from openenv.environment.annotations import (
    EMPTY,
    generic_arguments,
    method_hints,
    own_parameters,
    without_outcome,
)
from openenv.errors import DefinitionError
from openenv.types import Action, Observation, Outcome, State

A = TypeVar("A")
T = TypeVar("T")


class Go(Action):
    pass


class See(Observation):
    pass


class Direct(Environment[Go, See, State]):
    pass


class Middle(Environment[A, See, State], Generic[A]):
    pass


class Leaf(Middle[Go]):
    pass


class Leaflet(Leaf):
    pass


class Bare(Environment):
    pass


@pytest.mark.parametrize("cls", [Direct, Leaf, Leaflet])
def test_generic_arguments_through_levels(cls):
    assert generic_arguments(cls, Environment) == (Go, See, State)


def test_generic_arguments_absent():
    assert generic_arguments(Bare, Environment) == ()
    assert generic_arguments(Middle, Environment)[0] is A
    assert generic_arguments(dict, Environment) == ()


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (str, str),
        (Outcome[int], int),
        (Outcome, Any),
        (str | Outcome[str], str),
        (str | Outcome, str),
        (Union[int, Outcome[str]], int | str),  # noqa: UP007 - the old spelling is the point
        (Outcome[int] | Outcome[str], int | str),
        (Optional[Outcome[int]], int | None),  # noqa: UP045
        (Outcome[int | str], int | str),
        (Annotated[Outcome[int], "x"], Annotated[int, "x"]),
        (EMPTY, EMPTY),
        (None, None),
        (Outcome[T], Any),
    ],
)
def test_without_outcome(annotation, expected):
    found = without_outcome(annotation)
    assert found == expected or set(found.__args__) == set(expected.__args__)


def test_names_of_the_enclosing_function_are_found():
    class Local(Action):
        pass

    class Inner(Environment):
        def step(self, action: Local) -> See:
            return See()

    assert method_hints(Inner, Inner.step) == {"action": Local, "return": See}


def test_a_class_may_name_itself():
    class Tree(Environment):
        def step(self, other: Tree | None) -> int:
            return 1

    assert method_hints(Tree, Tree.step)["other"] == Tree | None


def test_unknown_names_are_reported_with_place():
    class Wrong(Environment):
        def step(self, x: Nowhere) -> int:  # noqa: F821
            return 1

    with pytest.raises(DefinitionError, match=r"test_annotations.py:\d+: Wrong: annotation 'Nowhere' of x"):
        method_hints(Wrong, Wrong.step)


class Kinds:
    def plain(self, a, b=1): ...
    @staticmethod
    def static(a, b=1): ...
    @classmethod
    def of_class(cls, a, b=1): ...
    def catch_all(*args, **kwargs): ...


@pytest.mark.parametrize("method", ["plain", "static", "of_class"])
def test_own_parameters(method):
    assert [p.name for p in own_parameters(Kinds, method)] == ["a", "b"]


def test_own_parameters_of_a_wrapper():
    assert [p.name for p in own_parameters(Kinds, "catch_all")] == ["args", "kwargs"]
