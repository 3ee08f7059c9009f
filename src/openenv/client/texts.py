"""Texts that cannot travel: a lone surrogate has no UTF-8 form, and a wire that replaced it would lie."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Set
from typing import Any

from pydantic import BaseModel

from openenv.errors import InvalidActionError

_MAX_DEPTH = 200
_WHATS = {"reset": "reset option", "mcp": "tool call"}


def refuse_surrogates(call: str, data: Any) -> None:
    """Check what a request carries.

    Args:
        call: type of the request.
        data: its payload.

    Raises:
        InvalidActionError: a text in it has a lone surrogate; `errors` names the field.
    """
    for place in _surrogates(data, ()):
        text = "Input should be a valid string: it has a lone surrogate, which no UTF-8 text can have"
        where = ".".join(map(str, place))
        entry = {"type": "string_unicode", "loc": list(place), "msg": text, "input": None}
        message = f"Invalid {_WHATS.get(call, 'action')}: {where}: {text}"
        raise InvalidActionError(message, errors=[entry])


def _surrogates(value: Any, place: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Places of the texts that cannot be encoded; a key that cannot is left out of its own place."""
    if isinstance(value, str):
        if not _encodable(value):
            yield place
    elif len(place) >= _MAX_DEPTH:
        return
    else:
        for key, item in _items(value):
            if isinstance(key, str) and not _encodable(key):
                yield place
            else:
                yield from _surrogates(item, (*place, key))


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, BaseModel):
        yield from value
    elif isinstance(value, Mapping):
        yield from ((key if isinstance(key, str | int) else repr(key), item) for key, item in value.items())
    elif isinstance(value, list | tuple | Set):
        yield from enumerate(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
