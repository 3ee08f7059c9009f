"""Whether a value conforms to a JSON Schema (draft 2020-12, the keywords that describe actions)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

from openenv.spaces.formats import has_format
from openenv.spaces.merging import Schema, canonical
from openenv.spaces.schemas import Schemas

Place = tuple[str | int, ...]


class Problem(NamedTuple):
    """One way in which a value does not conform.

    Attributes:
        place: where in the value: keys and indices from the top.
        message: what was expected there.
    """

    place: Place
    message: str


def problems(value: Any, schema: Schema, schemas: Schemas | None = None) -> Iterator[Problem]:
    """Yield every way in which `value` does not conform to `schema`.

    Args:
        value: JSON-able data.
        schema: what it should conform to.
        schemas: the document that `schema` is a part of; `schema` itself by default.
    """
    return _Check(schemas or Schemas(schema)).value(value, schema, ())


def conforms(value: Any, schema: Schema, schemas: Schemas | None = None) -> bool:
    """Say whether `value` conforms to `schema`; see `problems`."""
    return next(problems(value, schema, schemas), None) is None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_IS: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and value == value // 1,
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "any": lambda _: True,
}


class _Check:
    """One check; the methods yield problems at a place."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas

    def value(self, value: Any, schema: Schema, place: Place) -> Iterator[Problem]:
        if isinstance(schema, bool):
            if not schema:
                yield Problem(place, "nothing is allowed here")
            return
        yield from self._type(value, schema, place)
        if "enum" in schema and canonical(value) not in map(canonical, schema["enum"]):
            yield Problem(place, f"must be one of {schema['enum']}")
        if "const" in schema and canonical(value) != canonical(schema["const"]):
            yield Problem(place, f"must be {schema['const']!r}")
        yield from self._combinations(value, schema, place)
        if _is_number(value):
            yield from _number(value, schema, place)
        elif isinstance(value, str):
            yield from _string(value, schema, place)
        elif isinstance(value, list):
            yield from self._array(value, schema, place)
        elif isinstance(value, dict):
            yield from self._object(value, schema, place)

    def _ok(self, value: Any, schema: Schema) -> bool:
        return next(self.value(value, schema, ()), None) is None

    def _type(self, value: Any, schema: Mapping[str, Any], place: Place) -> Iterator[Problem]:
        declared = schema.get("type")
        if declared is None or (value is None and schema.get("nullable")):
            return
        kinds = [declared] if isinstance(declared, str) else declared
        if not any(_IS[kind](value) for kind in kinds):
            yield Problem(place, f"must be {' or '.join(kinds)}")

    def _combinations(self, value: Any, schema: Mapping[str, Any], place: Place) -> Iterator[Problem]:
        if "$ref" in schema:
            yield from self.value(value, self._schemas.target(schema["$ref"]), place)
        for part in schema.get("allOf", ()):
            yield from self.value(value, part, place)
        if "anyOf" in schema and not any(self._ok(value, part) for part in schema["anyOf"]):
            yield Problem(place, "must fit one of the alternatives")
        if "oneOf" in schema and sum(self._ok(value, part) for part in schema["oneOf"]) != 1:
            yield Problem(place, "must fit exactly one of the alternatives")
        if "not" in schema and self._ok(value, schema["not"]):
            yield Problem(place, "must not be what `not` describes")
        if "if" in schema:
            chosen = "then" if self._ok(value, schema["if"]) else "else"
            yield from self.value(value, schema.get(chosen, True), place)

    def _array(self, value: list[Any], schema: Mapping[str, Any], place: Place) -> Iterator[Problem]:
        yield from _size(len(value), schema, "Items", place)
        head = schema.get("prefixItems", [])
        for index, item in enumerate(value):
            part = head[index] if index < len(head) else schema.get("items", True)
            yield from self.value(item, part, (*place, index))
        if schema.get("uniqueItems") and len(set(map(canonical, value))) < len(value):
            yield Problem(place, "must not hold the same item twice")
        if "contains" in schema:
            found = sum(self._ok(item, schema["contains"]) for item in value)
            if not schema.get("minContains", 1) <= found <= schema.get("maxContains", len(value)):
                yield Problem(place, "must hold the right number of items that `contains` describes")

    def _object(self, value: dict[str, Any], schema: Mapping[str, Any], place: Place) -> Iterator[Problem]:
        yield from _size(len(value), schema, "Properties", place)
        required = [*schema.get("required", ())]
        for name, others in schema.get("dependentRequired", {}).items():
            required += others if name in value else []
        for name in required:
            if name not in value:
                yield Problem((*place, name), "is required")
        for name, part in schema.get("dependentSchemas", {}).items():
            if name in value:
                yield from self.value(value, part, place)
        for name, inner in value.items():
            yield from self.value(name, schema.get("propertyNames", True), (*place, name))
            for part in parts_for(name, schema):
                yield from self.value(inner, part, (*place, name))


def parts_for(name: str, schema: Mapping[str, Any]) -> list[Schema]:
    """Return the schemas that apply to the property `name`."""
    parts = [
        part for pattern, part in schema.get("patternProperties", {}).items() if re.search(pattern, name)
    ]
    if name in schema.get("properties", {}):
        parts.append(schema["properties"][name])
    return parts or [schema.get("additionalProperties", True)]


def _size(size: int, schema: Mapping[str, Any], what: str, place: Place) -> Iterator[Problem]:
    if size < schema.get(f"min{what}", 0):
        yield Problem(place, f"must have at least {schema[f'min{what}']} {what.lower()}")
    if size > schema.get(f"max{what}", size):
        yield Problem(place, f"must have at most {schema[f'max{what}']} {what.lower()}")


def _string(value: str, schema: Mapping[str, Any], place: Place) -> Iterator[Problem]:
    yield from _size(len(value), schema, "Length", place)
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield Problem(place, f"must match {schema['pattern']!r}")
    if "format" in schema and not has_format(value, schema["format"]):
        yield Problem(place, f"must be a {schema['format']}")


def _number(value: float, schema: Mapping[str, Any], place: Place) -> Iterator[Problem]:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if above is True:
        low, above = None, low
    if below is True:
        high, below = None, high
    checks = (
        (low is not None and value < low, f"must be at least {low}"),
        (high is not None and value > high, f"must be at most {high}"),
        (isinstance(above, (int, float)) and value <= above, f"must be more than {above}"),
        (isinstance(below, (int, float)) and value >= below, f"must be less than {below}"),
        ("multipleOf" in schema and not _is_multiple(value, schema["multipleOf"]), "must be a multiple"),
    )
    yield from (Problem(place, message) for failed, message in checks if failed)


def _is_multiple(value: float, step: float) -> bool:
    return Fraction(str(value)) % Fraction(str(step)) == 0
