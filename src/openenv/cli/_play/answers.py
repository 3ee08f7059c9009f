"""What a typed line means for a field of a schema.

Only what helps a person to answer is checked here; the environment validates the action itself.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from openenv.cli._play.schema import Schema, kind_of, resolve

_TRUE = {"y", "yes", "true", "1", "on"}
_FALSE = {"n", "no", "false", "0", "off"}


class NotUnderstoodError(ValueError):
    """What was typed does not fit the field; the text says what does."""


def parse(text: str, schema: Schema, root: Schema) -> Any:
    """The value that `text` means for a field of this schema.

    Raises:
        NotUnderstoodError: it means none; the error says what would.
    """
    kind = kind_of(schema)
    if kind == "enum":
        return _parse_enum(text, schema["enum"])
    if kind == "boolean":
        word = text.strip().lower()
        if word in _TRUE | _FALSE:
            return word in _TRUE
        raise NotUnderstoodError("answer y or n")
    if kind in ("integer", "number"):
        return _parse_number(text, schema, kind)
    if kind == "string":
        return _parse_text(text, schema)
    if kind == "array":
        return _parse_list(text, schema, root)
    if kind == "object":
        return _parse_object(text)
    return _json_or_text(text)


def _parse_enum(text: str, values: list[Any]) -> Any:
    word = text.strip()
    exact = [value for value in values if str(value) == word or json.dumps(value) == word]
    if exact:
        return exact[0]
    starting = [value for value in values if str(value).lower().startswith(word.lower())] if word else []
    if len(starting) == 1:
        return starting[0]
    raise NotUnderstoodError("one of " + ", ".join(str(value) for value in values))


def _parse_number(text: str, schema: Schema, kind: str) -> int | float:
    try:
        value: int | float = int(text) if kind == "integer" else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise NotUnderstoodError(f"{'a whole number' if kind == 'integer' else 'a number'} is needed")
    checks = (
        ("minimum", value.__ge__, "at least"),
        ("maximum", value.__le__, "at most"),
        ("exclusiveMinimum", value.__gt__, "above"),
        ("exclusiveMaximum", value.__lt__, "below"),
    )
    for key, holds, words in checks:
        bound = schema.get(key)
        if bound is not None and holds(bound) is False:
            raise NotUnderstoodError(f"it must be {words} {bound}")
    return value


def _parse_text(text: str, schema: Schema) -> str:
    if len(text) < schema.get("minLength", 0):
        raise NotUnderstoodError(f"at least {schema['minLength']} characters are needed")
    if len(text) > schema.get("maxLength", len(text)):
        raise NotUnderstoodError(f"at most {schema['maxLength']} characters are allowed")
    pattern = schema.get("pattern")
    try:
        fits = pattern is None or re.search(pattern, text) is not None
    except re.error:  # a pattern of another dialect: the environment will judge
        fits = True
    if not fits:
        raise NotUnderstoodError(f"it must look like {pattern}")
    return text


def _parse_list(text: str, schema: Schema, root: Schema) -> list[Any]:
    if text.lstrip().startswith("["):
        value = _json(text)
        if not isinstance(value, list):
            raise NotUnderstoodError("a JSON list is needed")
        return value
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    places = [resolve(item, root) for item in schema.get("prefixItems", ())]
    rest = resolve(schema.get("items") or {}, root)
    return [
        parse(part, places[index] if index < len(places) else rest, root) for index, part in enumerate(parts)
    ]


def _parse_object(text: str) -> dict[str, Any]:
    value = _json(text)
    if not isinstance(value, dict):
        raise NotUnderstoodError("a JSON object is needed, like {}")
    return value


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise NotUnderstoodError(f"not JSON: {error.msg} at column {error.colno}") from None


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
