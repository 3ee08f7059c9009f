import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
from pydantic import ValidationError

from openenv.protocol.mcp_types import CallToolAction, ListToolsAction
from openenv.server.serialization import (
    deserialize_action,
    deserialize_action_with_preprocessing,
    serialize_observation,
)
from openenv.types import Action, Observation


class Everything(Action):
    a: int = 1
    tokens: list[int] = []
    action_id: int | str | None = None
    arguments: object = None


class Tensor:
    def __init__(self, values):
        self.values = values


class OfTensors(Action):
    tokens: Tensor


class Ask(CallToolAction):
    """An environment's own form of a tool call."""

    note: str = ""


def test_observations():
    assert serialize_observation(Observation()) == {
        "observation": {"metadata": {}},
        "reward": None,
        "done": False,
    }
    assert serialize_observation(Observation(reward=True, done=True, metadata={"a": 1})) == {
        "observation": {"metadata": {"a": 1}},
        "reward": True,
        "done": True,
        "metadata": {"a": 1},
    }


@pytest.mark.parametrize("base", [Action, CallToolAction, ListToolsAction, Ask])
def test_tool_actions_are_told_apart_by_type(base):
    assert isinstance(deserialize_action({"type": "list_tools"}, base), ListToolsAction)
    call = deserialize_action({"type": "call_tool", "tool_name": "t"}, base)
    assert isinstance(call, CallToolAction)
    assert isinstance(call, Ask) == (base is Ask)


def test_other_actions_have_no_type():
    assert deserialize_action({"a": 2}, Everything).a == 2
    with pytest.raises(ValidationError, match="extra_forbidden"):
        deserialize_action({"type": "list_tools"}, Everything)
    with pytest.raises(ValidationError):
        deserialize_action({"type": "call_tool", "tool_name": 3}, Ask)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"tokens": "[1, 2]"}, {"tokens": [1, 2]}),
        ({"tokens": "1,2,"}, {"tokens": [1, 2]}),
        ({"tokens": ""}, {"tokens": []}),
        ({"action_id": "7"}, {"action_id": 7}),
        ({"action_id": "-7"}, {"action_id": -7}),
        ({"action_id": "x"}, {"action_id": "x"}),
        ({"arguments": '{"x":1}'}, {"arguments": '{"x":1}'}),
    ],
)
def test_text_from_forms(given, expected):
    action = deserialize_action_with_preprocessing(given, Everything)
    assert {name: getattr(action, name) for name in expected} == expected


def test_arguments_of_a_tool_call_may_be_json():
    data = {"type": "call_tool", "tool_name": "t", "arguments": '{"x":1}'}
    for kind in (Action, CallToolAction, Ask):
        assert deserialize_action_with_preprocessing(data, kind).arguments == {"x": 1}
        with pytest.raises(ValidationError, match="arguments"):
            deserialize_action_with_preprocessing({**data, "arguments": "{"}, kind)


def test_text_that_stands_for_nothing_is_refused():
    with pytest.raises(ValidationError, match="tokens"):
        deserialize_action_with_preprocessing({"tokens": "one, two"}, Everything)


def test_tokens_become_a_tensor_where_nothing_else_fits(monkeypatch):
    torch = ModuleType("torch")
    torch.__spec__ = ModuleSpec("torch", None)
    torch.long = "long"
    torch.tensor = lambda values, dtype: Tensor(values)
    monkeypatch.setitem(sys.modules, "torch", torch)
    action = deserialize_action_with_preprocessing({"tokens": "1,2"}, OfTensors)
    assert action.tokens.values == [1, 2]
    assert deserialize_action_with_preprocessing({"tokens": "1,2"}, Everything).tokens == [1, 2]
    with pytest.raises(ValidationError):
        deserialize_action_with_preprocessing({"tokens": "x"}, OfTensors)
