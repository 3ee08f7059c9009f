"""The ASGI WebSocket transport: the same doors under any ASGI server, and under a test client.

Where somebody else owns the socket (plain uvicorn, Starlette's `TestClient`), messages come and go as ASGI
events. Two tasks serve a connection: one reads and hands messages to the door, one sends what the door wants
sent, from whatever thread. A reply that the door gives at once, while it takes the message, is sent by the
reading task itself, without waking the other.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from openenv.errors import OpenEnvError, SessionCapacityError
from openenv.protocol import websocket as ws
from openenv.protocol.handshake import MSGPACK_SUBPROTOCOL
from openenv.server.contract import (
    MAX_PENDING,
    MAX_UNREAD_BYTES,
    Door,
    DoorRuntime,
    refusal,
    select_subprotocol,
)
from openenv.server.scope import Scope, client_of, headers_of, path_of, query_of
from openenv.server.security import Rejection

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
AsgiSend = Callable[[Message], Awaitable[None]]

logger = logging.getLogger("openenv.server.websocket")


async def websocket_endpoint(runtime: DoorRuntime, scope: Scope, receive: Receive, send: AsgiSend) -> None:
    """Serve one WebSocket connection: an ASGI application for scopes of type `websocket`.

    Args:
        runtime: where the connection's door comes from.
        scope: the connection's ASGI scope; its path must be one of the runtime's.
        receive: the ASGI channel of incoming events.
        send: the ASGI channel of outgoing events.
    """
    if (await receive())["type"] != "websocket.connect":
        return
    path, query, headers = path_of(scope), query_of(scope), headers_of(scope)
    peer = client_of(scope)
    client = peer[0] if peer else None
    rejection = runtime.authorize("WEBSOCKET", path, headers, query, client)
    if rejection is not None:
        await _refuse(scope, send, rejection)
        return
    selected = select_subprotocol(scope.get("subprotocols", ()), path)
    await send({"type": "websocket.accept", "subprotocol": selected})
    outbox = _Outbox(send, 2 * runtime.max_frame_bytes)
    say = outbox.send_binary if selected == MSGPACK_SUBPROTOCOL else outbox.send_text
    door = runtime.open_door(path, query, headers, selected, say, outbox.close, client)
    connection = _Connection(
        door, outbox, receive, runtime.max_frame_bytes, lambda error: say(refusal(selected, error))
    )
    tasks = {asyncio.create_task(work) for work in (connection.open(), connection.read(), outbox.pump())}
    try:
        await outbox.finished
    finally:
        outbox.stop()
        await asyncio.shield(_release(door, tasks))


async def _release(door: Door, tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    try:
        await asyncio.wait(tasks)
    finally:  # A loop that ends with the request (a test client's) cancels this too.
        try:
            await door.lost()
        except Exception:  # Boundary: nobody is left to tell.
            logger.exception("Releasing a WebSocket connection's session failed")


async def _refuse(scope: Scope, send: AsgiSend, rejection: Rejection) -> None:
    """Answer with the rejection's status where the server can; elsewhere a close becomes a 403."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": ws.POLICY_VIOLATION, "reason": rejection.detail})
        return
    body = json.dumps({"detail": rejection.detail}).encode()
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in rejection.headers.items()]
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "websocket.http.response.start", "status": rejection.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


class _Connection:
    """The incoming half: reads ASGI events, hands messages to the door once it is open."""

    def __init__(
        self,
        door: Door,
        outbox: _Outbox,
        receive: Receive,
        max_bytes: int,
        refuse: Callable[[OpenEnvError], None],
    ) -> None:
        self._refuse = refuse
        self._door = door
        self._outbox = outbox
        self._receive = receive
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[bytes, bool]] = deque()
        self._loop = asyncio.get_running_loop()
        self._opened = asyncio.Event()

    async def open(self) -> None:
        """Open the door, then hand over what arrived meanwhile."""
        try:
            await self._door.open()
        except OpenEnvError as error:
            code = ws.TRY_AGAIN_LATER if isinstance(error, SessionCapacityError) else ws.NORMAL
            self._refuse(error)
            self._outbox.close(code, "")
        except Exception:  # Boundary: whatever a door raises ends this connection only.
            logger.exception("Opening a WebSocket connection failed")
            self._outbox.close(ws.INTERNAL_ERROR, "internal error")
        else:
            while self._waiting:
                await self._hand_over(*self._waiting.popleft())
            self._opened.set()

    async def read(self) -> None:
        """Read until the peer is gone."""
        try:
            while True:
                message = await self._receive()
                if message["type"] != "websocket.receive":
                    return
                text = message.get("text")
                payload = message["bytes"] if text is None else text.encode("utf-8", "surrogatepass")
                if len(payload) > self._max_bytes:
                    self._outbox.close(ws.TOO_BIG, f"the limit is {self._max_bytes} bytes")
                elif self._opened.is_set():
                    await self._hand_over(payload, text is None)
                else:
                    self._waiting.append((payload, text is None))
                    if len(self._waiting) > MAX_PENDING:
                        await self._opened.wait()
        finally:
            self._outbox.stop()

    async def _hand_over(self, payload: bytes, binary: bool) -> None:
        self._outbox.flushed_by_caller = True
        try:
            self._door.receive(payload, binary)
        except Exception:  # Boundary: whatever a door raises ends this connection only.
            logger.exception("A WebSocket message could not be taken")
            self._outbox.close(ws.INTERNAL_ERROR, "internal error")
        finally:
            self._outbox.flushed_by_caller = False
        await self._outbox.flush()
        while self._door.pending > MAX_PENDING:
            await self._drained()
        while self._outbox.buffered > MAX_UNREAD_BYTES:
            await self._outbox.progress()

    async def _drained(self) -> None:
        """Wait until the door has caught up."""
        drained = self._loop.create_future()

        def tell() -> None:
            if not drained.done():
                drained.set_result(None)

        def on_drained() -> None:
            self._loop.call_soon_threadsafe(tell)

        self._door.on_drained = on_drained
        try:
            if self._door.pending > MAX_PENDING:  # else it caught up before it knew whom to tell
                await drained
        finally:
            self._door.on_drained = None


class _Outbox:
    """The outgoing half: takes messages from any thread, sends them one after another.

    Attributes:
        flushed_by_caller: what is put in now, on the loop's thread, will be flushed without waking the pump.
        finished: done when nothing more will be sent.
    """

    def __init__(self, send: AsgiSend, max_bytes: int) -> None:
        self.flushed_by_caller = False
        self._send = send
        self._max_bytes = max_bytes
        self._loop = asyncio.get_running_loop()
        self.finished: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._messages: deque[tuple[Message, int]] = deque()
        self._buffered = 0
        self._accepting = True
        self._flushing = False
        self._waking = False  # a wake-up of the pump is on its way
        self._wake: asyncio.Future[None] | None = None
        self._progress: asyncio.Future[None] | None = None

    @property
    def buffered(self) -> int:
        """Bytes that the server has not taken."""
        return self._buffered

    def send_text(self, payload: bytes) -> None:
        """Send one text message; from any thread."""
        self._put({"type": "websocket.send", "text": payload.decode()}, len(payload))

    def send_binary(self, payload: bytes) -> None:
        """Send one binary message; from any thread."""
        self._put({"type": "websocket.send", "bytes": payload}, len(payload))

    def close(self, code: int, reason: str) -> None:
        """Close the connection after what was sent before; from any thread."""
        self._put({"type": "websocket.close", "code": code, "reason": reason}, 0, last=True)

    def _put(self, message: Message, size: int, *, last: bool = False) -> None:
        with self._lock:
            if not self._accepting:
                return
            self._accepting = not last
            self._messages.append((message, size))
            self._buffered += size
            if self._buffered > self._max_bytes:
                logger.info("WebSocket connection given up: the peer left %d bytes unread", self._buffered)
                self._accepting, action = False, self.stop
            elif self._waking or (self.flushed_by_caller and threading.get_ident() == self._thread):
                return
            else:
                self._waking, action = True, self._wake_pump
        try:
            self._loop.call_soon_threadsafe(action)
        except RuntimeError:  # The loop is closed, and with it the connection.
            self._accepting = False

    def _wake_pump(self) -> None:
        self._waking = False
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def stop(self) -> None:
        """Accept and send nothing more. On the loop's thread only."""
        with self._lock:
            self._accepting = False
            self._messages.clear()
            self._buffered = 0
        if not self.finished.done():
            self.finished.set_result(None)

    async def pump(self) -> None:
        """Send what is put in, for as long as this task lives."""
        while True:
            await self.flush()
            if not self._messages or self._flushing:
                self._wake = self._loop.create_future()
                await self._wake

    async def flush(self) -> None:
        """Send what is there, unless that is being done already."""
        if self._flushing:
            return
        self._flushing = True
        try:
            while self._messages:
                message, size = self._messages.popleft()
                await self._send(message)
                with self._lock:
                    self._buffered -= size
                if self._progress is not None and not self._progress.done():
                    self._progress.set_result(None)
                if message["type"] == "websocket.close":
                    self.stop()
        # Boundary: servers differ in what they raise when the peer is gone; it is gone in any case.
        except Exception as error:
            logger.debug("WebSocket connection lost while sending: %r", error)
            self.stop()
        finally:
            self._flushing = False

    async def progress(self) -> None:
        """Wait until something was sent."""
        if self._flushing:
            self._progress = self._loop.create_future()
            await self._progress
        else:
            await self.flush()
