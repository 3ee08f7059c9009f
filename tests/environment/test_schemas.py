"""Compact schemas: no titles, references replaced, recursion kept."""

from __future__ import annotations

from pydantic import BaseModel, Field, TypeAdapter

from openenv.environment.schemas import compact


class Point(BaseModel):
    title: str = Field(default="p", title="Name of the point")
    x: int


class Line(BaseModel):
    ends: list[Point]
    title: Point | None = None


class Node(BaseModel):
    children: list[Node] = []


def test_titles_go_but_a_property_called_title_stays():
    schema = compact(Point.model_json_schema())
    assert schema == {
        "properties": {"title": {"default": "p", "type": "string"}, "x": {"type": "integer"}},
        "required": ["x"],
        "type": "object",
    }


def test_references_are_replaced():
    schema = compact(Line.model_json_schema())
    assert "$defs" not in schema
    assert "$ref" not in str(schema)
    assert schema["properties"]["ends"]["items"]["properties"]["x"] == {"type": "integer"}
    assert schema["properties"]["title"]["anyOf"][0]["required"] == ["x"]


def test_recursive_definitions_stay():
    schema = compact(TypeAdapter(dict[str, Node]).json_schema())
    assert schema["additionalProperties"] == {"$ref": "#/$defs/Node"}
    assert schema["$defs"]["Node"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}


def test_values_are_not_touched():
    schema = {"properties": {"a": {"default": {"title": "kept", "$ref": "kept"}}}, "enum": [{"title": "x"}]}
    assert compact(schema) == schema


def test_the_original_is_unchanged():
    original = Line.model_json_schema()
    before = repr(original)
    compact(original)
    assert repr(original) == before
