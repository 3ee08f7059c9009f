"""Models from schemas: what pydantic writes is read back, what others write does no harm."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, JsonValue, RootModel, TypeAdapter, ValidationError

from openenv.client.models import GenericObservation, model_from_schema
from openenv.types import Action, Observation


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Node(BaseModel):
    value: int
    children: list[Node] = []
    parent: Node | None = None


class Move(BaseModel):
    kind: Literal["move"] = "move"
    to: int = Field(ge=0, le=5)


class Say(BaseModel):
    kind: Literal["say"] = "say"
    text: str = Field(default="hi", min_length=1, max_length=5, pattern="^h")


class Everything(Action):
    number: int
    ratio: float = Field(default=0.5, gt=0, lt=1, multiple_of=0.25)
    name: str = "n"
    flag: bool = False
    colour: Colour = Colour.RED
    maybe: int | None = None
    tree: Node = Node(value=1)
    either: Annotated[Move | Say, Field(discriminator="kind")] = Say()
    pair: tuple[int, str] = (1, "a")
    many: list[Move] = Field(default_factory=list, max_length=2)
    table: dict[str, list[float]] = Field(default_factory=dict)
    anything: JsonValue = None
    when: dt.datetime = dt.datetime(2020, 1, 1)
    day: dt.date = dt.date(2020, 1, 1)
    span: dt.timedelta = dt.timedelta(seconds=1)
    ident: uuid.UUID = uuid.UUID(int=1)
    made: str = Field(default_factory=lambda: "made by the server")


EXAMPLE: dict[str, Any] = {
    "number": 3,
    "tree": {"value": 1, "children": [{"value": 2}], "parent": {"value": 0}},
    "either": {"kind": "move", "to": 2},
    "many": [{"to": 1}],
    "table": {"a": [1.5]},
    "colour": "blue",
    "anything": {"x": [None]},
}


def learned(model: Any = Everything, **options: Any) -> type[BaseModel]:
    return model_from_schema(TypeAdapter(model).json_schema(), **options)


def test_a_learned_model_reads_and_writes_what_the_original_does() -> None:
    model = learned(base=Action)
    ours = model.model_validate(EXAMPLE)
    assert isinstance(ours, Action)
    assert model.__name__ == "Everything"
    sent = ours.model_dump(mode="json", by_alias=True)
    assert "made" not in sent, "what only the server can make up is left to the server"
    theirs = Everything.model_validate(sent)
    assert theirs.model_dump(mode="json") == Everything.model_validate(EXAMPLE).model_dump(mode="json")


def test_values_have_the_types_of_the_original() -> None:
    it: Any = learned().model_validate(EXAMPLE)
    assert it.tree.children[0].value == 2
    assert it.tree.parent.children == []
    assert it.either.to == 2
    assert it.many[0].kind == "move"
    assert it.pair == (1, "a")
    assert it.when == dt.datetime(2020, 1, 1)
    assert it.day == dt.date(2020, 1, 1)
    assert it.span == dt.timedelta(seconds=1)
    assert it.ident == uuid.UUID(int=1)
    assert it.metadata == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number", "x"),
        ("ratio", 0.3),
        ("ratio", 1.0),
        ("colour", "green"),
        ("tree", {}),
        ("tree", {"value": 1, "children": [{}]}),
        ("either", {"kind": "fly"}),
        ("either", {"kind": "move", "to": 9}),
        ("either", {"kind": "say", "text": "bye"}),
        ("either", {"kind": "say", "text": "hhhhhhhh"}),
        ("pair", [1]),
        ("many", [{"to": 1}] * 3),
        ("when", "yesterday"),
        ("unknown", 1),
    ],
)
def test_constraints_hold(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        learned().model_validate({**EXAMPLE, field: value})
    assert caught.value.errors()[0]["loc"][0] == field


def test_extra_can_be_allowed_everywhere() -> None:
    it: Any = learned(extra="allow").model_validate({**EXAMPLE, "more": 1, "tree": {"value": 1, "hue": "b"}})
    assert it.more == 1
    assert it.tree.hue == "b"


def test_a_union_of_models_is_a_root_model() -> None:
    model = learned(Annotated[Move | Say, Field(discriminator="kind")], name="Step")
    assert issubclass(model, RootModel)
    it: Any = model.model_validate({"kind": "say"})
    assert it.root.text == "hi"
    assert it.model_dump() == {"kind": "say", "text": "hi"}


def test_equal_schemas_share_a_class() -> None:
    assert learned() is learned()
    assert learned() is not learned(base=Observation)


def test_names_that_python_or_pydantic_would_not_take() -> None:
    properties = {
        name: {"type": "integer"}
        for name in ("class", "_hidden", "1st", "a b", "a-b", "schema", "json", "model_x", "")
    }
    model = model_from_schema({"type": "object", "properties": properties})
    values = dict.fromkeys(properties, 1)
    it: Any = model.model_validate(values)
    assert it.model_dump(by_alias=True) == values
    assert (it.class_, it.hidden, it.field_1st, it.schema_, it.model_x) == (1, 1, 1, 1, 1)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"properties": {"a": True}},
        {"properties": {"a": {"$ref": "#/$defs/Missing"}}},
        {"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"$ref": "#/$defs/A"}}},
        {"properties": {"a": {"allOf": [{"$ref": "#"}]}}},
        {"properties": {"a": {"type": ["string", "null"]}}},
        {"properties": {"a": {"enum": [1.5, {"x": 1}]}}},
        {"properties": {"a": {"type": "string", "pattern": "(?<bad"}}},
        {"properties": {"a": {"type": "what"}}},
        {"properties": {"a": {"anyOf": []}}},
        {"type": "object", "properties": None},
        {"oneOf": [{"type": "string"}, {"type": "integer"}]},
    ],
)
def test_schemas_that_say_little_or_nonsense_give_permissive_models(schema: dict[str, Any]) -> None:
    model = model_from_schema(schema)
    if not issubclass(model, RootModel):
        assert model.model_validate({"a": "text"}) is not None


def test_all_of_is_merged() -> None:
    model = model_from_schema(
        {
            "allOf": [
                {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
                {"properties": {"b": {"type": "string"}}, "required": ["b"]},
            ]
        }
    )
    it: Any = model.model_validate({"a": 1, "b": "x"})
    assert (it.a, it.b) == (1, "x")
    with pytest.raises(ValidationError):
        model.model_validate({"a": 1})


def test_definitions_of_older_drafts() -> None:
    schema = {
        "properties": {"a": {"$ref": "#/definitions/P"}},
        "definitions": {"P": {"properties": {"x": {"type": "integer"}}}},
    }
    it: Any = model_from_schema(schema).model_validate({"a": {"x": "3"}})
    assert it.a.x == 3


def test_a_deep_schema_ends() -> None:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(500):
        schema = {"properties": {"a": schema}}
    assert model_from_schema(schema).model_validate({"a": {}})


def test_a_generic_observation_has_every_field() -> None:
    fields: dict[str, Any] = {"x": 1, "reward": 2.0, "done": True, "odd name": 3}
    it: Any = GenericObservation.model_construct(None, **fields)
    assert (it.x, it.reward, it.done, it.metadata) == (1, 2.0, True, {})
    assert it.model_dump()["odd name"] == 3


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
keywords = st.sampled_from(
    ["type", "properties", "items", "anyOf", "oneOf", "allOf", "$ref", "enum", "const", "default", "required"]
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(keywords, json_values, max_size=4))
def test_no_property_schema_breaks_the_builder(part: dict[str, Any]) -> None:
    model_from_schema({"properties": {"field": part}})
