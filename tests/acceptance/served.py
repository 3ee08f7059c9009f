"""`openenv serve` as a process, and clients of it that share no code with it: HTTP and a raw WebSocket."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PATIENCE_S = 20.0
_ANNOUNCED = re.compile(r" at (http://127\.0\.0\.1:(\d+))\s*$")


def eventually(check: Callable[[], Any], what: str = "it") -> Any:
    """Wait until something holds, and return it."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := check()):
        assert time.monotonic() < deadline, f"{what} never came to hold"
        time.sleep(0.01)
    return found


class Server:
    """A running `openenv serve`; what it writes on stdout and stderr is kept."""

    def __init__(self, target: str | Path, *options: str, cwd: Path, **variables: str) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("OPENENV_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "openenv.cli", "serve", str(target), "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**inherited, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", **variables},
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        found = eventually(self._announced, "the server's start")
        self.url, self.port = found[1], int(found[2])

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line.decode("utf-8", "replace"))

    def _announced(self) -> re.Match[str] | None:
        assert self.process.poll() is None, f"the server did not start:\n{self.output}"
        return next((m for line in list(self._lines) if (m := _ANNOUNCED.search(line))), None)

    @property
    def output(self) -> str:
        """Everything written so far."""
        return "".join(self._lines)

    def stop(self) -> None:
        """End it, by its pid, however busy it is."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def http(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request on a connection of its own; `x_openenv_session="..."` sends that header."""
        return ask(self.port, method, path, body, **headers)

    def socket(self, path: str = "/ws", **headers: str) -> Socket:
        """A WebSocket."""
        return Socket(self.port, path, **headers)

    def active(self, token: str | None = None) -> int:
        """How many sessions hold a slot, as its metrics tell."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        text = self.http("GET", "/metrics", **headers).body.decode()
        found = re.search(r"^openenv_sessions_active(?:{[^}]*})? (\d+)", text, re.MULTILINE)
        assert found, text
        return int(found[1])


class Answer:
    """An HTTP response."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def session(self) -> str:
        return self.headers["x-openenv-session"]

    @property
    def cookie(self) -> str:
        """What a browser sends back."""
        return self.headers["set-cookie"].partition(";")[0]

    def all_bytes(self) -> bytes:
        return repr(self.headers).encode() + b"\n" + self.body


def ask(port: int, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """One HTTP request; `body` is bytes, or a value sent as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        sent = {"content-type": "application/json"} if raw is not None else {}
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        connection.request(method, path, raw, sent)
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


class Refused(Exception):
    """The handshake of a WebSocket was answered with something else."""

    def __init__(self, status: int, answer: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.answer = answer


class Closed(Exception):
    """The server closed the WebSocket."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Socket:
    """A WebSocket written by hand on a TCP socket.

    Attributes:
        received: every byte that came from the server.
    """

    def __init__(self, port: int, path: str = "/ws", **headers: str) -> None:
        self.tcp = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.received = bytearray()
        self._at = 0
        lines = {"host": f"127.0.0.1:{port}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        key = base64.b64encode(os.urandom(16)).decode()
        head = f"GET {path} HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        head += f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        try:
            self.tcp.sendall(head.encode("latin-1") + b"\r\n")
            self.head = self._head()
        except BaseException:
            self.tcp.close()
            raise

    def _head(self) -> bytes:
        while (end := self.received.find(b"\r\n\r\n")) < 0:
            self._more()
        self._at = end + 4
        status = int(self.received.split(b" ", 2)[1])
        if status != 101:
            length = re.search(rb"content-length: *(\d+)", self.received.lower())
            self._take(int(length[1]) if length else 0)
            raise Refused(status, bytes(self.received))
        return bytes(self.received[:end])

    def _more(self) -> None:
        data = self.tcp.recv(1 << 16)
        if not data:
            raise ConnectionResetError("the server hung up")
        self.received += data

    def _take(self, size: int) -> bytes:
        while len(self.received) < self._at + size:
            self._more()
        self._at += size
        return bytes(self.received[self._at - size : self._at])

    def send(self, message: Any, *, opcode: int = 1) -> None:
        """Send bytes or text as they are, anything else as JSON, in one masked frame."""
        if isinstance(message, str):
            message = message.encode()
        payload: bytes = message if isinstance(message, bytes) else json.dumps(message).encode()
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
        elif size < 1 << 16:
            head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
        # The mask is zero: a legal one, and the payload need not be rewritten.
        self.tcp.sendall(head + b"\0\0\0\0" + payload)

    def frame(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload."""
        first, second = self._take(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._take(8))
        assert not second & 0x80, "a server does not mask"
        return first & 0x0F, self._take(size)

    def reply(self) -> Any:
        """The next message, decoded; pings are answered."""
        while True:
            opcode, payload = self.frame()
            if opcode == 1:
                return json.loads(payload, parse_constant=_no_constant)
            if opcode == 8:
                raise Closed(int.from_bytes(payload[:2]))
            if opcode == 9:
                self.send(payload, opcode=10)

    def ask(self, message: Any, *, opcode: int = 1) -> Any:
        self.send(message, opcode=opcode)
        return self.reply()

    def reset(self, **data: Any) -> Any:
        return self.ask({"type": "reset", "data": data})

    def step(self, **action: Any) -> Any:
        return self.ask({"type": "step", "data": action})

    def state(self) -> Any:
        return self.ask({"type": "state"})["data"]

    def close(self) -> None:
        self.tcp.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _no_constant(name: str) -> Any:
    raise AssertionError(f"{name} is no JSON")
