"""Frames over a Unix socket between a pool and its processes, with file descriptors beside them.

A frame is its length in four bytes and a payload. `Channel` blocks (nursery and workers); `Feed` is the
non-blocking end that a pool keeps, so that two full sockets can never wait for each other.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections import deque
from collections.abc import Sequence

from openenv.errors import ProtocolError

MAX_FRAME_BYTES = 1 << 30
"""Longest frame accepted: a worker runs an author's code, and must not make its pool swallow memory."""
_READ_BYTES = 1 << 18
_HEAD = struct.Struct("!I")
_MAX_DESCRIPTORS = 64


def framed(payload: bytes | bytearray) -> bytes:
    """A payload as a frame."""
    return _HEAD.pack(len(payload)) + payload


class Incoming:
    """Bytes as they arrive, cut into frames."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """Take bytes; return the frames that are complete.

        Raises:
            ProtocolError: a frame longer than any that is sent.
        """
        held = self._bytes
        held += data
        frames = []
        start = 0
        while len(held) - start >= 4:
            (length,) = _HEAD.unpack_from(held, start)
            if length > MAX_FRAME_BYTES:
                raise ProtocolError(f"a frame of {length} bytes")
            if len(held) - start - 4 < length:
                break
            frames.append(bytes(held[start + 4 : start + 4 + length]))
            start += 4 + length
        del held[:start]
        return frames


class Channel:
    """The blocking end of a socket.

    Attributes:
        descriptors: those that have arrived and were not taken.
    """

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.descriptors: deque[int] = deque()
        self._incoming = Incoming()
        self._frames: deque[bytes] = deque()

    def send(self, payload: bytes | bytearray, descriptors: Sequence[int] = ()) -> None:
        """Send a frame.

        Raises:
            OSError: the other end is gone.
        """
        data = memoryview(framed(payload))
        if descriptors:
            sent = socket.send_fds(self.link, [data], descriptors)
            data = data[sent:]
        self.link.sendall(data)

    def recv(self) -> bytes | None:
        """The next frame; None if the other end is gone."""
        while not self._frames:
            try:
                data, passed, _, _ = socket.recv_fds(self.link, _READ_BYTES, _MAX_DESCRIPTORS)
            except ConnectionError:
                return None
            self.descriptors.extend(passed)
            if not data:
                return None
            self._frames.extend(self._incoming.feed(data))
        return self._frames.popleft()


class Feed:
    """The pool's end of a worker's socket: only `drain` blocks."""

    def __init__(self, link: socket.socket) -> None:
        link.setblocking(False)
        self.link = link
        self._incoming = Incoming()
        self._outgoing: deque[tuple[memoryview, Sequence[int]]] = deque()
        self._buffer = bytearray(_READ_BYTES)
        self._view = memoryview(self._buffer)

    @property
    def blocked(self) -> bool:
        """Whether something waits until the socket takes it."""
        return bool(self._outgoing)

    def send(self, payload: bytes | bytearray, descriptors: Sequence[int] = ()) -> None:
        """Send a frame, or keep what the socket does not take yet.

        Args:
            payload: the frame.
            descriptors: travel with it, and are closed here once they have been sent.
        """
        self._outgoing.append((memoryview(framed(payload)), descriptors))
        self.flush()

    def flush(self) -> None:
        """Send what was kept; an error shows up when the socket is read."""
        while self._outgoing:
            data, descriptors = self._outgoing[0]
            try:
                if descriptors:
                    sent = socket.send_fds(self.link, [data], descriptors)
                else:
                    sent = self.link.send(data)
            except BlockingIOError:
                return
            except OSError:
                self._drop_outgoing()
                return
            for descriptor in descriptors:
                os.close(descriptor)
            if sent == len(data):
                self._outgoing.popleft()
            else:
                self._outgoing[0] = (data[sent:], ())

    def read(self) -> tuple[list[bytes], bool]:
        """What has arrived.

        Returns:
            Frames, and whether the other end is still there.

        Raises:
            ProtocolError: a frame longer than any that is sent.
        """
        frames: list[bytes] = []
        for _ in range(64):  # then others get their turn
            try:
                count = self.link.recv_into(self._buffer)
            except BlockingIOError:
                return frames, True
            except OSError:
                return frames, False
            if not count:
                return frames, False
            frames += self._incoming.feed(self._view[:count])
            if count < _READ_BYTES:
                return frames, True
        return frames, True

    def drain(self, deadline: float) -> None:
        """Send what was kept and read, to no purpose, until the other end closes or it is too late."""
        self.link.setblocking(True)
        try:
            for data, _ in self._outgoing:
                self.link.settimeout(max(0.001, deadline - time.monotonic()))
                self.link.sendall(data)
            while (left := deadline - time.monotonic()) > 0:
                self.link.settimeout(left)
                if not self.link.recv_into(self._buffer):
                    return
        except OSError:
            return

    def close(self) -> None:
        """Close the socket."""
        self._drop_outgoing()
        self.link.close()

    def _drop_outgoing(self) -> None:
        for _, descriptors in self._outgoing:
            for descriptor in descriptors:
                os.close(descriptor)
        self._outgoing.clear()
