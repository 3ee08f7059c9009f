"""A server that does exactly what a test tells it to, over a real socket."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from openenv.protocol.handshake import HEAD_END, accept_response, check_request, parse_request_head
from openenv.protocol.websocket import (
    PONG,
    Binary,
    Close,
    Event,
    Frames,
    Ping,
    Pong,
    Text,
    binary_frame,
    close_frame,
    encode_frame,
    ping_frame,
    text_frame,
)


class Peer:
    """The server's end of one connection."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.frames = Frames("server")
        self.waiting: list[Event] = []
        self.extended = False
        self.request_head: Any = None
        self.delays_close = False
        self.knows_tokens = False
        self.ending: Callable[[], object] = lambda: None
        self.binary = False

    def head(self) -> Any:
        data = b""
        while HEAD_END not in data:
            piece = self.link.recv(65536)
            if not piece:
                raise ConnectionError
            data += piece
        self.request_head = parse_request_head(data)
        return self.request_head

    def accept(self, *, extended: bool = False, binary: bool = False) -> None:
        key = check_request(self.request_head or self.head())
        self.extended = extended
        self.binary = binary
        name = "openenv.2.msgpack" if binary else "openenv.2.json"
        self.link.sendall(accept_response(key, name if extended else None))

    def event(self) -> Event:
        while not self.waiting:
            data = self.link.recv(65536)
            if not data:
                raise ConnectionError("the client hung up")
            self.waiting = self.frames.feed(data)
        return self.waiting.pop(0)

    def request(self) -> dict[str, Any]:
        while True:
            event = self.event()
            if isinstance(event, Text | Binary):
                assert isinstance(event, Binary) is self.binary
                decode = msgspec.msgpack.decode if self.binary else json.loads
                message: dict[str, Any] = decode(event.payload)
                if message["type"] == "close" and not self.delays_close and "session" not in message:
                    self.ending()
                    self.close()
                    raise ConnectionError("the client ended the session")
                if message["type"] == "token" and not self.knows_tokens:
                    self.unknown(message)
                    continue
                return message
            if isinstance(event, Ping):
                self.link.sendall(encode_frame(PONG, event.payload))
            elif isinstance(event, Close):
                raise ConnectionError("the client closed")
            else:
                assert isinstance(event, Pong)

    def send(self, message: Any, request: dict[str, Any] | None = None) -> None:
        if request is not None and "id" in request:
            message = {**message, "id": request["id"]}
        if self.binary:
            self.raw(binary_frame(msgspec.msgpack.encode(message)))
        else:
            self.raw(text_frame(json.dumps(message).encode()))

    def unknown(self, request: dict[str, Any]) -> None:
        """Answer a message that this server does not know."""
        data = {"message": "Unknown message type", "code": "UNKNOWN_TYPE"}
        self.send({"type": "error", "data": data}, request)

    def raw(self, data: bytes) -> None:
        self.link.sendall(data)

    def ping(self) -> None:
        self.raw(ping_frame(b"there?"))

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.raw(close_frame(code, reason))

    def observe(self, request: dict[str, Any], reward: Any = None, done: bool = False, **fields: Any) -> None:
        data = {"observation": fields, "reward": reward, "done": done}
        self.send({"type": "observation", "data": data}, request)

    def counter(self) -> None:
        """Serve a counting environment until the client goes."""
        count = 0
        while True:
            request = self.request()
            kind = request["type"]
            if kind == "reset":
                count = 0
                self.observe(request, count=0)
            elif kind == "step":
                count += 1
                self.observe(request, reward=1.0, done=count >= 100_000, count=count, got=request["data"])
            elif kind == "open":
                self.unknown(request)
            elif kind == "state":
                self.send({"type": "state", "data": {"episode_id": "e", "step_count": count}}, request)

    def document(self, value: Any) -> None:
        """Answer an HTTP request with JSON."""
        body = json.dumps(value).encode()
        self.raw(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


Script = Callable[[Peer], None]


class ScriptedServer:
    """Plays one script per connection; the last script is played for all further ones."""

    def __init__(
        self, *scripts: Script, context: ssl.SSLContext | None = None, path: Path | None = None
    ) -> None:
        self.scripts = list(scripts)
        self.peers: list[Peer] = []
        self.errors: list[BaseException] = []
        self._context = context
        self._threads: list[threading.Thread] = []
        if path is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
            scheme = "https" if context else "http"
            self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
            self._listener.listen()
            self.url = f"unix:{path}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
            thread = threading.Thread(target=self._play, args=(link, script), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _play(self, link: socket.socket, script: Script) -> None:
        try:
            if self._context is not None:
                link = self._context.wrap_socket(link, server_side=True)
            peer = Peer(link)
            self.peers.append(peer)
            script(peer)
        except (ConnectionError, ssl.SSLError, OSError):
            pass
        except BaseException as problem:
            self.errors.append(problem)
        finally:
            link.close()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(5)
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.link.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()
        assert not self.errors, self.errors


def counting(peer: Peer) -> None:
    """A plain, well-behaved server."""
    peer.accept()
    peer.counter()


def counting_extended(peer: Peer) -> None:
    """An extended, well-behaved server."""
    peer.accept(extended=True)
    peer.counter()


def environment(
    schema: dict[str, Any], play: Script, *, metadata: Any = None, extended: bool = False
) -> Script:
    """A server with `/schema` and `/metadata` whose sessions follow `play`."""

    def script(peer: Peer) -> None:
        path = peer.head().path
        if path == "/schema":
            peer.document(schema)
        elif path == "/metadata":
            peer.document(metadata)
        else:
            peer.accept(extended=extended)
            play(peer)

    return script


def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait for something that another thread does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
