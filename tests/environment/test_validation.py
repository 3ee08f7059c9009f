"""Errors of validation: which field, what was wrong, always JSON-able."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BeforeValidator, Field, field_validator, model_validator

from openenv.environment import Environment, describe
from openenv.environment.validation import brief, checked, refusal
from openenv.errors import InvalidActionError
from openenv.types import Action, Observation

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The machine is shared: examples may take long."""


class Shape(Action):
    kind: Literal["box", "ball"]
    size: Annotated[int, Field(ge=1, le=9)] = 1
    tags: list[str] = []
    name: str | None = None

    @field_validator("name")
    @classmethod
    def not_bad(cls, name: str | None) -> str | None:
        if name == "bad":
            raise ValueError("bad is not a name")
        if name == "worse":
            raise KeyError("worse")
        return name

    @model_validator(mode="after")
    def no_big_balls(self) -> Shape:
        if self.kind == "ball" and self.size > 5:
            raise ValueError(Exception("nested"))
        return self


class Shapes(Environment):
    def step(self, action: Shape) -> Observation:
        return Observation()


SPEC = describe(Shapes)

REFUSED = {
    "not an object": (5, []),
    "a list": ([1], []),
    "nothing": (None, []),
    "missing": ({}, ["kind"]),
    "wrong type": ({"kind": "box", "size": "big"}, ["size"]),
    "out of bounds": ({"kind": "box", "size": 10}, ["size"]),
    "nested": ({"kind": "box", "tags": ["a", 5]}, ["tags", 1]),
    "extra": ({"kind": "box", "colour": "red"}, ["colour"]),
    "validator raises ValueError": ({"kind": "box", "name": "bad"}, ["name"]),
    "model validator raises ValueError": ({"kind": "ball", "size": 6}, []),
    "validator raises something else": ({"kind": "box", "name": "worse"}, []),
    "NaN": ({"kind": "box", "size": float("nan")}, ["size"]),
    "bytes": ({"kind": b"\xff\xfe"}, ["kind"]),
    "an object": ({"kind": object()}, ["kind"]),
    "a surrogate": ({"kind": "\ud800"}, ["kind"]),
}


@pytest.mark.parametrize(("value", "loc"), REFUSED.values(), ids=REFUSED)
def test_names_the_field_and_can_be_sent(value, loc):
    with pytest.raises(InvalidActionError) as caught:
        SPEC.validate_action(value)
    error = caught.value
    assert error.errors[0]["loc"] == loc
    assert error.message.startswith("Invalid action: " + ".".join(map(str, loc)))
    assert set(error.errors[0]) >= {"type", "loc", "msg", "input"}
    json.dumps(error.errors, allow_nan=False).encode()
    assert error.__cause__ is not None


def test_several_errors_are_all_reported():
    with pytest.raises(InvalidActionError) as caught:
        SPEC.validate_action({"size": "x", "colour": 1})
    assert [entry["loc"] for entry in caught.value.errors] == [["kind"], ["size"], ["colour"]]


def test_valid_data_and_instances_pass():
    shape = SPEC.validate_action({"kind": "box", "size": "3"})
    assert (shape.kind, shape.size) == ("box", 3)
    assert SPEC.validate_action(shape) is shape


def test_the_same_model_from_another_module_passes():
    class Twin(Action):
        kind: str
        size: int

    assert SPEC.validate_action(Twin(kind="ball", size=2)) == Shape(kind="ball", size=2)
    with pytest.raises(InvalidActionError, match="kind"):
        SPEC.validate_action(Twin(kind="cone", size=2))


def test_an_authors_own_error_passes_unchanged():
    mine = InvalidActionError(
        "no such piece", errors=[{"type": "piece", "loc": ["x"], "msg": "m", "input": 1}]
    )

    def refuse(_: Any) -> None:
        raise mine

    with pytest.raises(InvalidActionError) as caught:
        checked(refuse, {})
    assert caught.value is mine


def test_says_what_was_refused():
    assert refusal(ValueError("too late"), 3, "reset option").message == "Invalid reset option: too late"
    assert refusal(ValueError(), 3).errors[0]["msg"] == "ValueError"


def test_long_inputs_are_cut():
    assert len(json.dumps(brief({"a": "x" * 10**6, "b": list(range(10**5))}))) < 4_000
    deep: Any = []
    for _ in range(150):
        deep = [deep]
    assert len(json.dumps(brief(deep))) < 200
    assert brief({"a": [1, None, "x"]}) == {"a": [1, None, "x"]}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
anything = st.recursive(
    json_values | st.binary() | st.complex_numbers() | st.dates() | st.just(object()),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)
fields = st.sampled_from(["kind", "size", "tags", "name", "metadata", "x", ""])


@PATIENT
@given(anything | st.dictionaries(fields, anything, max_size=5))
def test_anything_is_an_action_or_an_error_that_can_be_sent(value):
    try:
        SPEC.validate_action(value)
    except InvalidActionError as refused:
        entries = refused.errors
    else:
        return
    assert entries
    json.dumps(entries, allow_nan=False).encode()
    assert all(isinstance(part, str | int) for entry in entries for part in entry["loc"])


@PATIENT
@given(st.text(), st.sampled_from([ValueError, KeyError, RuntimeError, AssertionError, RecursionError]))
def test_whatever_a_validator_raises_can_be_sent(text, kind):
    def refuse(value: Any) -> Any:
        raise kind(text)

    class Strange(Action):
        x: Annotated[int, BeforeValidator(refuse)]

    class Stranger(Environment):
        def step(self, action: Strange) -> Observation:
            return Observation()

    with pytest.raises(InvalidActionError) as caught:
        describe(Stranger).validate_action({"x": 1})
    json.dumps(caught.value.errors, allow_nan=False).encode()
