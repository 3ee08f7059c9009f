"""Wrong actions made from right ones."""

import json

from pydantic import BaseModel, ConfigDict, Field

from openenv.environment.validation import checked
from openenv.testing.mutations import invalid_actions, mutations


class Inner(BaseModel):
    n: int = Field(ge=0)


class Move(BaseModel):
    model_config = ConfigDict(extra="forbid")
    dx: int
    path: list[Inner]
    note: str = ""


VALID = {"dx": 1, "path": [{"n": 1}], "note": "x"}


def validate(value):
    return checked(Move.model_validate, value)


def test_every_level_is_taken_apart():
    made = list(mutations(VALID))
    assert {"path": [{"n": 1}], "note": "x"} in made
    assert {**VALID, "path": []} in made
    assert {**VALID, "path": [{}]} in made
    assert {**VALID, "path": [{"n": -1}]} in made
    assert {**VALID, "no_such_field": 1} in made
    assert None in made


def test_the_valid_action_is_left_as_it_was():
    before = json.dumps(VALID)
    list(mutations(VALID))
    assert json.dumps(VALID) == before


def test_an_action_that_is_no_object_has_few_variants():
    assert all(not isinstance(variant, dict) or variant in ({}, {"x": 1}) for variant in mutations("text"))


def test_only_refused_ones_are_given_and_not_too_many():
    every = invalid_actions(VALID, validate, 10_000)
    assert {**VALID, "dx": None} in every
    assert VALID not in every
    assert {"dx": 1, "path": [{"n": 1}]} not in every
    some = invalid_actions(VALID, validate, 10)
    assert 5 <= len(some) <= 10
    assert all(one in every for one in some)


def test_nothing_is_invalid_where_anything_goes():
    assert invalid_actions(VALID, lambda value: value, 10) == []
