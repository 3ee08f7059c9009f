"""Strings that match a regular expression.

Python's own parser gives the tree of the expression. A string is built from it for a chosen length:
each part of a sequence gets a share of the length that it can fill, a repetition a count that fits, an
alternation a branch that fits. What a tree cannot say by itself (look-around, word boundaries,
case-insensitive sets) is left to the check: every string is matched with `re` before it is handed out.
"""

from __future__ import annotations

import random
import re
import re._constants as op  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
import string
from collections.abc import Callable, Sequence
from typing import Any

from openenv.spaces.infeasible import InfeasibleError

_UNBOUNDED = 1 << 20
_SPREAD = 16
"""How much longer than necessary a string may get."""
_ATTEMPTS = 200
_PRINTABLE = [chr(code) for code in range(0x20, 0x7F)]
_WORD = frozenset(string.ascii_letters + string.digits + "_")
_SPACE = frozenset(string.whitespace)
_CATEGORIES: dict[Any, Callable[[str], bool]] = {
    op.CATEGORY_DIGIT: str.isdigit,
    op.CATEGORY_NOT_DIGIT: lambda char: not char.isdigit(),
    op.CATEGORY_WORD: lambda char: char in _WORD,
    op.CATEGORY_NOT_WORD: lambda char: char not in _WORD,
    op.CATEGORY_SPACE: lambda char: char in _SPACE,
    op.CATEGORY_NOT_SPACE: lambda char: char not in _SPACE,
}
_REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)
_WIDTHLESS = (op.AT, op.ASSERT, op.ASSERT_NOT)

Node = tuple[Any, Any]
Width = tuple[int, int]


class PatternText:
    r"""Draws strings that match one regular expression somewhere (`re.search`, as JSON Schema says).

    Args:
        pattern: the expression, in the dialect of Python; the spellings ``(?<name>`` and ``\z`` of
            other dialects are understood.

    Raises:
        InfeasibleError: Python cannot read it.
    """

    def __init__(self, pattern: str) -> None:
        spelled = _as_python(pattern)
        try:
            self._regex = re.compile(spelled)
            self._tree: list[Node] = list(parser.parse(spelled))
        except (re.error, RecursionError, OverflowError) as error:
            raise InfeasibleError(f"Python cannot read the pattern {pattern!r}: {error}") from error
        self._pattern = pattern
        self._choices: dict[int, list[str]] = {}

    def draw(self, rng: random.Random, least: int = 0, most: int | None = None) -> str:
        """Return a matching string.

        Args:
            rng: where the choices come from.
            least: fewest characters.
            most: most characters, None for no limit.

        Raises:
            InfeasibleError: none was found.
        """
        low, high = _width_of_all(self._tree)
        start = max(low, least)
        stop = min(max(high, least), start + _SPREAD, _UNBOUNDED if most is None else most)
        for _ in range(_ATTEMPTS if start <= stop else 0):
            text = self._sequence(self._tree, rng.randint(start, stop), rng, {})
            text += "".join(rng.choices(string.ascii_lowercase, k=least - len(text)))
            if (most is None or len(text) <= most) and self._regex.search(text):
                return text
        limits = f" and has {least} to {'any number of' if most is None else most} characters"
        raise InfeasibleError(f"no string was found that matches {self._pattern!r}{limits}")

    def _sequence(
        self, nodes: Sequence[Node], length: int, rng: random.Random, groups: dict[int, str]
    ) -> str:
        widths = [_width(node) for node in nodes]
        rest_low, rest_high = sum(low for low, _ in widths), sum(high for _, high in widths)
        parts: list[str] = []
        left = length
        for node, (low, high) in zip(nodes, widths, strict=True):
            rest_low, rest_high = rest_low - low, rest_high - high
            share = _between(rng, max(low, left - rest_high), min(high, left - rest_low))
            parts.append(text := self._node(node, share, rng, groups))
            left -= len(text)
        return "".join(parts)

    def _node(self, node: Node, length: int, rng: random.Random, groups: dict[int, str]) -> str:
        code, value = node
        if code in _WIDTHLESS:
            return ""
        if code is op.LITERAL:
            return chr(value)
        if code in _REPEATS:
            return self._repeat(value, length, rng, groups)
        if code is op.BRANCH:
            fitting = [branch for branch in value[1] if _fits(length, branch)] or value[1]
            return self._sequence(list(rng.choice(fitting)), length, rng, groups)
        if code is op.SUBPATTERN:
            groups[value[0]] = text = self._sequence(list(value[3]), length, rng, groups)
            return text
        if code is op.ATOMIC_GROUP:
            return self._sequence(list(value), length, rng, groups)
        if code is op.GROUPREF:
            return groups.get(value, "")
        if code is op.GROUPREF_EXISTS:
            chosen = value[1] if value[0] in groups else value[2]
            return self._sequence(list(chosen or ()), length, rng, groups)
        return self._char(node, rng)

    def _repeat(self, value: Any, length: int, rng: random.Random, groups: dict[int, str]) -> str:
        fewest, most, inner = value
        low, high = _width_of_all(inner)
        least = max(int(fewest), -(-length // high) if high else 0)
        top = min(int(most), length // low if low else max(length, least))
        count = _between(rng, least, top)
        return self._sequence(list(inner) * count, length, rng, groups)

    def _char(self, node: Node, rng: random.Random) -> str:
        known = self._choices.get(id(node))
        if known is None:
            known = self._choices[id(node)] = _chars(node)
        return rng.choice(known)


def _as_python(pattern: str) -> str:
    named = re.sub(r"(?<!\\)\(\?<(?![=!])", "(?P<", pattern)
    return re.sub(r"(?<!\\)((?:\\\\)*)\\z", r"\1\\Z", named)


def _between(rng: random.Random, low: int, high: int) -> int:
    return rng.randint(low, high) if low < high else low


def _fits(length: int, nodes: Sequence[Node]) -> bool:
    low, high = _width_of_all(nodes)
    return low <= length <= high


def _width_of_all(nodes: Sequence[Node]) -> Width:
    widths = [_width(node) for node in nodes]
    return sum(low for low, _ in widths), min(_UNBOUNDED, sum(high for _, high in widths))


def _width(node: Node) -> Width:
    code, value = node
    if code in _WIDTHLESS:
        return 0, 0
    if code in _REPEATS:
        low, high = _width_of_all(value[2])
        return min(_UNBOUNDED, value[0] * low), min(_UNBOUNDED, int(value[1]) * high)
    if code is op.BRANCH:
        widths = [_width_of_all(branch) for branch in value[1]]
        return min(low for low, _ in widths), max(high for _, high in widths)
    if code is op.SUBPATTERN:
        return _width_of_all(value[3])
    if code is op.ATOMIC_GROUP:
        return _width_of_all(value)
    if code is op.GROUPREF:
        return 0, _UNBOUNDED
    if code is op.GROUPREF_EXISTS:
        yes, no = _width_of_all(value[1]), _width_of_all(value[2] or ())
        return min(yes[0], no[0]), max(yes[1], no[1])
    return 1, 1


def _chars(node: Node) -> list[str]:
    """Return characters that the one-character node matches, printable ASCII ones if there are any."""
    code, value = node
    if code is op.ANY:
        return _PRINTABLE
    if code is op.NOT_LITERAL:
        return [char for char in _PRINTABLE if ord(char) != value]
    found = [char for char in _PRINTABLE if _in_set(char, value)]
    if found:
        return found
    bounds = [
        (arg, arg) if kind is op.LITERAL else arg for kind, arg in value if kind in (op.LITERAL, op.RANGE)
    ]
    spread = [chr(code) for low, high in bounds for code in range(low, min(high, low + 100) + 1)]
    return [char for char in [*spread, *string.whitespace] if _in_set(char, value)] or ["\x00"]


def _in_set(char: str, items: Sequence[Node]) -> bool:
    negated = bool(items) and items[0][0] is op.NEGATE
    return negated != any(_is_item(char, kind, arg) for kind, arg in items)


def _is_item(char: str, kind: Any, arg: Any) -> bool:
    if kind is op.LITERAL:
        return ord(char) == int(arg)
    if kind is op.RANGE:
        return bool(arg[0] <= ord(char) <= arg[1])
    return kind is op.CATEGORY and _CATEGORIES[arg](char)
