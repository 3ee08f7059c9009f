"""What changed between two JSON values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from openenv.cli._output import paint, printable

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Change:
    """One place where two values differ.

    Attributes:
        path: ``board[2].piece``; empty for the values themselves.
        kind: ``added``, ``removed`` or ``changed``.
        before: value there before; None if added.
        after: value there after; None if removed.
    """

    path: str
    kind: str
    before: Any = None
    after: Any = None


def changes(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """Differences from `before` to `after`, leaf by leaf, in the order of `after`."""
    if isinstance(before, dict) and isinstance(after, dict):
        pairs = [
            (_dotted(path, key), before.get(key, _ABSENT), after.get(key, _ABSENT))
            for key in {**after, **before}
        ]
    elif isinstance(before, list) and isinstance(after, list):
        longest = max(len(before), len(after))
        pairs = [(f"{path}[{index}]", _at(before, index), _at(after, index)) for index in range(longest)]
    else:
        # 1 == True in Python, and they are different JSON
        if before != after or isinstance(before, bool) != isinstance(after, bool):
            yield Change(path, "changed", before, after)
        return
    for place, old, new in pairs:
        if old is _ABSENT:
            yield Change(place, "added", after=new)
        elif new is _ABSENT:
            yield Change(place, "removed", before=old)
        else:
            yield from changes(old, new, place)


def render(found: list[Change], *, limit: int = 20, width: int = 100) -> list[str]:
    """One coloured line per change, at most `limit` of them."""
    lines = []
    for change in found[:limit]:
        old, new = short(change.before, width // 3), short(change.after, width // 3)
        if change.kind == "added":
            lines.append(f"+ {change.path} {paint(new, 'green')}")
        elif change.kind == "removed":
            lines.append(f"- {change.path} {paint(old, 'red')}")
        else:
            lines.append(f"~ {change.path} {paint(old, 'red')} -> {paint(new, 'green')}")
    if len(found) > limit:
        lines.append(paint(f"and {len(found) - limit} more", "dim"))
    return lines


def short(value: Any, width: int) -> str:
    """`value` as JSON on one line of at most `width` characters."""
    text = printable(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= width else text[: max(1, width - 3)] + "..."


def _dotted(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _at(values: list[Any], index: int) -> Any:
    return values[index] if index < len(values) else _ABSENT
