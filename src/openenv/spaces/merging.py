"""Two JSON Schemas into one that admits what both admit, as far as one flat schema can say it.

What it cannot say (two patterns at once) is dropped here and caught by the check of the drawn value.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import product, zip_longest
from typing import Any

Schema = Mapping[str, Any] | bool
Flat = dict[str, Any]


def canonical(value: Any) -> str:
    """Return a text that is equal for values that are equal in JSON Schema (1 is 1.0, true is not 1)."""
    return json.dumps(_canonical(value), sort_keys=True)


def _canonical(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_canonical(inner) for inner in value]
    if isinstance(value, dict):
        return {key: _canonical(inner) for key, inner in value.items()}
    return value


def merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> Flat:
    """Return a schema that admits what both admit; remarks such as titles come from `first`."""
    merged = dict(first)
    for keyword, value in second.items():
        if keyword not in merged:
            merged[keyword] = value
        elif keyword in _COMBINE and merged[keyword] != value:
            merged[keyword] = _COMBINE[keyword](merged[keyword], value)
    if "const" in first and "const" in second and canonical(first["const"]) != canonical(second["const"]):
        merged["enum"] = []
    return merged


def _both(first: Schema, second: Schema) -> Schema:
    if first is True or second is False:
        return second
    if second is True or first is False:
        return first
    return {"allOf": [first, second]}


def _both_by_name(first: Mapping[str, Schema], second: Mapping[str, Schema]) -> dict[str, Schema]:
    return {
        name: _both(first.get(name, True), second.get(name, True))
        for name in dict.fromkeys([*first, *second])
    }


def _both_by_place(first: list[Schema], second: list[Schema]) -> list[Schema]:
    return [_both(one, two) for one, two in zip_longest(first, second, fillvalue=True)]


def _either_pair(first: list[Schema], second: list[Schema]) -> list[Schema]:
    return [_both(one, two) for one, two in product(first, second)]


def _common_types(first: Any, second: Any) -> list[str]:
    ours, theirs = ([kinds] if isinstance(kinds, str) else kinds for kinds in (first, second))
    common = [kind for kind in ours if kind in theirs]
    if "integer" in (*ours, *theirs) and "integer" not in common:
        common += ["integer"] * ("number" in ours or "number" in theirs)
    return common


def _common_values(first: list[Any], second: list[Any]) -> list[Any]:
    known = set(map(canonical, second))
    return [value for value in first if canonical(value) in known]


def _least_common_multiple(first: float, second: float) -> float:
    one, two = Fraction(str(first)), Fraction(str(second))
    both = Fraction(math.lcm(one.numerator, two.numerator), math.gcd(one.denominator, two.denominator))
    return int(both) if both.denominator == 1 else float(both)


def _union(first: list[Any], second: list[Any]) -> list[Any]:
    return list(dict.fromkeys([*first, *second]))


def _neither(first: Schema, second: Schema) -> Schema:
    return {"anyOf": [first, second]}


_COMBINE: dict[str, Callable[[Any, Any], Any]] = {
    "type": _common_types,
    "enum": _common_values,
    "required": _union,
    "properties": _both_by_name,
    "patternProperties": _both_by_name,
    "additionalProperties": _both,
    "propertyNames": _both,
    "items": _both,
    "prefixItems": _both_by_place,
    "anyOf": _either_pair,
    "oneOf": _either_pair,
    "not": _neither,
    "multipleOf": _least_common_multiple,
    "uniqueItems": lambda first, second: first or second,
    "nullable": lambda first, second: first and second,
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
}
