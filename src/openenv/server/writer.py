"""The outgoing half of a connection: frames from any thread, in order, straight to the socket.

As long as the socket takes everything, `write` is one system call in the caller's own thread: a session's
thread answers its client without waking the event loop. When the socket is full, what is left over goes to
the event loop's transport, and so does every later frame until the transport has sent it all; one lock makes
the change between the two ways atomic, so that frames never interleave. TLS connections, whose bytes only
the transport can make, always take the second way.

The lock also guards the file descriptor: it is used only while the transport has not lost the connection, and
the transport closes it only after telling us so.
"""

from __future__ import annotations

import array
import asyncio
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Protocol
from weakref import WeakKeyDictionary

from openenv.protocol.websocket import binary_frame, text_frame
from openenv.session.shards import Shard

Chunk = bytes | memoryview


BATCH_FROM = 8
"""Connections of a loop from which on their replies are gathered: for fewer, the extra turn costs more."""


class Turns(Protocol):
    """A thread that works in turns: an event loop's, or a shard's (`openenv.session.shards.Shard`)."""

    @property
    def thread_id(self) -> int:
        """Ident of the thread."""
        ...

    def defer(self, action: Callable[[], None]) -> None:
        """Do something at the end of the present turn."""


class LoopTurns:
    """The turns of the running event loop, in this thread."""

    __slots__ = ("_loop", "thread_id")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self.thread_id = threading.get_ident()

    def defer(self, action: Callable[[], None]) -> None:
        """Do something at the end of the present turn."""
        loop = self._loop()
        if loop is not None:
            loop.call_soon(action)


class Outbox:
    """Replies that leave together, at the end of a thread's turn.

    A reply that is written at once wakes the client that waits for it, and on another core that costs more
    than making the reply. Written together, most of them find their reader awake.

    Args:
        turns: the thread.

    Attributes:
        turns: the thread.
        connections: connections that gather their replies here.
    """

    __slots__ = ("__weakref__", "_writers", "connections", "turns")

    _of: WeakKeyDictionary[asyncio.AbstractEventLoop, Outbox] = WeakKeyDictionary()

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self._writers: deque[FrameWriter] = deque()
        self.connections = 0

    @classmethod
    def of_loop(cls, loop: asyncio.AbstractEventLoop) -> Outbox:
        """The outbox of the running loop."""
        return cls._of.get(loop) or cls._of.setdefault(loop, cls(LoopTurns(loop)))

    @classmethod
    def of_shard(cls, shard: Shard) -> Outbox:
        """The outbox of a shard."""
        if shard.outbox is None:
            shard.outbox = cls(shard)
        outbox: Outbox = shard.outbox
        return outbox

    def add(self, writer: FrameWriter) -> None:
        """Let a corked writer send at the end of this turn. In the outbox's own thread only."""
        first = not self._writers
        self._writers.append(writer)
        if first:
            self.turns.defer(self.send)

    def send(self) -> None:
        """Send everything now; from any thread."""
        while True:
            try:
                writer = self._writers.popleft()
            except IndexError:
                return
            writer.uncork()


class FrameWriter:
    """Writes frames to one connection.

    Must be made on the event loop's thread, before anything of the connection's new protocol was written. The
    connection's protocol must pass `resume_writing` on to it.

    Args:
        transport: the connection.
        loop: its event loop.
        max_buffered_bytes: how much a slow peer may leave unread before the connection is given up.
        on_change: called on the loop's thread when the number of buffered bytes was looked at anew.
        on_broken: called on the loop's thread, once, if the connection must be given up; says why.
    """

    __slots__ = (
        "_clear",
        "_corked",
        "_counted",
        "_direct",
        "_ended",
        "_fd",
        "_finish",
        "_handed",
        "_limit",
        "_lock",
        "_loop",
        "_on_broken",
        "_on_change",
        "_outbox",
        "_scheduled",
        "_spill",
        "_spilled",
        "_thread",
        "_transport",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        *,
        max_buffered_bytes: int,
        on_change: Callable[[], None],
        on_broken: Callable[[str], None],
    ) -> None:
        sock = transport.get_extra_info("socket")
        encrypted = transport.get_extra_info("ssl_object") is not None
        self._transport = transport
        self._loop = loop
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._limit = max_buffered_bytes
        self._on_change = on_change
        self._on_broken = on_broken
        self._outbox = Outbox.of_loop(loop)
        self._outbox.connections += 1
        self._counted = True
        self._direct = os.name == "posix" and sock is not None and not encrypted
        self._fd: int = sock.fileno() if sock is not None else -1
        if self._direct:
            # The transport then says when its last byte is gone, not when a low-water mark is reached.
            transport.set_write_buffer_limits(high=0)
        # Nothing waits anywhere, and the caller's thread may write.
        self._clear = self._direct and transport.get_write_buffer_size() == 0
        # A flush is certain to come: it is on the loop's list, or the transport will resume.
        self._scheduled = False
        self._corked = False
        self._ended = False  # nothing more is accepted: closing, or closed
        self._finish: Callable[[], None] | None = None  # what to do when all is with the transport
        self._spill: list[Chunk] = []
        self._spilled = 0  # bytes in _spill
        self._handed = 0  # bytes in the transport, when last looked at

    @property
    def buffered(self) -> int:
        """Bytes that the peer has not taken, as far as known."""
        return self._spilled + self._handed

    def unacknowledged(self) -> int:
        """Bytes that the peer's machine has not taken, counted now. On the loop's thread only.

        This includes the kernel's queue where it tells us: a peer that reads slowly is seen to read.
        """
        with self._lock:
            self._handed = self._transport.get_write_buffer_size()
            return self._spilled + self._handed + _queued_by_kernel(self._fd)

    def send_text(self, payload: bytes) -> None:
        """Send one text message; from any thread."""
        self._send(text_frame(payload))

    def send_binary(self, payload: bytes) -> None:
        """Send one binary message; from any thread."""
        self._send(binary_frame(payload))

    def _send(self, frame: bytes) -> None:
        outbox = self._outbox
        if outbox.connections >= BATCH_FROM and threading.get_ident() == outbox.turns.thread_id:
            self._send_later(frame)
        else:
            self.write(frame)

    def _send_later(self, frame: bytes) -> None:
        """Send a frame at the end of this thread's turn, with those of the other connections."""
        with self._lock:
            if self._ended:
                return
            first = self._clear
            if first:
                self._clear = False
                self._corked = self._scheduled = True
            coming = self._put(frame)
        if first:
            self._outbox.add(self)
        elif not coming:
            self._on_loop(self._flush)

    def write(self, frame: bytes, *, last: bool = False) -> None:
        """Send one frame; from any thread. After the last one, and after the connection's end, do nothing.

        Args:
            frame: a complete frame.
            last: accept no more frames after this one.
        """
        with self._lock:
            if self._ended:
                return
            self._ended = last
            if self._put(frame):
                return
        self._on_loop(self._flush)

    def _put(self, data: bytes) -> bool:
        """Send or queue bytes; return whether a flush is not needed or will come. The lock is held."""
        rest: Chunk = data
        if self._clear:
            try:
                sent = os.write(self._fd, data)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self._break(f"writing failed: {error}")
                return True
            if sent == len(data):
                return True
            rest = memoryview(data)[sent:]
            self._clear = False
        self._spill.append(rest)
        self._spilled += len(rest)
        if self._spilled + self._handed > self._limit:
            self._break(f"the peer left {self._spilled + self._handed} bytes unread")
            return True
        coming, self._scheduled = self._scheduled, True
        return coming

    @property
    def direct(self) -> bool:
        """Whether frames go straight to the socket as long as it takes them."""
        return self._direct

    def gather(self, outbox: Outbox) -> None:
        """Gather replies in this outbox from now on. On the loop's thread only."""
        with self._lock:
            if self._counted:
                self._outbox.connections -= 1
                outbox.connections += 1
                self._outbox = outbox

    def cork(self) -> None:
        """Gather what is written from now on into one system call. On the loop's thread only."""
        with self._lock:
            if self._clear:
                self._clear = False
                self._corked = self._scheduled = True

    def uncork(self) -> None:
        """Send what was gathered; from any thread."""
        with self._lock:
            if not self._corked:
                return
            self._corked = self._scheduled = False
            data = b"".join(self._spill)
            self._spill.clear()
            self._spilled = 0
            if not data:
                self._clear = not self._ended
                return
            self._clear = True
            sent = self._put(data)
            finish = self._finish if sent and self._clear else None
        if finish is not None:
            self._on_loop(finish)
        elif not sent:
            self._on_loop(self._flush)

    def resume_writing(self) -> None:
        """The transport has room again; a direct one has sent everything."""
        self._flush()

    def close_when_sent(self) -> None:
        """Close the connection after what was written. On the loop's thread only."""
        self._when_sent(self._transport.close)

    def end_when_sent(self) -> None:
        """After what was written, tell the peer that no more comes. On the loop's thread only.

        The peer sees the end of the stream and closes; a connection that cannot be half closed is closed.
        """
        can = self._transport.can_write_eof()
        self._when_sent(self._transport.write_eof if can else self._transport.close)

    def _when_sent(self, finish: Callable[[], None]) -> None:
        with self._lock:
            self._ended, self._finish = True, finish
            if self._spill:
                return
        finish()

    def lost(self) -> None:
        """The connection is gone: nothing is written any more, least of all to the file descriptor."""
        with self._lock:
            if self._counted:
                self._counted = False
                self._outbox.connections -= 1
            self._ended = True
            self._clear = False
            self._fd = -1
            self._spill.clear()
            self._spilled = self._handed = 0

    def _break(self, reason: str) -> None:
        """Give the connection up. The lock is held."""
        self._ended = True
        self._clear = False
        self._spill.clear()
        self._spilled = 0
        try:
            self._loop.call_soon_threadsafe(self._on_broken, reason)
        except RuntimeError:  # The loop is closed, and with it the connection.
            self._fd = -1

    def _on_loop(self, action: Callable[[], None]) -> None:
        if threading.get_ident() == self._thread:
            action()
            return
        try:
            self._loop.call_soon_threadsafe(action)
        except RuntimeError:  # The loop is closed, and with it the connection.
            self.lost()

    def _flush(self) -> None:
        """Hand what waits to the transport, and see whether it could send it."""
        transport = self._transport
        while True:
            with self._lock:
                chunks, self._spill = self._spill, []
                self._spilled = 0
                if not chunks:
                    self._settle()
                    break
            if not transport.is_closing():
                transport.write(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        if self._finish is not None:
            self._finish()
        self._on_change()

    def _settle(self) -> None:
        """Everything is with the transport: go back to direct writes if it has sent it. Holds the lock."""
        self._handed = self._transport.get_write_buffer_size()
        if not self._direct:
            self._scheduled = False
        elif self._handed == 0:
            self._scheduled = False
            self._clear = not self._ended and self._fd >= 0


if sys.platform == "linux":
    import fcntl
    import termios

    def _queued_by_kernel(descriptor: int) -> int:
        """Bytes in a socket's send queue that the peer's machine has not acknowledged."""
        if descriptor < 0:
            return 0
        answer = array.array("i", [0])
        try:
            fcntl.ioctl(descriptor, termios.TIOCOUTQ, answer)
        except OSError:  # Not a kind of socket that knows.
            return 0
        return answer[0]

else:

    def _queued_by_kernel(descriptor: int) -> int:
        """Unknown on this platform."""
        return 0
