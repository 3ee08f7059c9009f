"""Arrays between a pool and a worker: by shared memory where there is room, else inside the frame.

The pool makes blocks of anonymous shared memory (`memfd_create`: they have no name, so nothing can be left
behind) and passes each to its worker once. A worker writes all arrays of a frame into one free block; the
pool wraps the block in one NumPy array, of which every observation's array is a view. As soon as the last
view is gone, the block is free again. So a view stays valid and unchanged for as long as anybody holds it,
and what a caller keeps costs memory, never correctness: when no block is free, arrays travel in the frame.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import sys
from collections import deque
from typing import Any

import msgspec

INLINE, SHARED = 1, 2
"""Codes of the two forms of an array: in the frame, in shared memory."""
JSON_TEXT = 3
"""Code of data that has only a JSON form."""
MIN_SHARED_BYTES = 4096
"""Smaller arrays travel in the frame: copying them costs less than finding them."""
_ALIGN = 64
_MOST_KINDS = 4096
"""Shapes that a worker introduces; environments that never show the same one twice must not pile them up."""
_PLACE = struct.Struct("<IQ")
_pack, _unpack = _PLACE.pack, _PLACE.unpack
_Ext = msgspec.msgpack.Ext
_SEALS = 0x0002 | 0x0004 | 0x0001  # F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL
_F_ADD_SEALS = 1033

Kind = tuple[str, tuple[int, ...]]


def array_in_frame(value: Any) -> msgspec.msgpack.Ext | list[Any]:
    """The form of an array inside a frame: dtype, shape and bytes; nested lists where it has no bytes."""
    if value.dtype.hasobject or value.dtype.names is not None:
        listed: list[Any] = value.tolist()
        return listed
    return msgspec.msgpack.Ext(
        INLINE, msgspec.msgpack.encode((value.dtype.str, value.shape, value.tobytes()))
    )


def array_from_frame(data: memoryview) -> Any:
    """Read an array that travelled inside a frame; it may be written to."""
    import numpy

    dtype, shape, raw = msgspec.msgpack.decode(data)
    return numpy.frombuffer(bytearray(raw), numpy.dtype(dtype)).reshape(shape)


class Writer:
    """A worker's end: puts arrays into blocks.

    Attributes:
        wanted: bytes of all arrays since `begin`, if one of them found no room; else 0.
        news: kinds of array met for the first time since `begin`: dtype and shape.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, mmap.mmap] = {}
        self._free: list[int] = []
        self._kinds: dict[tuple[Any, tuple[int, ...]], tuple[int | None, int]] = {}
        self._count = 0
        self._block: int | None = None
        self._view = _NOTHING
        self._room = self._used = self._total = 0
        self._full = False
        self.news: list[Kind] = []

    def add(self, number: int, descriptor: int) -> None:
        """Map a block that the pool has made."""
        try:
            self._blocks[number] = mmap.mmap(descriptor, 0)
        finally:
            os.close(descriptor)
        self._free.append(number)

    def free(self, number: int) -> None:
        """The pool is done with a block."""
        if number in self._blocks and number not in self._free:
            self._free.append(number)

    def drop(self, number: int) -> None:
        """Forget a block that the pool is done with."""
        self._blocks.pop(number).close()

    def begin(self) -> None:
        """A new frame begins; it gets the largest free block, of those the last that was freed.

        That one is most likely still in the processor's cache.
        """
        self._block, self._room, self._used, self._total = None, 0, 0, 0
        self._full = False
        self.news = []
        if self._free:
            self._block = max(reversed(self._free), key=lambda number: len(self._blocks[number]))
            self._view = memoryview(self._blocks[self._block])
            self._room = len(self._view)

    @property
    def wanted(self) -> int:
        """Bytes of all arrays of the frame, if one of them found no room."""
        return self._total if self._full else 0

    def end(self) -> int | None:
        """The frame is complete; the block it uses, if it uses one."""
        block, self._block = self._block, None
        self._view.release()
        self._view = _NOTHING
        if block is None or not self._used:
            return None
        self._free.remove(block)
        return block

    def put(self, value: Any) -> msgspec.msgpack.Ext | list[Any]:
        """An array as it goes into the frame."""
        kind = (value.dtype, value.shape)
        known = self._kinds.get(kind)
        if known is None:
            known = self._introduce(value, kind)
        number, size = known
        if number is None:
            return array_in_frame(value)
        self._total += size
        start, end = self._used, self._used + value.nbytes
        if end > self._room:
            self._full = True
            return array_in_frame(value)
        try:
            self._view[start:end] = memoryview(value).cast("B")
        except (ValueError, TypeError):  # not row by row, or a kind that a memoryview has no letter for
            self._view[start:end] = _bytes_of(value)
        self._used = start + size
        return _Ext(SHARED, _pack(number, start))

    def _introduce(self, value: Any, kind: tuple[Any, tuple[int, ...]]) -> tuple[int | None, int]:
        """Give a kind of array a number and the room that it takes; none, if it is not for blocks."""
        dtype, shape = kind
        if len(self._kinds) > _MOST_KINDS:
            return None, 0
        if value.nbytes < MIN_SHARED_BYTES or dtype.hasobject or dtype.names is not None:
            known: tuple[int | None, int] = (None, 0)
        else:
            known = (self._count, -(-value.nbytes // _ALIGN) * _ALIGN)
            self._count += 1
            self.news.append((dtype.str, shape))
        self._kinds[kind] = known
        return known


def _bytes_of(value: Any) -> memoryview:
    """An array's bytes, row by row."""
    import numpy

    flat: memoryview = numpy.ascontiguousarray(value).reshape(-1).view("u1").data
    return flat


_NOTHING = memoryview(b"")


class _Lease:
    """Keeps a block from being used again; NumPy holds it for as long as a view exists."""

    __slots__ = ("__array_interface__", "_number", "_owner", "block")

    def __init__(self, owner: deque[int], number: int, block: mmap.mmap, address: int) -> None:
        self.block = block
        self._owner = owner
        self._number = number
        self.__array_interface__ = {
            "version": 3,
            "shape": (len(block),),
            "typestr": "|u1",
            "data": (address, False),
        }

    def __del__(self) -> None:
        self._owner.append(self._number)


class Reader:
    """The pool's end of one worker's blocks.

    Args:
        limit_bytes: how much shared memory this worker may have.

    Attributes:
        bytes: shared memory mapped now, in bytes.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.bytes = 0
        self._limit = limit_bytes
        self._blocks: dict[int, tuple[mmap.mmap, int]] = {}
        self._out: set[int] = set()
        self._returned: deque[int] = deque()
        self._count = 0
        self._kinds: list[tuple[Any, tuple[int, ...]]] = []
        self._largest = 0
        self._array: Any = None
        self._whole: Any = None

    def learn(self, kinds: list[Any]) -> None:
        """Note kinds of array that the worker has met."""
        if not kinds:
            return
        import numpy

        self._array = numpy.ndarray
        self._kinds += [(numpy.dtype(dtype), tuple(shape)) for dtype, shape in kinds]

    def enter(self, number: int | None) -> None:
        """The frame to be read uses a block.

        Raises:
            KeyError: it is none that the worker may write to.
        """
        self._whole = None
        if number is None:
            return
        import numpy

        block, address = self._blocks[number]
        if number in self._out:
            raise KeyError(number)
        self._out.add(number)
        self._whole = numpy.asarray(_Lease(self._returned, number, block, address))

    def leave(self) -> None:
        """The frame has been read: from here on its views alone hold the block."""
        self._whole = None

    def get(self, data: memoryview) -> Any:
        """A view of an array in the frame's block.

        Raises:
            IndexError: no such kind of array.
            ValueError: it lies outside the block.
        """
        number, start = _unpack(data)
        dtype, shape = self._kinds[number]
        return self._array(shape, dtype, self._whole, start)

    def returned(self) -> tuple[list[int], list[int]]:
        """Blocks whose last view has gone since the last call.

        Returns:
            Those to be used again, and those that have become too small and are forgotten.
        """
        free: list[int] = []
        drop: list[int] = []
        while self._returned:
            number = self._returned.popleft()
            if number in self._out:
                self._out.discard(number)
                size = len(self._blocks[number][0])
                if size * 2 <= self._largest:
                    del self._blocks[number]
                    self.bytes -= size
                    drop.append(number)
                else:
                    free.append(number)
        return free, drop

    def make(self, wanted: int) -> tuple[int, int] | None:
        """Make a block for at least `wanted` bytes.

        Returns:
            Its number and a descriptor for the worker, which the caller closes; None at the limit.
        """
        size = max(1 << 16, 1 << (wanted - 1).bit_length(), self._largest)
        if self.bytes + size > self._limit:
            size = -(-wanted // mmap.PAGESIZE) * mmap.PAGESIZE
            if self.bytes + size > self._limit:
                return None
        descriptor = os.memfd_create("openenv-pool", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, size)
        # Sealed, so that a worker cannot cut it short under the pool's feet (SIGBUS).
        fcntl.fcntl(descriptor, _F_ADD_SEALS, _SEALS)
        block = mmap.mmap(descriptor, size)
        number = self._count
        self._count += 1
        self._blocks[number] = (block, _address(block))
        self.bytes += size
        self._largest = max(self._largest, size)
        return number, descriptor

    def close(self) -> None:
        """Forget every block; those that views hold go with the last view."""
        self._whole = None
        self._blocks.clear()
        self.bytes = 0


def _address(block: mmap.mmap) -> int:
    import numpy

    where: int = numpy.frombuffer(block, "u1").__array_interface__["data"][0]
    return where


def numpy_loaded() -> Any:
    """NumPy, if this process uses it."""
    return sys.modules.get("numpy")
