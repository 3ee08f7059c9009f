"""Numbers within the bounds of a schema."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from openenv.spaces.infeasible import InfeasibleError

_SPAN = 100
"""Width of the range of a number that has no bound on one side, or on both."""
_SHORT = 0.5
"""Share of drawn floats that are rounded to two decimals where that fits."""
_EDGE = 0.1
"""Share of draws that take a bound itself: edges are where environments break."""


class Bounds:
    """The interval and step that a numeric schema asks for.

    Exclusive bounds may be numbers (draft 6 on) or flags beside `minimum` and `maximum` (OpenAPI 3.0).
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.low, self.low_open = _tighter(schema, "minimum", "exclusiveMinimum", max)
        self.high, self.high_open = _tighter(schema, "maximum", "exclusiveMaximum", min)
        step = schema.get("multipleOf")
        self.step = None if step is None else Fraction(str(step))


def _tighter(schema: Mapping[str, Any], closed: str, opened: str, pick: Any) -> tuple[float | None, bool]:
    bound, limit = schema.get(closed), schema.get(opened)
    if isinstance(limit, bool):
        return bound, limit and bound is not None
    if limit is None:
        return bound, False
    if bound is None or (bound == limit) or pick(bound, limit) == limit:
        return limit, True
    return bound, False


def draw_integer(schema: Mapping[str, Any], rng: random.Random) -> int:
    """Return an integer that the schema admits.

    Raises:
        InfeasibleError: there is none.
    """
    bounds = Bounds(schema)
    step = 1 if bounds.step is None else bounds.step.numerator
    return _multiple(bounds, Fraction(step), rng).numerator


def draw_number(schema: Mapping[str, Any], rng: random.Random) -> float:
    """Return a finite float that the schema admits.

    Raises:
        InfeasibleError: there is none.
    """
    bounds = Bounds(schema)
    if bounds.step is not None:
        return float(_multiple(bounds, bounds.step, rng))
    low, high = map(float, _window(bounds.low, bounds.high, Fraction(1)))
    if bounds.low_open:
        low = math.nextafter(low, math.inf)
    if bounds.high_open:
        high = math.nextafter(high, -math.inf)
    if low > high:
        raise InfeasibleError(_nothing(bounds))
    edges = [low] * (bounds.low is not None and not bounds.low_open)
    edges += [high] * (bounds.high is not None and not bounds.high_open)
    if edges and rng.random() < _EDGE:
        return rng.choice(edges)
    share = rng.random()
    drawn = low * (1 - share) + high * share
    if rng.random() < _SHORT and low <= round(drawn, 2) <= high:
        drawn = round(drawn, 2)
    return min(high, max(low, drawn))


def _multiple(bounds: Bounds, step: Fraction, rng: random.Random) -> Fraction:
    low, high = _window(bounds.low, bounds.high, step)
    first, last = math.ceil(low / step), math.floor(high / step)
    if bounds.low_open and first * step == low:
        first += 1
    if bounds.high_open and last * step == high:
        last -= 1
    if first > last:
        raise InfeasibleError(_nothing(bounds))
    if rng.random() < _EDGE:
        return rng.choice([first, last]) * step
    return rng.randint(first, last) * step


def _window(low: float | None, high: float | None, step: Fraction) -> tuple[Fraction, Fraction]:
    """Return both bounds as the decimals they are written as, a missing one at a moderate distance."""
    span = max(Fraction(_SPAN), 10 * step)
    if low is None:
        top = span if high is None else Fraction(str(high))
        return (-span if high is None else top - span), top
    bottom = Fraction(str(low))
    return bottom, (bottom + span if high is None else Fraction(str(high)))


def _nothing(bounds: Bounds) -> str:
    left, right = "(" if bounds.low_open else "[", ")" if bounds.high_open else "]"
    step = "" if bounds.step is None else f" that is a multiple of {bounds.step}"
    return f"there is no number in {left}{bounds.low}, {bounds.high}{right}{step}"
