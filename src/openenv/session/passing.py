"""Values between a server and the process of one of its sessions.

Both were one process until the fork, so a class is named by its identity there: models that were made while
the environment was described have no importable name. What comes from the session's process is not trusted,
for code of that process may have been taken over: only models, enumerations and dataclasses that the server
has loaded already, and plain value types, are ever built from it, and nothing is imported or called for it.
"""

from __future__ import annotations

import dataclasses
import enum
import io
import pickle
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

MAX_BYTES = 1 << 30
"""Longest message taken."""

_LENGTH = struct.Struct("!Q")
_PLAIN = {
    ("builtins", "complex"),
    ("builtins", "set"),
    ("builtins", "frozenset"),
    ("builtins", "bytearray"),
    ("builtins", "range"),
    ("builtins", "slice"),
    ("collections", "OrderedDict"),
    ("collections", "deque"),
    ("collections", "Counter"),
    ("datetime", "date"),
    ("datetime", "datetime"),
    ("datetime", "time"),
    ("datetime", "timedelta"),
    ("datetime", "timezone"),
    ("decimal", "Decimal"),
    ("fractions", "Fraction"),
    ("ipaddress", "IPv4Address"),
    ("ipaddress", "IPv6Address"),
    ("pathlib", "PosixPath"),
    ("pathlib", "PurePosixPath"),
    ("uuid", "UUID"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
}


class Classes:
    """The classes that exist when the processes part, by their identity."""

    def __init__(self) -> None:
        self._by_id = {id(cls): cls for root in (BaseModel, enum.Enum) for cls in _below(root)}

    def identity(self, value: Any) -> int | None:
        """What a class is called, if it is one of ours."""
        known = isinstance(value, type) and self._by_id.get(id(value)) is value
        return id(value) if known else None

    def named(self, identity: Any) -> type:
        """The class of that name.

        Raises:
            UnpicklingError: there is none.
        """
        try:
            return self._by_id[identity]
        except (KeyError, TypeError):
            raise pickle.UnpicklingError(f"no class {identity!r}") from None


def _below(root: type) -> Iterator[type]:
    pending = [root]
    seen = set()
    while pending:
        cls = pending.pop()
        if cls not in seen:
            seen.add(cls)
            yield cls
            pending += type.__subclasses__(cls)


def dumps(value: Any, classes: Classes) -> bytes:
    """Encode a value.

    Raises:
        Exception: it cannot be encoded; what kind depends on the value.
    """
    buffer = io.BytesIO()
    _Pickler(buffer, classes).dump(value)
    return buffer.getvalue()


class _Pickler(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO, classes: Classes) -> None:
        super().__init__(buffer, protocol=5)
        self._classes = classes

    def persistent_id(self, value: Any) -> int | None:
        return self._classes.identity(value)

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, enum.Enum):
            return type(value), (value.value,)
        return NotImplemented


def loads(data: bytes, classes: Classes, *, trusted: bool) -> Any:
    """Decode a value.

    Args:
        data: its bytes.
        classes: the classes that both sides know.
        trusted: whether whoever encoded it may name any class; never true for what a session's process sent.

    Raises:
        UnpicklingError: it is malformed, or asks for more than values.
    """
    unpickler = (_Trusting if trusted else _Wary)(io.BytesIO(data))
    unpickler.classes = classes
    try:
        return unpickler.load()
    except pickle.UnpicklingError:
        raise
    except Exception as problem:  # Boundary: bytes that somebody made up raise whatever they like.
        raise pickle.UnpicklingError(f"{type(problem).__name__}: {problem}") from problem


class _Trusting(pickle.Unpickler):
    classes: Classes

    def persistent_load(self, identity: Any) -> Any:
        return self.classes.named(identity)


class _Wary(_Trusting):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return super().find_class(module, name)
        found: Any = sys.modules.get(module)
        for part in name.split("."):
            found = getattr(found, part, None)
        if isinstance(found, type) and (issubclass(found, BaseModel) or dataclasses.is_dataclass(found)):
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is no value")


def send(sock: socket.socket, data: bytes) -> None:
    """Send one message.

    Raises:
        OSError: the other end is gone.
    """
    sock.sendall(_LENGTH.pack(len(data)) + data if len(data) < 1 << 16 else _LENGTH.pack(len(data)))
    if len(data) >= 1 << 16:
        sock.sendall(data)


def receive(sock: socket.socket) -> bytes:
    """Receive one message.

    Raises:
        EOFError: the other end is gone, or sends what is no message.
    """
    (length,) = _LENGTH.unpack(_exactly(sock, _LENGTH.size))
    if length > MAX_BYTES:
        raise EOFError(f"a message of {length} bytes")
    return bytes(_exactly(sock, length))


def _exactly(sock: socket.socket, length: int) -> bytearray:
    data = bytearray(min(length, 1 << 20))
    filled = 0
    while filled < length:
        if filled == len(data):
            data += bytes(min(length - filled, len(data)))
        try:
            got = sock.recv_into(memoryview(data)[filled:])
        except OSError:
            got = 0
        if not got:
            raise EOFError
        filled += got
    return data
