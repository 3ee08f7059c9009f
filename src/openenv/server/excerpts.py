"""Error reports of a bounded size, whatever the message was that they report on.

A report quotes the offending input. A client may send a hundred megabytes, several problems may each quote
all of it, and a reply beyond the client's own limit would cost it the connection, and the session with it.
"""

from __future__ import annotations

from typing import Any

from openenv.errors import InvalidActionError, OpenEnvError

MAX_TEXT = 8_000
"""Characters of an error's message."""

MAX_QUOTED = 32_000
"""Characters of all that an error's list quotes, names of fields included."""

MAX_ISSUES = 100
"""Problems that are listed."""

_MAX_DEPTH = 40


def shorten(error: OpenEnvError) -> None:
    """Cut an error's message and its list of problems to size; `more_errors` counts those left out."""
    error.message = text_excerpt(error.message)
    if isinstance(error, InvalidActionError) and error.errors:
        left_out = len(error.errors) - MAX_ISSUES
        if left_out > 0:
            error.data["more_errors"] = left_out
        error.errors = issues_excerpt(error.errors)


def issues_excerpt(issues: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first problems of a list, with what they quote cut to size."""
    room = _Room(MAX_QUOTED)
    return [room.cut(issue, 0) for issue in issues[:MAX_ISSUES]]


def text_excerpt(text: str) -> str:
    """The text, cut to size."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text)} characters)"


class _Room:
    """How much may still be quoted."""

    def __init__(self, characters: int) -> None:
        self._left = characters

    def cut(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return self._mapping(value, depth)
        if isinstance(value, list | tuple):
            return self._items(value, depth)
        self._left -= 8
        return value

    def _text(self, text: str) -> str:
        kept = max(self._left, 0)
        self._left -= len(text)
        return text if len(text) <= max(kept, 80) else f"{text[:kept]}… ({len(text)} characters)"

    def _mapping(self, mapping: dict[str, Any], depth: int) -> Any:
        found: dict[str, Any] = {}
        for key, value in mapping.items():
            if self._is_full(depth):
                found["…"] = f"{len(mapping)} keys"
                break
            found[self._text(key)] = self.cut(value, depth + 1)
        return found

    def _items(self, items: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        found: list[Any] = []
        for item in items:
            if self._is_full(depth):
                found.append(f"… {len(items)} items")
                break
            found.append(self.cut(item, depth + 1))
        return found

    def _is_full(self, depth: int) -> bool:
        # The fields of a problem itself (depth 0) are always there.
        return depth > _MAX_DEPTH or (depth > 0 and self._left <= 0)
