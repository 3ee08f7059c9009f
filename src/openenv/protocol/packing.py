"""Values in MessagePack: what it has itself stays as it is, everything else takes its JSON form.

======================  =====================================================
value                   MessagePack
======================  =====================================================
NumPy array             extension 1: [dtype, shape, raw bytes], row by row
bytes, bytearray        bin
NaN, +inf, -inf         float
integer over 64 bits    extension 2: its decimal digits
everything else         as `openenv.protocol.jsonvalue` says
======================  =====================================================

Arrays are numbers and booleans only; others travel as nested lists. A decoded array shares the memory of the
frame it came in: it is read-only. Where NumPy is not installed it is an `ArrayView`.
"""

from __future__ import annotations

import enum
import math
import re
import sys
from collections.abc import Mapping, Set
from typing import Any

import msgspec
from msgspec.msgpack import Ext
from pydantic import BaseModel

from openenv.errors import ProtocolError
from openenv.protocol.jsonvalue import to_jsonable

ARRAY = 1
"""Code of the extension type of arrays."""
INTEGER = 2
"""Code of the extension type of integers beyond 64 bits."""

_MAX_DEPTH = 200
_MAX_DIGITS = 4000
_KINDS = "biufc"
_DTYPE = re.compile(rf"[<>|=]([{_KINDS}])(\d{{1,2}})")
_FORMATS = {
    "b1": "?",
    "i1": "b",
    "i2": "h",
    "i4": "i",
    "i8": "q",
    "u1": "B",
    "u2": "H",
    "u4": "I",
    "u8": "Q",
    "f4": "f",
    "f8": "d",
}


class ArrayView:
    """An array as it came, where NumPy is not installed.

    Attributes:
        dtype: type of the elements in NumPy's notation, such as `<f4` or `|u1`.
        shape: length of each dimension.
        data: the elements, row by row.
    """

    __slots__ = ("data", "dtype", "shape")

    def __init__(self, dtype: str, shape: tuple[int, ...], data: memoryview) -> None:
        self.dtype = dtype
        self.shape = shape
        self.data = data

    def tolist(self) -> Any:
        """The elements as nested lists.

        Raises:
            ProtocolError: elements that Python has no type for.
        """
        import struct

        code = _FORMATS.get(self.dtype[1:])
        if code is None:
            raise ProtocolError(f"Elements of type {self.dtype} cannot be read without NumPy")
        order = ">" if self.dtype[0] == ">" else "<"
        flat: list[Any] = [item for (item,) in struct.iter_unpack(order + code, self.data)]
        if not self.shape:
            return flat[0]
        for length in reversed(self.shape[1:]):
            rows = len(flat) // length if length else math.prod(self.shape[:-1])
            flat = [flat[row * length : (row + 1) * length] for row in range(rows)]
        return flat


def to_packable(value: Any, _depth: int = 0) -> Any:
    """Return `value` as data that `pack` writes without asking back. Never raises.

    Args:
        value: anything.
    """
    kind = type(value)
    if value is None or kind is bool or kind is float or kind is bytes:
        return value
    if kind is str:
        return to_jsonable(value)
    if kind is int:
        return value if -(2**63) <= value < 2**64 else _integer(value)
    if _depth > _MAX_DEPTH:
        return to_jsonable(value)
    if kind is dict:
        return {_key(key): to_packable(item, _depth + 1) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [to_packable(item, _depth + 1) for item in value]
    # Boundary: attributes and iterators below may be an author's own code, and whatever they raise,
    # the rest of the observation must still be sent.
    try:
        return _uncommon(value, _depth + 1)
    except Exception:
        return to_jsonable(value)


def _uncommon(value: Any, depth: int) -> Any:
    if isinstance(value, Ext):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.ndarray):
            return _array(value, numpy) if value.dtype.kind in _KINDS else to_packable(value.tolist(), depth)
        if isinstance(value, numpy.generic):
            return to_packable(value.item(), depth)
    if isinstance(value, ArrayView):
        return Ext(ARRAY, _pack([value.dtype, value.shape, value.data]))
    if isinstance(value, BaseModel):
        return {name: to_packable(item, depth) for name, item in dict(value).items()}
    if isinstance(value, Mapping):
        return {_key(key): to_packable(item, depth) for key, item in value.items()}
    if isinstance(value, list | tuple | Set):
        return [to_packable(item, depth) for item in value]
    if isinstance(value, enum.Enum):
        return to_packable(value.value, depth)
    return float(value) if isinstance(value, float) else to_jsonable(value)


def _key(key: Any) -> Any:
    return to_jsonable(key) if type(key) is str else next(iter(to_jsonable({key: None})))


def _array(value: Any, numpy: Any) -> Ext:
    dense = numpy.ascontiguousarray(value)
    raw = dense.reshape(-1).view(numpy.uint8).data if dense.size else b""
    return Ext(ARRAY, _pack([dense.dtype.str, value.shape, raw]))


def _integer(value: int) -> Any:
    limit = sys.get_int_max_str_digits() or _MAX_DIGITS
    if value.bit_length() > min(limit, _MAX_DIGITS) * 3.3:
        return hex(value)
    return Ext(INTEGER, str(value).encode())


_pack = msgspec.msgpack.Encoder(enc_hook=to_packable).encode
_unpack_array = msgspec.msgpack.Decoder(tuple[str, tuple[int, ...], memoryview]).decode


def pack(value: Any) -> bytes:
    """Write a value by the table of this module. Never raises."""
    return _pack(to_packable(value))


def pack_plain(value: Any) -> bytes:
    """Write a value that holds nothing but text, numbers, booleans, None, lists and dicts of them.

    Anything unusual is written like `pack` does it, at its price.
    """
    try:
        return _pack(value)
    except (OverflowError, UnicodeEncodeError, RecursionError, msgspec.EncodeError):
        return pack(value)


def unpack_extension(code: int, data: memoryview) -> Any:
    """What an extension of a frame stands for: the `ext_hook` of decoders.

    Raises:
        ProtocolError: it is not one of ours, or broken.
    """
    if code == ARRAY:
        return _read_array(data)
    if code == INTEGER:
        digits = bytes(data)
        if len(digits) <= _MAX_DIGITS and re.fullmatch(rb"-?[0-9]+", digits):
            return int(digits)
        raise ProtocolError("Extension 2 is not an integer in decimal digits")
    raise ProtocolError(f"Unknown MessagePack extension {code}; {ARRAY} is an array, {INTEGER} an integer")


def _read_array(data: memoryview) -> Any:
    try:
        dtype, shape, raw = _unpack_array(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ProtocolError("Extension 1 is not an array: expected [dtype, shape, bytes]") from None
    found = _DTYPE.fullmatch(dtype)
    if found is None:
        raise ProtocolError(f"Array: unknown dtype {dtype[:20]!r}")
    width = int(found[2])
    if any(length < 0 for length in shape) or len(shape) > 32 or math.prod(shape) * width != len(raw):
        raise ProtocolError(f"Array: shape {list(shape[:32])} of {dtype} does not fit {len(raw)} bytes")
    try:
        import numpy
    except ImportError:
        return ArrayView(dtype, shape, raw)
    try:
        return numpy.frombuffer(raw, dtype=numpy.dtype(dtype)).reshape(shape)
    except (TypeError, ValueError) as problem:
        raise ProtocolError(f"Array: {problem}") from None
