"""The checker of JSON Schema."""

import pytest

from openenv.spaces import Problem, conforms, problems
from openenv.spaces.formats import DRAW, has_format

CASES = [
    (True, 1, True),
    (False, 1, False),
    ({"type": "integer"}, 1.0, True),
    ({"type": "integer"}, 1.5, False),
    ({"type": "integer"}, True, False),
    ({"type": "number"}, True, False),
    ({"type": "boolean"}, 1, False),
    ({"type": ["string", "null"]}, None, True),
    ({"type": "array"}, {}, False),
    ({"type": "object"}, [], False),
    ({"type": "string", "nullable": True}, None, True),
    ({"enum": [1, "a"]}, True, False),
    ({"enum": [1, "a"]}, 1.0, True),
    ({"const": {"a": [1.0]}}, {"a": [1]}, True),
    ({"const": None}, 0, False),
    ({"minimum": 1}, 1, True),
    ({"minimum": 1}, 0.5, False),
    ({"maximum": 1}, 2, False),
    ({"exclusiveMinimum": 1}, 1, False),
    ({"exclusiveMaximum": 1}, 1, False),
    ({"minimum": 1, "exclusiveMinimum": True}, 1, False),
    ({"maximum": 1, "exclusiveMaximum": True}, 1, False),
    ({"multipleOf": 0.1}, 0.3, True),
    ({"multipleOf": 2}, 3, False),
    ({"minimum": 1}, "text", True),
    ({"minLength": 2}, "字字", True),
    ({"minLength": 3}, "字字", False),
    ({"maxLength": 1}, "ab", False),
    ({"pattern": "b"}, "abc", True),
    ({"pattern": "^b"}, "abc", False),
    ({"format": "date"}, "2024-02-30", False),
    ({"format": "unknown"}, "x", True),
    ({"items": {"type": "integer"}}, [1, "a"], False),
    ({"prefixItems": [{"const": 1}], "items": False}, [1], True),
    ({"prefixItems": [{"const": 1}], "items": False}, [1, 2], False),
    ({"prefixItems": [{"const": 1}]}, [1, 2], True),
    ({"minItems": 1}, [], False),
    ({"maxItems": 1}, [1, 2], False),
    ({"uniqueItems": True}, [1, True], True),
    ({"uniqueItems": True}, [{"a": 1}, {"a": 1.0}], False),
    ({"contains": {"const": 1}}, [2, 1], True),
    ({"contains": {"const": 1}}, [2], False),
    ({"contains": {"const": 1}, "minContains": 0}, [2], True),
    ({"contains": {"const": 1}, "maxContains": 1}, [1, 1], False),
    ({"required": ["a"]}, {"a": None}, True),
    ({"required": ["a"]}, {}, False),
    ({"properties": {"a": {"const": 1}}}, {"a": 2}, False),
    ({"properties": {"a": True}, "additionalProperties": False}, {"b": 1}, False),
    ({"patternProperties": {"^a": {"const": 1}}, "additionalProperties": False}, {"ab": 1}, True),
    ({"patternProperties": {"^a": {"const": 1}}}, {"ab": 2}, False),
    ({"additionalProperties": {"type": "integer"}}, {"a": "x"}, False),
    ({"propertyNames": {"maxLength": 1}}, {"ab": 1}, False),
    ({"minProperties": 1}, {}, False),
    ({"maxProperties": 0}, {"a": 1}, False),
    ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, False),
    ({"dependentRequired": {"a": ["b"]}}, {"c": 1}, True),
    ({"dependentSchemas": {"a": {"required": ["b"]}}}, {"a": 1}, False),
    ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, 3, False),
    ({"anyOf": [{"const": 1}, {"const": 2}]}, 2, True),
    ({"anyOf": [{"const": 1}, {"const": 2}]}, 3, False),
    ({"oneOf": [{"minimum": 1}, {"maximum": 2}]}, 1, False),
    ({"oneOf": [{"minimum": 1}, {"maximum": 2}]}, 3, True),
    ({"not": {"const": 1}}, 1, False),
    ({"if": {"const": 1}, "then": False}, 1, False),
    ({"if": {"const": 1}, "then": False}, 2, True),
    ({"if": {"const": 1}, "else": False}, 2, False),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"const": 1}}}, 1, True),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"const": 1}}}, 2, False),
]


@pytest.mark.parametrize(("schema", "value", "expected"), CASES)
def test_conformance(schema, value, expected):
    assert conforms(value, schema) is expected


def test_problems_name_their_place():
    schema = {
        "properties": {"moves": {"items": {"properties": {"dx": {"maximum": 1}}, "required": ["dx"]}}},
        "required": ["name"],
    }
    found = list(problems({"moves": [{"dx": 1}, {"dx": 2}, {}]}, schema))
    assert found == [
        Problem(("name",), "is required"),
        Problem(("moves", 1, "dx"), "must be at most 1"),
        Problem(("moves", 2, "dx"), "is required"),
    ]


@pytest.mark.parametrize("name", sorted(DRAW))
def test_drawn_formats_are_of_the_format(name):
    import random

    rng = random.Random(0)
    assert all(has_format(DRAW[name](rng), name) for _ in range(50))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("date", "tomorrow"),
        ("date-time", "2024-13-01T00:00:00Z"),
        ("time", "25:00"),
        ("email", "nobody"),
        ("uri", "no scheme"),
        ("uuid", "1234"),
        ("ipv4", "1.2.3"),
        ("ipv6", "1.2.3.4"),
    ],
)
def test_other_texts_are_not(name, text):
    assert not has_format(text, name)
