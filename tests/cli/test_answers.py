from typing import Any

import pytest

from openenv.cli._play.answers import NotUnderstoodError, parse


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("5", {"type": "integer"}, 5),
        ("-3", {"type": "integer", "minimum": -3}, -3),
        ("1e3", {"type": "number"}, 1000.0),
        ("0.5", {"type": "number", "exclusiveMaximum": 1}, 0.5),
        ("y", {"type": "boolean"}, True),
        ("No", {"type": "boolean"}, False),
        ("up", {"enum": ["up", "down"]}, "up"),
        ("d", {"enum": ["up", "down"]}, "down"),
        ("2", {"enum": [1, 2]}, 2),
        ("null", {"enum": ["x", None]}, None),
        ("free text", {"type": "string"}, "free text"),
        ("ab12", {"type": "string", "pattern": "^[a-z]+[0-9]+$"}, "ab12"),
        ("x", {"type": "string", "pattern": "(?<bad"}, "x"),
        ("1, 2,3", {"type": "array", "items": {"type": "integer"}}, [1, 2, 3]),
        ("", {"type": "array", "items": {"type": "integer"}}, []),
        ("[1, 2]", {"type": "array", "items": {"type": "integer"}}, [1, 2]),
        ("3, up", {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]}, [3, "up"]),
        ("1,2", {"type": "array", "items": {"$ref": "#/$defs/N"}}, [1, 2]),
        ('{"a": 1}', {"type": "object"}, {"a": 1}),
        ("[1]", {}, [1]),
        ("word", {}, "word"),
        ("7", {"type": ["integer", "null"]}, 7),
    ],
)
def test_what_a_line_means(text: str, schema: dict[str, Any], value: Any) -> None:
    root = {"$defs": {"N": {"type": "integer"}}}
    found = parse(text, schema, root)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "schema", "why"),
    [
        ("five", {"type": "integer"}, "a whole number"),
        ("1.5", {"type": "integer"}, "a whole number"),
        ("nan", {"type": "number"}, "a number"),
        ("inf", {"type": "number"}, "a number"),
        ("0", {"type": "integer", "minimum": 1}, "at least 1"),
        ("101", {"type": "integer", "maximum": 100}, "at most 100"),
        ("1", {"type": "number", "exclusiveMinimum": 1}, "above 1"),
        ("1", {"type": "number", "exclusiveMaximum": 1}, "below 1"),
        ("maybe", {"type": "boolean"}, "y or n"),
        ("left", {"enum": ["up", "down"]}, "one of up, down"),
        ("", {"enum": ["up"]}, "one of up"),
        ("", {"type": "string", "minLength": 2}, "at least 2"),
        ("abc", {"type": "string", "maxLength": 2}, "at most 2"),
        ("12", {"type": "string", "pattern": "^[a-z]+$"}, "must look like"),
        ("1,x", {"type": "array", "items": {"type": "integer"}}, "a whole number"),
        ("[1", {"type": "array"}, "not JSON"),
        ("[1]", {"type": "object"}, "a JSON object"),
        ("{", {"type": "object"}, "column 2"),
    ],
)
def test_what_a_line_does_not_mean(text: str, schema: dict[str, Any], why: str) -> None:
    with pytest.raises(NotUnderstoodError, match=why):
        parse(text, schema, {})
