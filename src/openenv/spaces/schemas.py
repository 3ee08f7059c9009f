"""JSON Schemas read for drawing: references followed, `allOf` merged, recursion measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from openenv.errors import SamplingError
from openenv.spaces.merging import Flat, Schema, merge

_TYPE_HINTS = {
    "object": ("properties", "required", "additionalProperties", "patternProperties", "propertyNames"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"),
    "string": ("pattern", "minLength", "maxLength", "format", "contentMediaType"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}


class Schemas:
    """The schemas of one document.

    Args:
        root: the document; references are looked up in it.
    """

    def __init__(self, root: Schema) -> None:
        self.root = root
        self._flat: dict[int, tuple[Schema, Flat | None]] = {}
        self._together: dict[tuple[int, int], Schema] = {}
        self._branches: dict[tuple[int, str, int], Flat | None] = {}
        self._reference_costs: dict[str, float] = {}
        self._costs: dict[int, float] | None = None

    def flat(self, schema: Schema) -> Flat | None:
        """Return `schema` without `$ref` and `allOf`; None if it admits nothing.

        `anyOf` and `oneOf` stay: which branch to take is the reader's choice.
        """
        known = self._flat.get(id(schema))
        if known is None:
            known = self._flat[id(schema)] = (schema, self._flatten(schema, ()))
        return known[1]

    def branch(self, base: Flat, keyword: str, index: int) -> Flat | None:
        """Return branch `index` of the `anyOf` or `oneOf` of `base`, merged with the rest of `base`."""
        key = (id(base), keyword, index)
        if key not in self._branches:
            siblings = {name: value for name, value in base.items() if name != keyword}
            if "discriminator" in base:
                siblings = merge(siblings, {"required": [base["discriminator"]["propertyName"]]})
            self._branches[key] = self.flat({"allOf": [siblings, base[keyword][index]]})
        return self._branches[key]

    def together(self, first: Schema, second: Schema) -> Schema:
        """Return a schema that asks for both."""
        return self._together.setdefault((id(first), id(second)), {"allOf": [first, second]})

    def target(self, reference: str) -> Schema:
        """Return what a `$ref` points at.

        Raises:
            SamplingError: it points outside the document or at nothing.
        """
        if not reference.startswith("#"):
            raise SamplingError(f"the schema refers to another document: {reference!r}")
        found: Any = self.root
        for part in reference[1:].split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(key)] if isinstance(found, list) else found[key]
            except (KeyError, IndexError, ValueError, TypeError):
                raise SamplingError(f"the schema refers to {reference!r}, which is not in it") from None
        schema: Schema = found
        return schema

    def cost(self, schema: Schema) -> float:
        """Return how deeply the smallest value of `schema` is nested; infinite if it admits none.

        It is what bounds recursion: a step towards a lower cost is a step towards the end.
        """
        if self._costs is None:
            self._measure_references()
            self._costs = {}
        cost = self._costs.get(id(schema))
        if cost is None:
            cost = self._costs[id(schema)] = self._cost(schema)
        return cost

    def _flatten(self, schema: Schema, seen: tuple[str, ...]) -> Flat | None:
        if isinstance(schema, bool):
            return {} if schema else None
        parts: list[Schema] = list(schema.get("allOf", ()))
        if "$ref" in schema:
            if schema["$ref"] in seen:
                raise SamplingError(f"the schema refers to itself in a circle: {schema['$ref']!r}")
            parts.insert(0, self.target(schema["$ref"]))
            seen = (*seen, schema["$ref"])
        flat: Flat = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        for part in parts:
            inner = self._flatten(part, seen)
            if inner is None:
                return None
            flat = merge(flat, inner)
        return None if flat.get("type") == [] or flat.get("enum") == [] else flat

    def _measure_references(self) -> None:
        """Find the cost of every reference: start from infinite, lower until nothing changes."""
        self._reference_costs = dict.fromkeys(_references(self.root), math.inf)
        before: dict[str, float] = {}
        while before != self._reference_costs:
            before = dict(self._reference_costs)
            for reference in before:
                self._reference_costs[reference] = self._cost(self.target(reference))

    def _cost(self, schema: Schema) -> float:
        if isinstance(schema, bool):
            return 0 if schema else math.inf
        costs: list[float] = [self._cost(part) for part in schema.get("allOf", ())]
        if "$ref" in schema:
            costs.append(self._reference_costs[schema["$ref"]])
        costs += [
            min(map(self._cost, schema[keyword]), default=math.inf)
            for keyword in ("anyOf", "oneOf")
            if keyword in schema
        ]
        if "const" not in schema and "enum" not in schema:
            costs.append(self._own_cost(schema))
        return max(costs, default=0)

    def _own_cost(self, schema: Mapping[str, Any]) -> float:
        kinds = types_of(schema)
        if any(kind not in ("object", "array") for kind in kinds):
            return 0
        return min(
            self._object_cost(schema) if kind == "object" else self._array_cost(schema) for kind in kinds
        )

    def _object_cost(self, schema: Mapping[str, Any]) -> float:
        properties = schema.get("properties", {})
        extra = schema.get("additionalProperties", True)
        required = schema.get("required", ())
        return 1 + max((self._cost(properties.get(name, extra)) for name in required), default=0)

    def _array_cost(self, schema: Mapping[str, Any]) -> float:
        fewest = schema.get("minItems", 0)
        head = schema.get("prefixItems", [])
        needed = [*head[:fewest], *([schema.get("items", True)] if fewest > len(head) else [])]
        return 1 + max(map(self._cost, needed), default=0)


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _references(inner)


def types_of(schema: Mapping[str, Any]) -> list[str]:
    """Return the JSON types that `schema` allows, as it says or as its keywords suggest.

    An empty schema gives ``["any"]``.
    """
    declared = schema.get("type")
    if declared is None:
        kinds = [
            kind for kind, keywords in _TYPE_HINTS.items() if any(keyword in schema for keyword in keywords)
        ]
        return kinds[:1] or ["any"]
    kinds = list(declared) if isinstance(declared, list) else [declared]
    return [*kinds, "null"] if schema.get("nullable") and "null" not in kinds else kinds
