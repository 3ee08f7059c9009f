"""Arrays through blocks of shared memory: every kind comes out as it went in, and nothing else does."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import numpy as np
import pytest

from openenv.pool.arrays import INLINE, SHARED, Reader, Writer, array_from_frame

LIMIT = 1 << 24


def ends(wanted: int = 1 << 16) -> tuple[Writer, Reader]:
    writer, reader = Writer(), Reader(LIMIT)
    made = reader.make(wanted)
    assert made is not None
    writer.add(*made)
    return writer, reader


def through(writer: Writer, reader: Reader, *arrays: Any) -> list[Any]:
    """What the reader gets for a frame of these arrays."""
    writer.begin()
    forms = [writer.put(array) for array in arrays]
    block = writer.end()
    reader.learn(writer.news)
    reader.enter(block)
    found = []
    for form in forms:
        if isinstance(form, msgspec.msgpack.Ext):
            data = memoryview(form.data)
            found.append(reader.get(data) if form.code == SHARED else array_from_frame(data))
        else:
            found.append(form)
    reader.leave()
    return found


BIG = np.arange(3000, dtype=np.int64).reshape(30, 100)


@pytest.mark.parametrize(
    "array",
    [
        BIG,
        BIG.astype(np.uint8).repeat(2, axis=0),
        BIG.astype(np.float16),
        BIG.astype(np.complex128),
        BIG.astype(">i8"),
        BIG > 7,
        BIG.T,
        BIG[::2, ::-1],
        BIG.astype("datetime64[s]"),
        BIG.astype("U8"),
        np.asfortranarray(BIG),
        BIG[:2],
        np.array(3.5),
        np.zeros((0, 4)),
        np.zeros((64, 0, 8), np.float32),
    ],
    ids=lambda array: f"{array.dtype}-{array.shape}",
)
def test_every_kind_of_array(array: Any) -> None:
    writer, reader = ends()
    for _ in range(3):
        (found,) = through(writer, reader, array)
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        assert (found == array).all()
        del found
        for number in reader.returned()[0]:
            writer.free(number)


def test_objects_and_records_become_lists() -> None:
    writer, reader = ends()
    assert through(writer, reader, np.array([1, "a"], object)) == [[1, "a"]]
    record = np.array([(1, 2.0)], dtype=[("a", int), ("b", float)])
    assert through(writer, reader, record) == [[(1, 2.0)]]


def test_a_block_is_lent_until_its_last_view_is_gone() -> None:
    writer, reader = ends()
    one, two = through(writer, reader, BIG, BIG + 1)
    part = two[3:5]
    assert reader.returned() == ([], [])
    del one, two
    assert reader.returned() == ([], [])
    (inline,) = through(writer, reader, BIG + 2)  # no block is free
    assert (inline == BIG + 2).all()
    assert writer.wanted >= BIG.nbytes
    assert (part == (BIG + 1)[3:5]).all()
    del part
    assert reader.returned() == ([0], [])


def test_what_does_not_fit_travels_inline_and_is_asked_for() -> None:
    writer, _ = ends()
    large = np.ones(1 << 17, np.uint8)
    writer.begin()
    first, second = writer.put(BIG), writer.put(large)
    assert isinstance(first, msgspec.msgpack.Ext)
    assert isinstance(second, msgspec.msgpack.Ext)
    assert (first.code, second.code) == (SHARED, INLINE)
    assert writer.wanted >= BIG.nbytes + large.nbytes
    writer.end()


def test_small_blocks_are_forgotten_when_larger_ones_are_used() -> None:
    writer, reader = ends()
    (view,) = through(writer, reader, BIG)
    made = reader.make(1 << 20)
    assert made is not None
    writer.add(*made)
    assert reader.bytes == (1 << 16) + (1 << 20)
    del view
    assert reader.returned() == ([], [0])
    writer.drop(0)
    assert reader.bytes == 1 << 20
    (view,) = through(writer, reader, BIG)
    assert (view == BIG).all()


def test_memory_is_bounded() -> None:
    reader = Reader(1 << 20)
    made = [block for block in (reader.make(300_000) for _ in range(5)) if block is not None]
    for _, descriptor in made:
        os.close(descriptor)
    assert reader.bytes <= 1 << 20
    assert len(made) == 2
    assert reader.make(1 << 40) is None


def test_a_worker_cannot_cut_a_block_short() -> None:
    _, descriptor = Reader(LIMIT).make(1 << 16) or (0, -1)
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)
    os.close(descriptor)


def test_places_outside_of_a_block_are_refused() -> None:
    import struct

    writer, reader = ends()
    through(writer, reader, BIG)
    reader.returned()
    reader.enter(0)
    for number, start in ((0, 1 << 16), (0, (1 << 16) - 8), (9, 0), (0, (1 << 64) - 1)):
        with pytest.raises((TypeError, IndexError, OverflowError, ValueError)):
            reader.get(memoryview(struct.pack("<IQ", number, start)))
    with pytest.raises(KeyError):
        reader.enter(0)
    with pytest.raises(KeyError):
        reader.enter(7)
    with pytest.raises((TypeError, ValueError)):
        array_from_frame(memoryview(msgspec.msgpack.encode(("O", (1,), b"12345678"))))
