"""What `step` may be given."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pytest

from openenv.client.actions import action_of, calls_tools
from openenv.errors import UsageError
from openenv.types import Action

ONE = {"properties": {"metadata": {}, "guess": {"type": "integer"}}}
TWO: dict[str, Any] = {"properties": {"a": {}, "b": {}}}


class Guess(Action):
    guess: int


@dataclass
class Point:
    x: int
    y: int


def asked(value: Any, fields: dict[str, Any] | None = None, schema: dict[str, Any] = ONE) -> Any:
    return action_of(value, fields or {}, lambda: schema)


def test_what_it_means() -> None:
    model = Guess(guess=1)
    assert asked(model) is model
    assert asked({"guess": 1}) == {"guess": 1}
    assert asked(MappingProxyType({"guess": 1})) == {"guess": 1}
    assert asked(Point(1, 2)) == {"x": 1, "y": 2}
    assert asked(None) == {}
    assert asked(None, {"guess": 1}) == {"guess": 1}
    for bare in (5, "five", 0, "", False, [1]):
        assert asked(bare) == {"guess": bare}


def test_an_action_and_fields_is_too_much() -> None:
    with pytest.raises(UsageError, match="the fields guess"):
        asked({"guess": 1}, {"guess": 2})


def test_a_bare_value_needs_a_single_field() -> None:
    with pytest.raises(UsageError, match=r"2 fields; write step\(a=\.\.\., b=\.\.\.\)"):
        asked(5, schema=TWO)
    with pytest.raises(UsageError, match="not a single value"):
        asked(5, schema={"oneOf": []})


def test_calls_tools() -> None:
    call = {"properties": {"type": {"const": "call_tool"}}}
    assert calls_tools(call)
    assert calls_tools({"oneOf": [{"$ref": "#/$defs/Call"}], "$defs": {"Call": call}})
    assert not calls_tools(ONE)
