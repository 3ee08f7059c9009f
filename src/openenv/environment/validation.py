"""From what a caller sent to a valid object, or to an error that says which field is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from openenv.errors import InvalidActionError
from openenv.protocol.jsonvalue import to_jsonable

_MAX_TEXT = 2_000
_MAX_ITEMS = 100
_MAX_DEPTH = 20

Validator = Callable[[Any], Any]


def checked(validate: Validator, value: Any, what: str = "action") -> Any:
    """Run a validator over what a caller sent.

    Args:
        validate: takes the value, returns the valid object.
        value: anything.
        what: what it is, for the message: ``action``, ``reset option``.

    Raises:
        InvalidActionError: it does not fit; `errors` are JSON-able.
    """
    try:
        return validate(value)
    except Exception as error:
        # Boundary: validators are an author's own code; whatever they raise, nothing ran and the
        # session goes on.
        raise refusal(error, value, what) from error


def refusal(error: Exception, value: Any, what: str = "action") -> InvalidActionError:
    """Return the error for a value that a validator refused.

    Args:
        error: what the validator raised: pydantic's error, or anything else.
        value: the value.
        what: what it is, for the message.
    """
    if isinstance(error, InvalidActionError):
        return error
    if isinstance(error, ValidationError):
        entries = [_entry(entry) for entry in error.errors()]
    else:
        text = to_jsonable(str(error)) or type(error).__name__
        entries = [{"type": type(error).__name__, "loc": [], "msg": text, "input": brief(value)}]
    where = ".".join(map(str, entries[0]["loc"]))
    text = f"{where}: {entries[0]['msg']}" if where else entries[0]["msg"]
    return InvalidActionError(f"Invalid {what}: {text}", errors=entries)


def _entry(error: Any) -> dict[str, Any]:
    entry = {name: to_jsonable(value) for name, value in error.items() if name != "input"}
    entry["loc"] = [part if isinstance(part, int) else str(part) for part in error["loc"]]
    entry["input"] = brief(error["input"])
    return entry


def brief(value: Any) -> Any:
    """Return the JSON form of a value, long texts and collections cut: an error is no echo of a big frame."""
    return _cut(to_jsonable(value), 0)


def _cut(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _MAX_TEXT else value[:_MAX_TEXT] + "..."
    if isinstance(value, (list, dict)) and depth > _MAX_DEPTH:
        return "..."
    if isinstance(value, list):
        cut = [_cut(item, depth + 1) for item in value[:_MAX_ITEMS]]
        return cut if len(value) <= _MAX_ITEMS else [*cut, "..."]
    if isinstance(value, dict):
        items = list(value.items())[:_MAX_ITEMS]
        return {_cut(k, depth): _cut(v, depth + 1) for k, v in items}
    return value
