from __future__ import annotations

import builtins
import datetime as dt
import enum
import math
import struct
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from msgspec.msgpack import Ext

from openenv import Observation
from openenv.errors import ProtocolError
from openenv.protocol.packing import ArrayView, pack, pack_plain, to_packable, unpack_extension

unpack = msgspec.msgpack.Decoder(ext_hook=unpack_extension).decode


class Colour(enum.Enum):
    RED = "red"


class Weight(float, enum.Enum):
    HALF = 0.5


class Loud(str):
    pass


@dataclass
class Point:
    x: int


class Hostile:
    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no")

    def __repr__(self) -> str:
        raise RuntimeError("no")


class Raising(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (2**64 - 1, 2**64 - 1),
        (2**64, 2**64),
        (-(2**70), -(2**70)),
        (1.5, 1.5),
        ("κ\ud800", "κ?"),
        (Loud("a"), "a"),
        (b"\xff", b"\xff"),
        (bytearray(b"a"), b"a"),
        (memoryview(b"a"), b"a"),
        ((1, [2]), [1, [2]]),
        ({1: {2}, None: 3, "\ud800": 4}, {"1": [2], "null": 3, "?": 4}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (Colour.RED, "red"),
        (Weight.HALF, 0.5),
        (np.float64(2.5), 2.5),
        (np.int8(3), 3),
        (np.array(["a"]), ["a"]),
        (Point(3), {"x": 3}),
        (Observation(reward=1.0), {"done": False, "reward": 1.0, "metadata": {}}),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "2026-01-02T00:00:00+00:00"),
        (ValueError("bad"), "bad"),
        (Hostile(), "<Hostile>"),
        (Ext(1, msgspec.msgpack.encode(["|u1", [1], b"a"])), [97]),
    ],
)
def test_values(value: Any, expected: Any) -> None:
    found = unpack(pack(value))
    assert (found.tolist() if isinstance(found, np.ndarray) else found) == expected


def test_numbers_that_json_lacks() -> None:
    assert math.isnan(unpack(pack(math.nan)))
    assert unpack(pack([-math.inf])) == [-math.inf]


def test_an_integer_without_bounds_is_text() -> None:
    assert unpack(pack(10**5000)) == hex(10**5000)


def test_what_raises_is_written_all_the_same() -> None:
    assert isinstance(unpack(pack(Raising(a=1))), dict | str)


def test_nesting_ends() -> None:
    value: Any = 1
    for _ in range(400):
        value = [value]
    assert isinstance(pack(value), bytes)


@pytest.mark.parametrize("value", [2**70, "\ud800", {"a": [2**70]}, {"b": np.arange(3)}])
def test_pack_plain_writes_the_unusual_too(value: Any) -> None:
    assert pack_plain(value) == pack(value)


DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(),
    hnp.unsigned_integer_dtypes(),
    hnp.floating_dtypes(sizes=(16, 32, 64)),
    hnp.complex_number_dtypes(sizes=(64, 128)),
)


@given(hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
def test_arrays_come_back(array: Any) -> None:
    found = unpack(pack(array))
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()
    assert not found.flags.writeable or found.size == 0


def test_an_array_in_another_order_comes_back() -> None:
    array = np.arange(6).reshape(2, 3).T[::-1]
    assert (unpack(pack(array)) == array).all()


def test_an_array_is_not_copied_when_it_is_read() -> None:
    frame = pack(np.arange(1000))
    assert not unpack(frame).flags.owndata


def broken(code: int, *fields: Any) -> bytes:
    return msgspec.msgpack.encode(Ext(code, msgspec.msgpack.encode(list(fields))))


@pytest.mark.parametrize(
    "frame",
    [
        broken(1),
        broken(1, "|O8", [1], b"12345678"),
        broken(1, "<f4", [2], b"1234"),
        broken(1, "<f4", [-1, -1], b"1234"),
        broken(1, "<f4", [1] * 33, b"1234"),
        broken(1, "<f4", [1] * 65, b"1234"),
        broken(1, "<f3", [1], b"123"),
        broken(1, 5, [1], b"1"),
        broken(1, "<u1", [2**62, 4], b"1"),
        msgspec.msgpack.encode(Ext(1, b"\xff")),
        msgspec.msgpack.encode(Ext(1, b"\x93\xa1\xff\x90\xc4\x00")),
        msgspec.msgpack.encode(Ext(2, b"1e9")),
        msgspec.msgpack.encode(Ext(2, b"1" * 5000)),
        broken(7, 1),
    ],
)
def test_broken_extensions_are_typed_errors(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        unpack(frame)


def without_numpy(name: str, *arguments: Any, _import: Any = builtins.__import__) -> Any:
    if name == "numpy":
        raise ImportError(name)
    return _import(name, *arguments)


@pytest.mark.parametrize(
    "array",
    [
        np.array(7, "<i2"),
        np.arange(24, dtype=">f8").reshape(2, 3, 4),
        np.zeros((2, 0), "u1"),
        np.zeros((0, 2), "u1"),
        np.array([True, False]),
    ],
)
def test_without_numpy_an_array_is_a_view(array: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pack(array)
    monkeypatch.setattr(builtins, "__import__", without_numpy)
    view = unpack(frame)
    assert isinstance(view, ArrayView)
    assert view.tolist() == array.tolist()
    assert pack(view) == frame


def test_a_view_of_what_python_lacks_says_so() -> None:
    view = ArrayView("<c8", (1,), memoryview(struct.pack("ff", 1, 2)))
    with pytest.raises(ProtocolError, match="without NumPy"):
        view.tolist()


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(JSONISH)
def test_plain_data_comes_back(value: Any) -> None:
    assert unpack(pack(value)) == value
    assert pack_plain(value) == pack(value)
    assert pack(to_packable(value)) == pack(value)
