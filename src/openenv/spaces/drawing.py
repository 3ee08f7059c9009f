"""Random values that conform to a JSON Schema.

A value is built from the top: references and `allOf` are merged away, an alternative is chosen, then the
type's own keywords are obeyed. Keywords that can only be checked (`not`, `if`, "exactly one of" ...) are
met by drawing again. Recursion ends because below a certain depth, or once a value has become large,
every choice goes to the alternative that is nested least.
"""

from __future__ import annotations

import json
import math
import random
import string
from collections import Counter
from functools import reduce
from typing import Any

from openenv.errors import SamplingError
from openenv.spaces.formats import DRAW, word
from openenv.spaces.infeasible import InfeasibleError
from openenv.spaces.merging import Flat, Schema, canonical
from openenv.spaces.numbers import draw_integer, draw_number
from openenv.spaces.patterns import PatternText
from openenv.spaces.schemas import Schemas, types_of
from openenv.spaces.validation import Place, conforms, parts_for

_DEPTH = 4
"""Nesting from which on only the least nested alternatives are taken."""
_NODES = 200
"""Size of a value from which on the same holds."""
_ATTEMPTS = 50
_EXTRA = 3
"""Most items and keys beyond the least number."""
_TEXT = 12
"""Most characters beyond the least number."""
_NUMBER = 100
_LETTERS = string.ascii_letters + string.digits
_UNUSUAL = "àéßñøΩжあ字🙂"
_STRING: Flat = {"type": "string"}
_SIMPLE: Flat = {"type": ["string", "integer", "boolean"]}
_CHECKED = ("not", "if", "oneOf", "contains", "dependentRequired", "dependentSchemas", "propertyNames")


class Drawer:
    """Draws values that conform to one schema.

    Args:
        schema: the whole document.
        rng: where all choices come from.
    """

    def __init__(self, schema: Schema, rng: random.Random) -> None:
        self._schemas = Schemas(schema)
        self._rng = rng
        self._patterns: dict[str, PatternText] = {}
        self._listed: dict[int, list[Any]] = {}
        self._nodes = 0
        self._taken: list[tuple[Place, tuple[int, int]]] = []
        self._refused: Counter[tuple[int, int]] = Counter()

    def draw(self) -> Any:
        """Return a value.

        Raises:
            SamplingError: none can be built; it names the field.
        """
        self._nodes = 0
        self._taken = []
        return self._value(self._schemas.root, ())

    def accept(self) -> None:
        """Take note that the last value was accepted, whatever was held against its alternatives before."""
        for _, choice in self._taken:
            self._refused[choice] //= 2

    def refuse(self, place: Place) -> None:
        """Take note that the last value was refused at `place` by a rule that the schema does not tell.

        The alternatives chosen there become less likely in later draws.
        """
        inside = [(at, choice) for at, choice in self._taken if at == place[: len(at)]]
        deepest = max((len(at) for at, _ in inside), default=0)
        self._refused.update(choice for at, choice in inside if len(at) == deepest)

    def _value(self, schema: Schema, place: Place) -> Any:
        flat = self._schemas.flat(schema)
        if flat is None or (len(place) > 4 * _DEPTH and math.isinf(self._schemas.cost(schema))):
            raise _impossible("no finite value fits the schema", place)
        for _ in range(_ATTEMPTS):
            value = self._unchecked(flat, place)
            if not any(keyword in flat for keyword in _CHECKED) or conforms(value, flat, self._schemas):
                return value
        raise _impossible(f"none of {_ATTEMPTS} drawn values fits the schema", place)

    def _unchecked(self, flat: Flat, place: Place) -> Any:
        self._nodes += 1
        fixed = self._fixed(flat)
        if fixed is not None:
            if not fixed:
                raise _impossible("no listed value fits the rest of the schema", place)
            return self._rng.choice(fixed)
        for keyword in ("anyOf", "oneOf"):
            if keyword in flat:
                return self._alternative(flat, keyword, place)
        kinds = types_of(flat)
        if self._lean(place) and len(kinds) > 1:
            kinds = [kind for kind in kinds if kind not in ("object", "array")] or kinds
        return self._of_type(self._rng.choice(kinds), flat, place)

    def _fixed(self, flat: Flat) -> list[Any] | None:
        """Return the values that `const` or `enum` leave, None if there is neither."""
        if "const" not in flat and "enum" not in flat:
            return None
        known = self._listed.get(id(flat))
        if known is None:
            listed = [flat["const"]] if "const" in flat else flat["enum"]
            known = [value for value in listed if conforms(value, flat, self._schemas)]
            self._listed[id(flat)] = known
        return known

    def _alternative(self, flat: Flat, keyword: str, place: Place) -> Any:
        branches = flat[keyword]
        costs = [self._schemas.cost(branch) for branch in branches]
        limit = min(costs) if self._lean(place) else math.inf
        open_ones = {
            index: merged
            for index, cost in enumerate(costs)
            if cost < math.inf
            and cost <= limit
            and (merged := self._schemas.branch(flat, keyword, index)) is not None
            and self._fixed(merged) != []
        }
        if not open_ones:
            raise _impossible("no alternative admits a finite value", place)
        return self._unchecked(open_ones[self._choose(list(open_ones), id(branches), place)], place)

    def _choose(self, options: list[int], owner: int, place: Place) -> int:
        """Return one of the numbered options of `owner`, rarely one that was refused before."""
        weights = [1 / (1 + 4 * self._refused[owner, option]) for option in options]
        chosen = self._rng.choices(options, weights)[0]
        self._taken.append((place, (owner, chosen)))
        return chosen

    def _of_type(self, kind: str, flat: Flat, place: Place) -> Any:
        try:
            if kind == "object":
                return self._object(flat, place)
            if kind == "array":
                return self._array(flat, place)
            if kind == "string":
                return self._string(flat, place)
            if kind == "integer":
                return draw_integer(flat, self._rng)
            if kind == "number":
                return draw_number(flat, self._rng)
            if kind == "boolean":
                return self._rng.random() < 0.5
            if kind == "null":
                return None
        except InfeasibleError as error:
            raise _impossible(str(error), place) from error
        return self._anything()

    def _anything(self) -> Any:
        kind = self._rng.choice(("string", "integer", "number", "boolean", "null"))
        return self._of_type(kind, {}, ())

    def _lean(self, place: Place) -> bool:
        return len(place) >= _DEPTH or self._nodes > _NODES

    def _object(self, flat: Flat, place: Place) -> dict[str, Any]:
        least, most = flat.get("minProperties", 0), flat.get("maxProperties", math.inf)
        names = dict.fromkeys(flat.get("required", ()))
        spare = [name for name in flat.get("properties", {}) if name not in names]
        spare = [name for name in spare if self._possible(self._schema_of(name, flat))]
        for name in spare:
            if len(names) < most and self._is_wanted(self._schema_of(name, flat), place):
                names[name] = None
        for name in self._extra_names(flat, place):
            if len(names) < most:
                names[name] = None
        for name in spare:
            if len(names) < least:
                names[name] = None
        for _ in range(_ATTEMPTS * least):
            if len(names) < least:
                names[self._extra_name(flat, place)] = None
        return {name: self._value(self._schema_of(name, flat), (*place, name)) for name in names}

    def _schema_of(self, name: str, flat: Flat) -> Schema:
        return reduce(self._schemas.together, parts_for(name, flat))

    def _possible(self, schema: Schema) -> bool:
        return self._schemas.cost(schema) < math.inf and self._schemas.flat(schema) is not None

    def _is_wanted(self, schema: Schema, place: Place) -> bool:
        """Say whether to draw an optional property: constants always, others by chance.

        What takes just anything (free-form metadata) is left out.
        """
        flat = self._schemas.flat(schema) or {}
        if "const" in flat:
            return True
        if self._lean(place) or self._rng.random() < 0.5:
            return False
        kinds = types_of(flat)
        if any(keyword in flat for keyword in ("anyOf", "oneOf", "enum")) or kinds not in (
            ["any"],
            ["object"],
        ):
            return True
        return bool(flat.get("properties")) or flat.get("additionalProperties", True) is not True

    def _extra_names(self, flat: Flat, place: Place) -> list[str]:
        """Return a few names beyond the declared ones, if values of a certain kind are allowed there."""
        typed = isinstance(flat.get("additionalProperties"), dict) or "patternProperties" in flat
        if not typed or self._lean(place):
            return []
        names = [self._extra_name(flat, place) for _ in range(self._rng.randrange(_EXTRA + 1))]
        return [name for name in names if self._possible(self._schema_of(name, flat))]

    def _extra_name(self, flat: Flat, place: Place) -> str:
        if "propertyNames" in flat:
            return str(self._value(self._schemas.together(_STRING, flat["propertyNames"]), place))
        if flat.get("patternProperties"):
            return self._matching(self._rng.choice(list(flat["patternProperties"])), {})
        numbers = self._choose([0, 1], id(flat), place)
        return str(self._rng.randrange(_NUMBER)) if numbers else word(self._rng)

    def _array(self, flat: Flat, place: Place) -> list[Any]:
        head: list[Schema] = flat.get("prefixItems", [])
        rest: Schema = flat.get("items", True)
        least, most = flat.get("minItems", 0), flat.get("maxItems", math.inf)
        if not head and not least and "items" not in flat and "contains" not in flat:
            rest = _SIMPLE
        length = max(least, 0 if self._lean(place) else len(head), "contains" in flat)
        if not self._lean(place) and self._possible(rest):
            length += self._rng.randrange(_EXTRA + 1)
        length = int(min(length, most, math.inf if self._possible(rest) else len(head)))
        items: list[Any] = []
        for index in range(length):
            schema = head[index] if index < len(head) else rest
            added = self._append(items, schema, bool(flat.get("uniqueItems")), (*place, index))
            if not added and index < least:
                raise _impossible(f"fewer than {least} different items were found", place)
        self._contain(items, head, flat, place)
        return items

    def _append(self, items: list[Any], schema: Schema, unique: bool, place: Place) -> bool:
        known = set(map(canonical, items)) if unique else set()
        for _ in range(_ATTEMPTS):
            item = self._value(schema, place)
            if canonical(item) not in known:
                items.append(item)
                return True
        return False

    def _contain(self, items: list[Any], head: list[Schema], flat: Flat, place: Place) -> None:
        """Replace items behind the prefix by such that `contains` asks for."""
        if "contains" not in flat:
            return
        rest = flat.get("items", True)
        wanted = self._schemas.together(rest, flat["contains"])
        fewest = flat.get("minContains", 1)
        while len(items) < len(head) + fewest and len(items) < flat.get("maxItems", math.inf):
            items.append(None)
        for index in range(max(len(head), len(items) - fewest), len(items)):
            items[index] = self._value(wanted, (*place, index))

    def _string(self, flat: Flat, place: Place) -> str:
        if flat.get("contentMediaType") == "application/json":
            return json.dumps(self._value(flat.get("contentSchema", {}), place))
        if "pattern" in flat:
            return self._matching(flat["pattern"], flat)
        least, most = flat.get("minLength", 0), flat.get("maxLength", math.inf)
        if flat.get("format") in DRAW:
            for _ in range(_ATTEMPTS):
                text = DRAW[flat["format"]](self._rng)
                if least <= len(text) <= most:
                    return text
            raise InfeasibleError(f"no {flat['format']} was found with {least} to {most} characters")
        if least > most:
            raise InfeasibleError(f"no text has at least {least} and at most {most} characters")
        return self._text(self._rng.randint(least, int(min(most, least + _TEXT))))

    def _text(self, length: int) -> str:
        """Return letters and digits, inside also blanks and now and then a character beyond ASCII."""
        characters = self._rng.choices(_LETTERS, k=length)
        for index in range(1, length - 1):
            if self._rng.random() < 0.1:
                characters[index] = self._rng.choice("    -_.,'" + _UNUSUAL)
        return "".join(characters)

    def _matching(self, pattern: str, flat: Flat) -> str:
        known = self._patterns.get(pattern)
        if known is None:
            known = self._patterns[pattern] = PatternText(pattern)
        return known.draw(self._rng, flat.get("minLength", 0), flat.get("maxLength"))


def _impossible(message: str, place: Place) -> SamplingError:
    field = ".".join(map(str, place))
    return SamplingError(f"{f'{field}: ' if field else ''}{message}", field=field)
