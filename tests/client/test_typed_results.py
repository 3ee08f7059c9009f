"""What a client makes of actions and payloads when its subclass does not say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from tests.client.counting import CountAction, CountObservation, Typed

from openenv.client.env_client import EnvClient
from openenv.client.generic import GenericAction, GenericEnvClient
from openenv.errors import ProtocolError


@dataclass
class Point:
    x: int
    y: int


class Bag:
    def __init__(self) -> None:
        self.x = 1


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ({"a": 1}, {"a": 1}),
        (GenericAction(a=1, b=[2]), {"a": 1, "b": [2]}),
        (CountAction(by=4), {"by": 4}),
        (CountAction(by=4, metadata={"m": 1}), {"by": 4, "metadata": {"m": 1}}),
        (Point(1, 2), {"x": 1, "y": 2}),
        (Bag(), {"x": 1}),
        ([("a", 1)], {"a": 1}),
    ],
)
def test_payloads_of_every_kind_of_action(action: Any, expected: dict[str, Any]) -> None:
    assert GenericEnvClient("http://x")._step_payload(action) == expected


def test_a_generic_action_shows_its_fields() -> None:
    assert repr(GenericAction(code="x", n=1)) == "GenericAction(code='x', n=1)"


def test_types_are_found_in_the_bases() -> None:
    class Sub(Typed):
        pass

    class Untyped(EnvClient):
        pass

    payload = {"observation": {"count": 1, "metadata": {"a": 1}}, "reward": 2.0, "done": True}
    parsed = Sub("http://x")._parse_result(payload)
    assert isinstance(parsed.observation, CountObservation)
    assert (parsed.observation.reward, parsed.observation.done) == (2.0, True)
    assert parsed.observation.metadata == {"a": 1}
    assert Untyped("http://x")._parse_result(payload).observation == payload["observation"]
    assert Untyped("http://x")._parse_state({"a": 1}) == {"a": 1}
    with pytest.raises(ProtocolError, match="CountObservation"):
        Sub("http://x")._parse_result({"observation": {"nope": 1}})
    top = Sub("http://x")._parse_result({"observation": {"count": 1}, "metadata": {"b": 2}})
    assert top.observation.metadata == top.metadata == {"b": 2}
