"""Every keyword of JSON Schema that describes actions."""

import random

import pytest

from openenv.errors import SamplingError
from openenv.spaces.drawing import Drawer
from openenv.spaces.validation import conforms

SCHEMAS = {
    "true": True,
    "empty": {},
    "const": {"const": {"a": [1]}},
    "enum": {"enum": ["a", 1, None, True]},
    "enum within bounds": {"enum": [1, 5, 50], "maximum": 10},
    "null": {"type": "null"},
    "several types": {"type": ["string", "null", "integer"]},
    "nullable": {"type": "integer", "nullable": True},
    "implied object": {"required": ["a"], "properties": {"a": {"type": "integer"}}},
    "implied array": {"items": {"type": "integer"}, "minItems": 1},
    "implied string": {"minLength": 3},
    "implied number": {"minimum": 3, "maximum": 4},
    "exclusive bounds": {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 3},
    "exclusive flags": {
        "type": "integer",
        "minimum": 1,
        "maximum": 3,
        "exclusiveMinimum": True,
        "exclusiveMaximum": True,
    },
    "float bounds of an integer": {"type": "integer", "minimum": 0.5, "maximum": 1.5},
    "two bounds on one side": {
        "type": "number",
        "minimum": 1,
        "exclusiveMinimum": 1,
        "maximum": 2,
        "exclusiveMaximum": 5,
    },
    "wide": {"type": "number", "minimum": -1.7e308, "maximum": 1.7e308},
    "one float": {"type": "number", "minimum": 0.5, "maximum": 0.5},
    "step": {"type": "number", "multipleOf": 0.25, "exclusiveMinimum": 0, "exclusiveMaximum": 0.75},
    "integer with a fractional step": {"type": "integer", "multipleOf": 1.5, "minimum": 1, "maximum": 10},
    "large step": {"type": "integer", "multipleOf": 10**6},
    "text": {"type": "string", "minLength": 5, "maxLength": 5},
    "format": {"type": "string", "format": "ipv6", "minLength": 20},
    "unknown format": {"type": "string", "format": "haiku"},
    "pattern with length": {"type": "string", "pattern": "^a+$", "minLength": 30, "maxLength": 30},
    "json text": {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"type": "integer"},
    },
    "tuple": {"prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False, "minItems": 2},
    "open tuple": {"type": "array", "prefixItems": [{"const": 1}], "items": {"const": 2}, "maxItems": 3},
    "unique": {"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True, "minItems": 3},
    "unique beyond what there is": {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True},
    "contains": {"type": "array", "contains": {"const": 7}, "items": {"type": "integer"}},
    "contains several": {"type": "array", "contains": {"const": 7}, "minContains": 2, "maxContains": 2},
    "array of anything": {"type": "array"},
    "empty array": {"type": "array", "items": False},
    "dictionary": {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2},
    "named keys": {
        "type": "object",
        "propertyNames": {"pattern": "^k[0-9]$"},
        "additionalProperties": {},
        "minProperties": 3,
    },
    "key patterns": {
        "type": "object",
        "patternProperties": {"^n_": {"type": "integer"}},
        "minProperties": 1,
        "additionalProperties": False,
    },
    "required beyond properties": {
        "type": "object",
        "required": ["a"],
        "additionalProperties": {"type": "boolean"},
    },
    "required by pattern": {
        "type": "object",
        "required": ["n_1"],
        "patternProperties": {"^n_": {"const": 1}},
    },
    "at least": {
        "type": "object",
        "properties": {"a": {"const": 1}, "b": {"type": "null"}},
        "minProperties": 2,
    },
    "at most": {"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}}, "maxProperties": 1},
    "free object that is not empty": {"type": "object", "minProperties": 2},
    "one of": {"oneOf": [{"type": "integer", "multipleOf": 2}, {"type": "integer", "multipleOf": 3}]},
    "any of with siblings": {"anyOf": [{"minimum": 5}, {"maximum": -5}], "type": "integer", "multipleOf": 5},
    "any of twice": {
        "allOf": [{"anyOf": [{"const": 1}, {"const": 2}]}, {"anyOf": [{"const": 2}, {"const": 3}]}]
    },
    "all of": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"a": {"minimum": 5}, "b": True}, "required": ["b"]},
            {"properties": {"a": {"maximum": 6}}},
        ]
    },
    "all of numbers": {"allOf": [{"type": "number", "multipleOf": 4}, {"type": "integer", "multipleOf": 6}]},
    "all of arrays": {
        "type": "array",
        "allOf": [
            {"prefixItems": [{"type": "integer"}], "items": {"type": "string"}},
            {"prefixItems": [{"minimum": 1}, {"minLength": 1}], "uniqueItems": True, "minItems": 3},
        ],
    },
    "not": {"type": "integer", "minimum": 0, "maximum": 3, "not": {"const": 2}},
    "neither": {"allOf": [{"enum": [1, 2, 3]}, {"not": {"const": 1}}, {"not": {"const": 2}}]},
    "if then": {
        "type": "object",
        "properties": {"kind": {"enum": ["a", "b"]}, "n": {"type": "integer", "minimum": 0, "maximum": 3}},
        "required": ["kind"],
        "if": {"properties": {"kind": {"const": "a"}}},
        "then": {"required": ["n"]},
        "else": {"not": {"required": ["n"]}},
    },
    "dependent": {
        "type": "object",
        "properties": {"a": {"type": "null"}, "b": {"type": "null"}, "c": {"type": "null"}},
        "dependentRequired": {"a": ["b"]},
        "dependentSchemas": {"b": {"required": ["c"]}},
    },
    "reference with siblings": {
        "$ref": "#/$defs/n",
        "maximum": 2,
        "$defs": {"n": {"type": "integer", "minimum": 1}},
    },
    "reference into a list": {"anyOf": [{"const": 1}], "properties": {"a~/b": {"$ref": "#/anyOf/0"}}},
    "escaped reference": {"$ref": "#/$defs/a~1~0b", "$defs": {"a/~b": {"const": 5}}},
    "recursive": {
        "$ref": "#/$defs/tree",
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {
                    "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
                    "next": {"$ref": "#/$defs/tree"},
                },
                "required": ["kids"],
            }
        },
    },
    "recursive through a choice": {
        "$ref": "#/$defs/expr",
        "$defs": {
            "expr": {"oneOf": [{"$ref": "#/$defs/sum"}, {"type": "integer"}]},
            "sum": {
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/expr"}, "b": {"$ref": "#/$defs/expr"}},
                "required": ["a", "b"],
                "additionalProperties": False,
            },
        },
    },
    "endless optional": {
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/endless"}, "y": False},
        "$defs": {
            "endless": {"type": "object", "properties": {"x": {"$ref": "#/$defs/endless"}}, "required": ["x"]}
        },
    },
    "whole document": {"type": "object", "properties": {"inner": {"$ref": "#"}}},
}

IMPOSSIBLE = {
    "nothing": (False, "", "no finite value"),
    "empty interval": ({"type": "number", "minimum": 2, "maximum": 1}, "", "no number in [2, 1]"),
    "empty open interval": (
        {"type": "number", "minimum": 1, "exclusiveMaximum": 1},
        "",
        "no number in [1, 1)",
    ),
    "no multiple": ({"type": "integer", "minimum": 1, "maximum": 2, "multipleOf": 3}, "", "multiple of 3"),
    "no length": ({"type": "string", "minLength": 2, "maxLength": 1}, "", "at least 2"),
    "no pattern": (
        {"type": "object", "properties": {"s": {"type": "string", "pattern": r"\p{L}"}}, "required": ["s"]},
        "s",
        "Python cannot read",
    ),
    "pattern too long": (
        {"type": "array", "items": {"type": "string", "pattern": "^a{5}$", "maxLength": 3}, "minItems": 1},
        "0",
        "no string was found",
    ),
    "format too long": ({"type": "string", "format": "uuid", "maxLength": 3}, "", "no uuid"),
    "too few different": (
        {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 3},
        "",
        "different",
    ),
    "no common type": ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "", "no finite value"),
    "no common value": ({"allOf": [{"enum": [1]}, {"enum": [2]}]}, "", "no finite value"),
    "allOf with nothing": ({"allOf": [True, False]}, "", "no finite value"),
    "enum outside": ({"enum": [1], "minimum": 2}, "", "listed"),
    "no alternative": ({"anyOf": [False, {"$ref": "#/$defs/x"}], "$defs": {"x": False}}, "", "alternative"),
    "contradiction": ({"type": "integer", "not": {}}, "", "none of 50"),
    "required but never": (
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        "a",
        "no finite value",
    ),
    "other document": ({"$ref": "other.json"}, "", "another document"),
    "dangling": ({"$ref": "#/$defs/x"}, "", "not in it"),
    "circle": ({"$ref": "#"}, "", "circle"),
}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_what_is_drawn_conforms(schema):
    drawer = Drawer(schema, random.Random(0))
    for _ in range(60):
        value = drawer.draw()
        assert conforms(value, schema), value


@pytest.mark.parametrize(("schema", "field", "message"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_cannot_be_drawn_is_a_typed_error_with_its_field(schema, field, message):
    with pytest.raises(SamplingError) as caught:
        Drawer(schema, random.Random(0)).draw()
    assert caught.value.field == field
    assert message in str(caught.value)


def test_an_endless_required_field_is_named():
    schema = SCHEMAS["endless optional"] | {"required": ["x"]}
    with pytest.raises(SamplingError, match=r"^x\.x\..*no finite value"):
        Drawer(schema, random.Random(0)).draw()


def drawn(name, count=200):
    drawer = Drawer(SCHEMAS[name], random.Random(0))
    return [drawer.draw() for _ in range(count)]


def test_draws_reach_the_edges_and_the_middle():
    assert {value % 6 for value in drawn("one of")} == {2, 3, 4}
    assert set(drawn("exclusive bounds")) == {2}
    assert set(drawn("integer with a fractional step")) == {3, 6, 9}
    assert set(drawn("step")) == {0.25, 0.5}
    assert set(drawn("neither")) == {3}
    assert set(drawn("any of twice")) == {2}
    assert {type(value) for value in drawn("several types")} == {str, int, type(None)}
    assert None in drawn("nullable")
    assert {len(value) for value in drawn("at most")} == {1}


def test_recursive_values_have_different_depths():
    def depth(value):
        return 1 + max(map(depth, value.values())) if isinstance(value, dict) else 0

    depths = {depth(value) for value in drawn("recursive through a choice")}
    assert {0, 1, 2} <= depths
    assert max(depths) <= 6
