"""A runtime whose doors echo, and a raw client: what the transports are tested between.

The door is a collaborator in its own right: it keeps the contract of `openenv.server.contract` and does what
its messages say, at once or in a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, Self
from urllib.parse import parse_qs

from openenv.errors import EnvironmentFactoryError, SessionCapacityError
from openenv.protocol import handshake
from openenv.protocol import websocket as ws
from openenv.protocol.extended import codec_of
from openenv.protocol.websocket import Close, Event, Frames
from openenv.server.asgi_ws import websocket_endpoint
from openenv.server.contract import MAX_PENDING, Send
from openenv.server.contract import Close as CloseConnection
from openenv.server.security import Rejection
from openenv.session.quarantine import Quarantine
from openenv.session.shards import Shard


class EchoDoor:
    """Echoes texts; a few words mean more. Replies come from a thread if `threaded`, else from a shard if
    there is one, else at once."""

    def __init__(
        self,
        query: Mapping[str, list[str]],
        subprotocol: str | None,
        send: Send,
        close: CloseConnection,
        shard: Shard | None = None,
    ) -> None:
        self.shard = None if "threaded" in query else shard
        self.query = query
        self.extended = codec_of(subprotocol) is not None
        self.on_drained: Callable[[], None] | None = None
        self.received: list[bytes] = []
        self.opened = False
        self.losses = 0
        self.most_pending = 0
        self._send = send
        self._close = close
        self._submitted = self._answered = 0
        self._jobs: queue.SimpleQueue[tuple[bytes, bool] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def pending(self) -> int:
        return self._submitted - self._answered

    async def open(self) -> None:
        if "slow" in self.query:
            await asyncio.sleep(float(self.query["slow"][0]))
        refuse = self.query.get("refuse", [""])[0]
        if refuse == "capacity":
            raise SessionCapacityError(3, 3)
        if refuse == "factory":
            raise EnvironmentFactoryError("Broken")
        if refuse == "crash":
            raise ZeroDivisionError("crash")
        if "threaded" in self.query:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        self.opened = True

    def receive(self, payload: bytes, binary: bool) -> None:
        self.received.append(payload)
        self._submitted += 1
        self.most_pending = max(self.most_pending, self.pending)
        if payload == b"raise":
            raise ZeroDivisionError("raise")
        if self._thread is not None:
            self._jobs.put((payload, binary))
        elif self.shard is not None:
            self.shard.submit(lambda: self._answer(payload, binary))
        else:
            self._answer(payload, binary)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._answer(*job)

    def _answer(self, payload: bytes, binary: bool) -> None:
        words = payload.split(b" ", 2)
        if binary:
            self._send(b"binary %d" % len(payload))
        elif words[0] == b"close":
            self._close(int(words[1]), words[2].decode())
        elif words[0] == b"big":
            self._send(b"x" * int(words[1]))
        elif words[0] == b"many":
            for index in range(int(words[1])):
                self._send(b"%d" % index)
        elif words[0] == b"sleep":
            time.sleep(float(words[1]))
            self._send(payload)
        elif words[0] == b"extended?":
            self._send(b"yes" if self.extended else b"no")
        else:
            self._send(payload)
        self._answered += 1
        if self.on_drained is not None and self.pending <= MAX_PENDING:
            self.on_drained()

    async def lost(self) -> None:
        self.losses += 1
        self._jobs.put(None)


class EchoRuntime:
    """Makes echo doors and remembers them."""

    websocket_paths = frozenset({"/ws", "/mcp"})

    def __init__(self, max_frame_bytes: int = 1 << 20, shard: Shard | None = None) -> None:
        self.max_frame_bytes = max_frame_bytes
        self.shard = shard
        self.doors: list[EchoDoor] = []
        self.requests: list[tuple[str, str, str | None]] = []

    def authorize(
        self, method: str, path: str, headers: Mapping[str, str], query: str, client: str | None
    ) -> Rejection | None:
        self.requests.append((path, query, client))
        if headers.get("authorization") == "Bearer wrong":
            return Rejection(401, "The token is not the right one.", {"www-authenticate": "Bearer"})
        return None

    def open_door(
        self,
        path: str,
        query: str,
        headers: Mapping[str, str],
        subprotocol: str | None,
        send: Send,
        close: CloseConnection,
        client: str | None,
    ) -> EchoDoor:
        door = EchoDoor(parse_qs(query, keep_blank_values=True), subprotocol, send, close, self.shard)
        self.doors.append(door)
        return door


@contextlib.contextmanager
def running_shard(wanted: bool = True) -> Iterator[Shard | None]:
    """A shard for doors to live on, looked after as a session manager does; None if not wanted."""
    if not wanted:
        yield None
        return
    shard, over = Shard("test-shard", Quarantine()), threading.Event()

    def look_after() -> None:
        while not over.wait(0.05):
            shard.check()

    guard = threading.Thread(target=look_after, daemon=True)
    guard.start()
    try:
        yield shard
    finally:
        over.set()
        guard.join()
        shard.stop()


class EchoApp:
    """An ASGI application with the runtime's doors; `state.openenv` is there if `raw`."""

    def __init__(self, runtime: EchoRuntime, *, raw: bool) -> None:
        self.runtime = runtime
        self.state = SimpleNamespace(openenv=runtime) if raw else SimpleNamespace()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "websocket" and scope["path"] in self.runtime.websocket_paths:
            await websocket_endpoint(self.runtime, scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (event := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": "own " + event["text"]})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"hello"})


class Refused(Exception):
    """The server did not switch to WebSocket."""

    def __init__(self, response: handshake.ResponseHead, body: bytes) -> None:
        super().__init__(f"{response.status} {body!r}")
        self.response = response
        self.body = body


class RawClient:
    """A blocking WebSocket client that sends exactly the bytes it is told."""

    def __init__(
        self,
        url: str,
        path: str = "/ws",
        *,
        headers: dict[str, str] | None = None,
        subprotocols: tuple[str, ...] = (),
        tls: ssl.SSLContext | None = None,
        receive_buffer: int | None = None,
        timeout: float = 10.0,
    ) -> None:
        self.frames = Frames("client")
        self._events: list[Event] = []
        self.socket, host = self._connect(url, receive_buffer)
        try:
            if tls is not None:
                self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
            self.socket.settimeout(timeout)
            self.subprotocol = self._shake_hands(host, path, headers or {}, subprotocols)
        except BaseException:
            self.socket.close()
            raise

    def _connect(self, url: str, receive_buffer: int | None) -> tuple[socket.socket, str]:
        if url.startswith("unix:"):
            sock, host, address = socket.socket(socket.AF_UNIX), "localhost", url.removeprefix("unix:")
        else:
            sock = socket.socket()
            host, _, port = url.partition("://")[2].rpartition(":")
            address = (host, int(port))  # type: ignore[assignment]
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            sock.connect(address)
        except BaseException:
            sock.close()
            raise
        return sock, host

    def _shake_hands(
        self, host: str, path: str, headers: dict[str, str], subprotocols: tuple[str, ...]
    ) -> str | None:
        data, key = handshake.client_handshake(host, path, headers, subprotocols)
        self.socket.sendall(data)
        head = b""
        while handshake.HEAD_END not in head:
            head += self._read()
        head, _, rest = head.partition(handshake.HEAD_END)
        response = handshake.parse_response_head(head)
        if response.status != 101:
            while more := self.socket.recv(65536):
                rest += more
            raise Refused(response, rest)
        self._events += self.frames.feed(rest)
        return handshake.check_response(response, key, subprotocols)

    def _read(self) -> bytes:
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def text(self, *payloads: bytes) -> None:
        """Send text messages, all at once."""
        self.send(b"".join(ws.text_frame(payload, mask=True) for payload in payloads))

    def event(self) -> Event:
        """The next event; ConnectionError at the end of the stream."""
        while not self._events:
            self._events += self.frames.feed(self._read())
        return self._events.pop(0)

    def reply(self) -> bytes:
        """The next message's payload; pings are answered on the way."""
        while isinstance(event := self.event(), ws.Ping):
            self.send(ws.pong_frame(event.payload, mask=True))
        assert isinstance(event, (ws.Text, ws.Binary)), event
        return event.payload

    def ask(self, payload: bytes) -> bytes:
        """Send a text message and return the reply."""
        self.text(payload)
        return self.reply()

    def closing(self, *, cleanly: bool = True) -> Close:
        """Skip what comes until the server's close frame, and answer it.

        Args:
            cleanly: insist that the server reads our answer and ends the stream without a reset.
        """
        while not isinstance(event := self.event(), Close):
            pass
        with contextlib.nullcontext() if cleanly else contextlib.suppress(ConnectionError):
            if not self.closed:
                self.send(ws.close_frame(event.code, mask=True))
            self.ended()
        return event

    closed = False

    def close(self, code: int = 1000) -> Close:
        """Send a close frame and return the server's."""
        self.closed = True
        self.send(ws.close_frame(code, mask=True))
        return self.closing()

    def ended(self) -> None:
        """Read to the end of the stream, which must come."""
        while self.socket.recv(65536):
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.005)
