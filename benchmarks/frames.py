"""Just enough WebSocket (RFC 6455, RFC 7692) for a load generator, written apart from both packages."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import zlib
from typing import Final

TEXT: Final = 1
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

_MASK: Final = bytes((0x37, 0xFA, 0x21, 0x3D))
_DEFLATE_TAIL: Final = b"\x00\x00\xff\xff"
_OFFER: Final = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"


class Refused(Exception):
    """The server did not upgrade the connection."""


def masked(payload: bytes) -> bytes:
    """XOR `payload` with the fixed mask of this client."""
    size = len(payload)
    mask = int.from_bytes((_MASK * (size // 4 + 1))[:size])
    return (int.from_bytes(payload) ^ mask).to_bytes(size)


def client_frame(payload: bytes, *, opcode: int = TEXT, compressed: bool = False) -> bytes:
    """Build one final, masked frame."""
    first = 0x80 | (0x40 if compressed else 0) | opcode
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2)
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8)
    return head + _MASK + masked(payload)


class Socket:
    """A blocking handshake, then frames over a non-blocking socket.

    Attributes:
        fd: file descriptor of the socket.
        compressing: whether the server accepted permessage-deflate.
    """

    __slots__ = ("_buffer", "_deflater", "_inflater", "_parts", "compressing", "fd", "sock")

    def __init__(self, port: int, path: str = "/ws", *, offer_deflate: bool, timeout_s: float = 30.0) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fd = self.sock.fileno()
        self._parts: list[tuple[bytes, bool]] = []
        head = self._handshake(port, path, _OFFER if offer_deflate else "")
        self.compressing = "permessage-deflate" in head
        # A window of 12 bits is legal towards any server and is what servers of this family ask for.
        self._deflater = zlib.compressobj(wbits=-12, memLevel=5) if self.compressing else None
        self._inflater = zlib.decompressobj(wbits=-15) if self.compressing else None

    def _handshake(self, port: int, path: str, extensions: str) -> str:
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"{extensions}\r\n".encode()
        )
        received = b""
        while b"\r\n\r\n" not in received:
            chunk = self.sock.recv(4096)
            if not chunk:
                break
            received += chunk
        head, _, rest = received.partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n", 1)[0] + b" ":
            self.sock.close()
            raise Refused(head.decode("latin-1", "replace")[:200] or "connection closed")
        self._buffer = bytearray(rest)
        return head.decode("latin-1").lower()

    def encode(self, payload: bytes) -> bytes:
        """Turn a message into the frame this connection sends."""
        if self._deflater is None:
            return client_frame(payload)
        packed = self._deflater.compress(payload) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
        return client_frame(packed[:-4], compressed=True)

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take received bytes; return complete messages as (opcode, payload)."""
        self._buffer += data
        messages = []
        while (frame := self._take_frame()) is not None:
            first, payload = frame
            opcode = first & 0x0F
            if opcode >= CLOSE:
                messages.append((opcode, payload))
                continue
            self._parts.append((payload, bool(first & 0x40)))
            if first & 0x80:
                messages.append((TEXT, self._join()))
        return messages

    def _take_frame(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, start = buffer[1] & 0x7F, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start])
        if len(buffer) < start + size:
            return None
        first, payload = buffer[0], bytes(buffer[start : start + size])
        del buffer[: start + size]
        return first, payload

    def _join(self) -> bytes:
        compressed = self._parts[0][1]
        payload = b"".join(part for part, _ in self._parts)
        self._parts.clear()
        if not compressed or self._inflater is None:
            return payload
        return self._inflater.decompress(payload + _DEFLATE_TAIL)

    def call(self, payload: bytes) -> bytes:
        """Send one message and wait for its reply, blocking."""
        self.sock.sendall(self.encode(payload))
        while True:
            data = self.sock.recv(1 << 16)
            if not data:
                raise ConnectionError("the server closed the connection")
            for opcode, message in self.feed(data):
                if opcode == TEXT:
                    return message
                if opcode == CLOSE:
                    raise ConnectionError(f"the server closed the socket: {message!r}")
                self.answer(opcode, message)

    def answer(self, opcode: int, payload: bytes) -> None:
        """Answer a ping."""
        if opcode == PING:
            self.sock.sendall(client_frame(payload, opcode=PONG))

    def close(self) -> None:
        """Close politely: a close frame, then the socket."""
        with self.sock, contextlib.suppress(ConnectionError):  # the server may have gone first
            self.sock.setblocking(True)
            self.sock.sendall(client_frame((1000).to_bytes(2), opcode=CLOSE))
