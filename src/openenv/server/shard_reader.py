"""A connection's socket in the hands of a shard.

While the session of a connection lives on a shard (`openenv.session.shards`), the shard's thread reads the
socket and hands the messages to the door itself. The connection's own event loop keeps everything else: its
transport, whose reading is paused, what could not be written at once, pings, timers, the end. Whatever does
not belong on a shard (a close frame, an offence, the stream's end, a peer or a door too far behind) ends its
reading: the events it did not deliver are kept, and the loop takes them over.

One lock makes the change atomic: messages are handed over while it is held, so none is handed over by the
shard after `stop` has returned.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from openenv.protocol import websocket as ws
from openenv.protocol.websocket import Binary, Event, Frames, Ping, Pong, Text, WebSocketError
from openenv.server.contract import MAX_PENDING, MAX_UNREAD_BYTES, Door
from openenv.server.writer import FrameWriter
from openenv.session.shards import Shard

_CHUNK_BYTES = 64 * 1024


class ShardReader:
    """Reads one connection in a shard's thread.

    Args:
        shard: the shard.
        descriptor: the connection's socket, which stays open until `stop` has returned.
        frames: the incoming half of the connection.
        hand_over: takes a message.
        door: where the messages go; says how many wait there.
        writer: the outgoing half.
        hand_back: called, in any thread, when the connection's loop must take over; it must call `stop`.
        part: called, in another thread, when the shard is stuck; it must call `stop`.

    Attributes:
        heard: whether anything arrived since the flag was last taken down.
    """

    __slots__ = (
        "_descriptor",
        "_door",
        "_error",
        "_frames",
        "_hand_back",
        "_hand_over",
        "_left",
        "_lock",
        "_shard",
        "_stopped",
        "_writer",
        "heard",
        "part",
    )

    def __init__(
        self,
        shard: Shard,
        descriptor: int,
        frames: Frames,
        hand_over: Callable[[Text | Binary], None],
        door: Door,
        writer: FrameWriter,
        hand_back: Callable[[], None],
        part: Callable[[], None],
    ) -> None:
        self._shard = shard
        self._descriptor = descriptor
        self._frames = frames
        self._hand_over = hand_over
        self._door = door
        self._writer = writer
        self._hand_back = hand_back
        self.part = part
        self.heard = False
        self._lock = threading.Lock()
        self._left: list[Event] = []
        self._error: WebSocketError | None = None
        self._stopped = False

    def start(self) -> None:
        """Begin to read."""
        self._shard.add_reader(self._descriptor, self)

    def stop(self) -> tuple[list[Event], WebSocketError | None]:
        """Stop reading.

        Returns:
            The events that were read and not handed over, and how the peer broke the rules after them.
        """
        with self._lock:
            self._stop()
            left, self._left = self._left, []
            return left, self._error

    def _stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            self._shard.remove_reader(self._descriptor)

    def readable(self) -> None:
        """Read what has arrived and hand it over."""
        with self._lock:
            if self._stopped:
                return
            try:
                data = os.read(self._descriptor, _CHUNK_BYTES)
            except BlockingIOError:
                return
            except OSError:  # The loop's transport will find out, and knows what to do.
                data = b""
            if data and self._take(data):
                return
            self._stop()
        self._hand_back()

    def _take(self, data: bytes) -> bool:
        """Hand over what came; return whether to go on reading. The lock is held."""
        self.heard = True
        try:
            events = self._frames.feed(data)
        except WebSocketError as error:
            events, error.events = error.events, []
            self._error = error
        taken = 0
        for event in events:
            if isinstance(event, (Text, Binary)):
                if taken >= MAX_PENDING:
                    break
                self._hand_over(event)
            elif isinstance(event, Ping):
                self._writer.write(ws.pong_frame(event.payload))
            elif not isinstance(event, Pong):
                break
            taken += 1
        self._left = events[taken:]
        return not self._left and self._error is None and self._keeping_up()

    def _keeping_up(self) -> bool:
        return self._door.pending <= MAX_PENDING and self._writer.buffered <= MAX_UNREAD_BYTES
