"""One WebSocket connection on a socket of ours, with a door behind it.

The connection is an explicit state machine::

    NEW ── 101 ──> OPENING ── door.open() ──> OPEN ──> DRAINING ──> CLOSING ──> LOST
     └─ refused ───────┴───────────────────────┴───────────────────────┴──────────^

Messages that arrive while the door opens wait; while it drains, none is taken any more. `CLOSING` begins with
our close frame: input is read and thrown away until the peer's close frame or the end of a timeout, because a
socket closed over unread input resets the connection and takes the last reply with it.

Reading stops while the door or the peer is too far behind (`_regulate`), and a peer that does not answer a
ping in time is taken for dead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from enum import IntEnum
from typing import Any, Protocol, cast

from openenv.errors import OpenEnvError, SessionCapacityError
from openenv.protocol import handshake
from openenv.protocol import websocket as ws
from openenv.protocol.handshake import MSGPACK_SUBPROTOCOL, HandshakeError, RequestHead
from openenv.protocol.websocket import Binary, Close, Event, Frames, Ping, Text, WebSocketError
from openenv.server.contract import (
    MAX_PENDING,
    MAX_UNREAD_BYTES,
    Door,
    DoorRuntime,
    Send,
    refusal,
    select_subprotocol,
)
from openenv.server.shard_reader import ShardReader
from openenv.server.transport_settings import TransportSettings
from openenv.server.writer import FrameWriter, Outbox

logger = logging.getLogger("openenv.server.websocket")

_DRAIN_POLL_S = 0.02


class ServerState(Protocol):
    """What uvicorn shares between its connections: it shuts down when both sets are empty."""

    connections: set[Any]
    tasks: set[asyncio.Task[None]]


class Phase(IntEnum):
    """Where a connection stands; it only ever moves down this list."""

    NEW = 0
    OPENING = 1
    OPEN = 2
    DRAINING = 3
    CLOSING = 4
    LOST = 5


class DoorConnection(asyncio.Protocol):
    """A connection to one of the runtime's WebSocket paths.

    Args:
        runtime: where its door comes from.
        settings: its bounds.
        state: uvicorn's shared state.
        loop: the event loop it lives on.
    """

    __slots__ = (
        "_deliver_soon",
        "_delivering",
        "_door",
        "_frames",
        "_has_door",
        "_heard",
        "_loop",
        "_opening",
        "_paused",
        "_phase",
        "_reader",
        "_runtime",
        "_send",
        "_settings",
        "_state",
        "_subprotocol",
        "_timer",
        "_transport",
        "_waiting",
        "_writer",
    )
    _transport: asyncio.Transport
    _writer: FrameWriter
    _door: Door
    _subprotocol: str | None
    _send: Send

    def __init__(
        self,
        runtime: DoorRuntime,
        settings: TransportSettings,
        state: ServerState,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._runtime = runtime
        self._settings = settings
        self._state = state
        self._loop = loop
        self._phase = Phase.NEW
        self._frames = Frames("server", runtime.max_frame_bytes)
        self._waiting: list[Text | Binary] = []
        self._paused = False
        self._delivering = False
        self._deliver_soon = False
        self._heard = True  # since the last ping
        self._timer: asyncio.TimerHandle | None = None  # of the ping, the drain or the close
        self._opening: asyncio.Task[None] | None = None
        self._has_door = False
        self._reader: ShardReader | None = None  # while a shard reads the socket

    # The connection begins ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection over from uvicorn's HTTP protocol."""
        self._transport = cast(asyncio.Transport, transport)
        limit = self._settings.max_buffered_bytes
        self._writer = FrameWriter(
            self._transport,
            self._loop,
            max_buffered_bytes=2 * self._runtime.max_frame_bytes if limit is None else limit,
            on_change=self._regulate,
            on_broken=self._abandon,
        )
        self._state.connections.add(self)

    def begin(self, request: RequestHead) -> None:
        """Answer the handshake and open the door."""
        peer = self._peer()
        rejection = self._runtime.authorize("WEBSOCKET", request.path, request.headers, request.query, peer)
        if rejection is not None:
            self._refuse(rejection.status, rejection.detail, rejection.headers)
            return
        try:
            key = handshake.check_request(request)
        except HandshakeError as error:
            self._refuse(error.status, error.message, error.headers)
            return
        selected = select_subprotocol(handshake.offered_subprotocols(request.headers), request.path)
        writer = self._writer
        self._subprotocol = selected
        self._send = writer.send_binary if selected == MSGPACK_SUBPROTOCOL else writer.send_text
        self._writer.write(handshake.accept_response(key, selected))
        self._phase = Phase.OPENING
        self._door = self._runtime.open_door(
            request.path,
            request.query,
            request.headers,
            selected,
            self._send,
            self.close,
            peer,
        )
        self._has_door = True
        self._opening = self._start(self._open())
        self._await_ping()

    def _peer(self) -> str | None:
        address = self._transport.get_extra_info("peername")
        return str(address[0]) if isinstance(address, tuple) and address else None

    def _refuse(self, status: int, detail: str, headers: dict[str, str]) -> None:
        self._phase = Phase.CLOSING
        self._writer.write(handshake.reject_response(status, detail, headers), last=True)
        self._hang_up()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run work that uvicorn waits for when it shuts down."""
        task = self._loop.create_task(work)
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)
        return task

    async def _open(self) -> None:
        try:
            await self._door.open()
        except OpenEnvError as error:
            code = ws.TRY_AGAIN_LATER if isinstance(error, SessionCapacityError) else ws.NORMAL
            self._send(refusal(self._subprotocol, error))
            self.close(code, "")
        except Exception:  # Boundary: whatever a door raises ends this connection only.
            logger.exception("Opening a WebSocket connection failed")
            self.close(ws.INTERNAL_ERROR, "internal error")
        else:
            if self._phase is Phase.OPENING:
                self._phase = Phase.OPEN
                self._deliver()
                self._lend()
        finally:
            self._opening = None

    # A shard reads the socket ------------------------------------------------------------------------

    def _lend(self) -> None:
        """Let the shard on which the session lives read the socket: then no message crosses threads."""
        shard = self._door.shard if self._phase is Phase.OPEN else None
        busy = self._waiting or self._paused or self._reader is not None
        if shard is None or busy or not self._writer.direct or self._transport.is_closing():
            return
        self._transport.pause_reading()
        self._writer.gather(Outbox.of_shard(shard))
        descriptor = self._transport.get_extra_info("socket").fileno()
        self._reader = ShardReader(
            shard,
            descriptor,
            self._frames,
            self._hand_over,
            self._door,
            self._writer,
            hand_back=lambda: self._soon(self._recall),
            part=lambda: self._soon(self._part),
        )
        self._reader.start()

    def _recall(self) -> None:
        """Read the socket on the loop again, beginning with what the shard left."""
        reader, self._reader = self._reader, None
        if reader is None:
            return
        events, error = reader.stop()
        self._heard = self._heard or reader.heard
        if self._phase is Phase.LOST:
            return
        self._writer.gather(Outbox.of_loop(self._loop))
        if not self._transport.is_closing():
            self._transport.resume_reading()
        self._take(events)
        if error is not None:
            self._fail(error)

    def _part(self) -> None:
        """Read on the loop while the shard is stuck, so that pings are answered."""
        shard = self._door.shard
        if self._reader is not None and shard is not None:
            self._recall()
            shard.when_recovered(lambda: self._soon(self._lend))

    # Bytes come in -----------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take what arrived."""
        self._heard = True
        try:
            events = self._frames.feed(data)
        except WebSocketError as error:
            self._fail(error)
            return
        if len(events) == 1 and self._phase is Phase.OPEN and not self._waiting:
            event = events[0]
            if type(event) is Text:
                self._hand_over(event)
                if self._door.pending > MAX_PENDING:
                    self._regulate()
                return
        self._take(events)

    def _fail(self, error: WebSocketError) -> None:
        """The peer broke the rules. What it still sends means nothing, so its close frame is not awaited."""
        if self._phase >= Phase.CLOSING:
            return
        self._take(error.events)
        self._writer.write(ws.close_frame(error.close_code, error.message), last=True)
        self._closing()
        self._writer.end_when_sent()

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, (Text, Binary)):
                if self._phase <= Phase.OPEN:
                    self._waiting.append(event)
            elif isinstance(event, Ping):
                self._writer.write(ws.pong_frame(event.payload))
            elif isinstance(event, Close):
                self._peer_closed(event)
                return
        self._deliver()

    def _hand_over(self, event: Text | Binary) -> None:
        try:
            self._door.receive(event.payload, type(event) is Binary)
        except Exception:  # Boundary: whatever a door raises ends this connection only.
            logger.exception("A WebSocket message could not be taken")
            self.close(ws.INTERNAL_ERROR, "internal error")

    def _deliver(self) -> None:
        """Hand over what waits, up to a fair share of this turn of the loop and to what the door can hold."""
        self._deliver_soon = False
        waiting, several = self._waiting, len(self._waiting) > 1
        if several:
            self._writer.cork()
        self._delivering, taken = True, 0
        for event in waiting[:MAX_PENDING]:
            if self._phase is not Phase.OPEN or not self._keeping_up():
                break
            taken += 1
            self._hand_over(event)
        del waiting[:taken]
        self._delivering = False
        if several:
            self._writer.uncork()
        self._regulate()

    def _keeping_up(self) -> bool:
        return self._door.pending <= MAX_PENDING and self._writer.buffered <= MAX_UNREAD_BYTES

    def _regulate(self) -> None:
        """Stop or resume reading; see to it that what waits is handed over as soon as it can be."""
        if self._delivering or self._reader is not None:
            return  # it ends with this; a shard that cannot keep up hands the socket back
        if self._phase in (Phase.OPENING, Phase.OPEN):
            behind = len(self._waiting) > MAX_PENDING if self._phase is Phase.OPENING else bool(self._waiting)
            pause = behind or (self._phase is Phase.OPEN and not self._keeping_up())
        else:
            pause = False  # nothing is kept any more, and the peer's close frame must be seen
        if self._phase is Phase.OPEN:
            self._door.on_drained = self._on_drained if pause else None
            if self._waiting and self._keeping_up() and not self._deliver_soon:
                self._deliver_soon = True
                self._loop.call_soon(self._deliver)
        if pause is self._paused or self._transport.is_closing():
            return
        self._paused = pause
        if pause:
            self._transport.pause_reading()
            if self._phase is Phase.OPEN and self._keeping_up() and not self._waiting:
                self._regulate()  # the door caught up before it knew whom to tell
        else:
            self._transport.resume_reading()
            self._lend()

    def _on_drained(self) -> None:
        """The door caught up. Called from any thread."""
        self._soon(self._deliver)

    def _soon(self, action: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(action)
        except RuntimeError:  # The loop is closed, and with it the connection.
            self._phase = Phase.LOST

    def resume_writing(self) -> None:
        """The transport sent what it had."""
        self._writer.resume_writing()

    # Signs of life -----------------------------------------------------------------------------------

    def _set_timer(self, seconds: float, action: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, action)

    def _await_ping(self, since_s: float = 0.0) -> None:
        """Set the timer of the next ping, when the last one was so long ago."""
        if self._settings.ping_interval_s is not None:
            self._set_timer(max(self._settings.ping_interval_s - since_s, 0.0), self._ping)

    def _ping(self) -> None:
        self._heard = False
        if self._reader is not None:
            self._reader.heard = False
        unread = self._writer.unacknowledged()
        if not self._writer.buffered:  # else it would only queue up behind what is not taken either
            self._writer.write(ws.ping_frame())
        self._set_timer(self._settings.ping_timeout_s, lambda: self._check_life(unread))

    def _check_life(self, unread: int) -> None:
        """Whether the peer showed a sign of life since the ping: bytes sent, or bytes taken."""
        left = self._writer.unacknowledged()
        held_back = self._paused and not self._writer.buffered  # we do not read: no sign can reach us
        heard = self._heard or (self._reader is not None and self._reader.heard)
        if heard or left < unread or held_back:
            self._await_ping(since_s=self._settings.ping_timeout_s)
            return
        self._abandon("the peer did not answer a ping")

    def _abandon(self, reason: str) -> None:
        """Give the connection up: nothing that we write would arrive."""
        if self._phase is not Phase.LOST:
            logger.info("WebSocket connection given up: %s", reason)
            self._transport.abort()

    # The connection ends -----------------------------------------------------------------------------

    def close(self, code: int, reason: str) -> None:
        """Close the connection after what was sent before; from any thread."""
        self._writer.write(ws.close_frame(code, reason), last=True)
        self._soon(self._closing)

    def _closing(self) -> None:
        if self._phase >= Phase.CLOSING:
            return
        self._phase = Phase.CLOSING
        self._waiting.clear()
        self._recall()
        self._regulate()
        self._set_timer(self._settings.close_timeout_s, self._transport.abort)

    def _peer_closed(self, event: Close) -> None:
        if self._phase is Phase.OPEN:
            self._deliver()  # what came before it counts: it may be the end of sessions that would live on
        if self._phase is not Phase.CLOSING:
            self._phase = Phase.CLOSING
            self._waiting.clear()
            self._writer.write(ws.close_frame(event.code), last=True)
        self._hang_up()

    def _hang_up(self) -> None:
        self._set_timer(self._settings.close_timeout_s, self._transport.abort)
        self._writer.close_when_sent()

    def shutdown(self) -> None:
        """The server shuts down: take no more messages, let those in flight finish, then close with 1012."""
        if self._phase is Phase.OPENING and self._opening is not None:
            self._opening.cancel()
            self.close(ws.SERVICE_RESTART, "server shutting down")
        elif self._phase is Phase.OPEN:
            self._phase = Phase.DRAINING
            self._waiting.clear()
            self._recall()
            self._regulate()
            self._drain(self._loop.time() + self._settings.drain_s, idle=False)

    def _drain(self, deadline: float, *, idle: bool) -> None:
        """Close once nothing was in flight at two looks in a row: a reply may be just on its way to us."""
        if self._phase is not Phase.DRAINING:
            return
        was_idle, idle = idle, self._door.pending == 0
        if (idle and was_idle) or self._loop.time() >= deadline:
            self.close(ws.SERVICE_RESTART, "server shutting down")
        else:
            self._set_timer(_DRAIN_POLL_S, lambda: self._drain(deadline, idle=idle))

    def eof_received(self) -> bool:
        """The peer sends nothing more: what it asked is answered, for `drain_s` at most; then we are done."""
        asked = self._phase <= Phase.DRAINING and (bool(self._waiting) or self._door.pending > 0)
        if asked and self._transport.get_extra_info("sslcontext") is None:
            self._answer_rest(self._loop.time() + self._settings.drain_s, idle=False)
            return True
        return False

    def _answer_rest(self, deadline: float, *, idle: bool) -> None:
        was_idle, idle = idle, not self._waiting and self._door.pending == 0
        if (idle and was_idle) or self._loop.time() >= deadline:
            self._phase = Phase.CLOSING
            self._hang_up()
        else:
            self._set_timer(_DRAIN_POLL_S, lambda: self._answer_rest(deadline, idle=idle))

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone: release the door."""
        self._phase = Phase.LOST
        self._recall()
        self._writer.lost()
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._has_door:
            self._start(self._release())
        self._state.connections.discard(self)

    async def _release(self) -> None:
        """Release the door, after an opening that was still under way was called off."""
        opening = self._opening
        if opening is not None:
            opening.cancel()
            await asyncio.wait((opening,))
        try:
            await asyncio.shield(self._door.lost())
        except Exception:  # Boundary: nobody is left to tell.
            logger.exception("Releasing a WebSocket connection's session failed")
