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
_PLACE = struct.Struct("<IQ")
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
        wanted: bytes for which there was no block, since `begin`.
        news: kinds of array met for the first time since `begin`: dtype and shape.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, mmap.mmap] = {}
        self._free: deque[int] = deque()
        self._kinds: dict[Kind, int] = {}
        self._block: int | None = None
        self._view: memoryview | None = None
        self._used = 0
        self.wanted = 0
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
        if number in self._blocks:
            self._free.append(number)

    def drop(self, number: int) -> None:
        """Forget a free block."""
        if number in self._free:
            self._free.remove(number)
            self._blocks.pop(number).close()

    def begin(self) -> None:
        """A new frame begins."""
        self._block, self._used, self.wanted = None, 0, 0
        self.news = []
        if self._free:
            self._block = self._free[0]
            self._view = memoryview(self._blocks[self._block])

    def end(self) -> int | None:
        """The frame is complete; the block it uses, if it uses one."""
        block, self._block = self._block, None
        if self._view is not None:
            self._view.release()
            self._view = None
        if not self._used:
            return None
        self._free.popleft()
        return block

    def put(self, value: Any) -> msgspec.msgpack.Ext | list[Any]:
        """An array as it goes into the frame."""
        size = value.nbytes
        if size < MIN_SHARED_BYTES or value.dtype.hasobject or value.dtype.names is not None:
            return array_in_frame(value)
        start = -(-self._used // _ALIGN) * _ALIGN
        view = self._view
        if view is None or start + size > len(view):
            self.wanted += size + _ALIGN
            return array_in_frame(value)
        if not value.flags.c_contiguous:
            import numpy

            value = numpy.ascontiguousarray(value)
        view[start : start + size] = value.reshape(-1).view("u1").data
        self._used = start + size
        kind = (value.dtype.str, value.shape)
        number = self._kinds.get(kind)
        if number is None:
            number = self._kinds[kind] = len(self._kinds)
            self.news.append(kind)
        return msgspec.msgpack.Ext(SHARED, _PLACE.pack(number, start))


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
        self._kinds: list[tuple[Any, tuple[int, ...], int]] = []
        self._whole: Any = None

    def learn(self, kinds: list[Any]) -> None:
        """Note kinds of array that the worker has met."""
        import numpy

        for dtype, shape in kinds:
            kind = numpy.dtype(dtype)
            size = kind.itemsize
            for length in shape:
                size *= length
            self._kinds.append((kind, tuple(shape), size))

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
        number, start = _PLACE.unpack(data)
        dtype, shape, size = self._kinds[number]
        return self._whole[start : start + size].view(dtype).reshape(shape)

    def returned(self) -> list[int]:
        """Blocks that have become free since the last call."""
        numbers = []
        while self._returned:
            number = self._returned.popleft()
            if number in self._out:
                self._out.discard(number)
                numbers.append(number)
        return numbers

    def make(self, wanted: int) -> tuple[int, int] | None:
        """Make a block for at least `wanted` bytes.

        Returns:
            Its number and a descriptor for the worker, which the caller closes; None at the limit.
        """
        size = max(1 << 16, 1 << (wanted - 1).bit_length())
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
