"""One JSON form for every value that an environment may put into an observation, a state or an error.

======================  =====================================================
value                   JSON
======================  =====================================================
NumPy array             nested lists, row by row (`tolist`)
NumPy scalar            the number, boolean or string it holds
NaN, +inf, -inf         null
bytes, bytearray        the text if it is valid UTF-8, else {"$bytes": base64}
enum member             its value
date, time, datetime    ISO 8601
timedelta               ISO 8601 duration, as pydantic writes it
set, frozenset, tuple   list
dataclass, pydantic     object with its fields
mapping                 object; keys become text
anything else           its `repr`
======================  =====================================================

The conversion never raises: what an environment reports must reach the caller after the step ran.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import enum
import math
import sys
from collections.abc import Mapping, Set
from typing import Any

from pydantic import BaseModel, TypeAdapter

_MAX_DEPTH = 200
_timedelta = TypeAdapter(dt.timedelta)


def to_jsonable(value: Any, _depth: int = 0) -> Any:
    """Return `value` as JSON-able data by the table of this module.

    Args:
        value: anything.

    Returns:
        A tree of dict (text keys), list, str, int, finite float, bool and None. Nesting beyond 200
        levels ends in the `repr` of what is there.
    """
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if kind is str:
        return _text(value)
    if kind is int:
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if _depth > _MAX_DEPTH:
        return _safe_repr(value)
    if kind is dict:
        return {_key(k): to_jsonable(v, _depth + 1) for k, v in value.items()}
    if kind is list or kind is tuple:
        return [to_jsonable(v, _depth + 1) for v in value]
    return _uncommon(value, _depth + 1)


def _uncommon(value: Any, depth: int) -> Any:
    # Boundary: attributes and iterators below may be an author's own code, and whatever they raise,
    # the rest of the observation must still be sent.
    try:
        return _convert(value, depth)
    except Exception:
        return _safe_repr(value)


def _convert(value: Any, depth: int) -> Any:
    if isinstance(value, enum.Enum):
        return to_jsonable(value.value, depth)
    if isinstance(value, BaseModel):
        return {name: to_jsonable(item, depth) for name, item in _model_items(value)}
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes(bytes(value))
    if isinstance(value, dt.timedelta):
        return _timedelta.dump_python(value, mode="json")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, BaseException):
        return str(value) or type(value).__name__
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
        return to_jsonable(value.tolist(), depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_jsonable(getattr(value, f.name), depth) for f in dataclasses.fields(value)}
    return _builtin_subclass(value, depth)


def _builtin_subclass(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(k): to_jsonable(v, depth) for k, v in value.items()}
    if isinstance(value, list | tuple | Set):
        return [to_jsonable(v, depth) for v in value]
    return _safe_repr(value)


def _model_items(model: BaseModel) -> list[tuple[str, Any]]:
    items = list(model.__dict__.items())
    if model.__pydantic_extra__:
        items.extend(model.__pydantic_extra__.items())
    return items


def _bytes(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"$bytes": base64.b64encode(value).decode("ascii")}


def _text(value: str) -> str:
    # A lone surrogate has no UTF-8 form; JSON text must have one.
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace").decode()
    return value


def _key(key: Any) -> str:
    if isinstance(key, str):
        return _text(str.__str__(key))
    if isinstance(key, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    plain = to_jsonable(key)
    return plain if isinstance(plain, str) else str(plain)


def _safe_repr(value: Any) -> str:
    # Boundary: `repr` is an author's code as well.
    try:
        return _text(repr(value))
    except Exception:
        return f"<{type(value).__name__}>"
