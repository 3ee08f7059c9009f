"""The few plain HTTP requests a client makes: schema, metadata, health.

One request per connection, over the same sockets as the WebSocket (TCP, TLS or Unix), so that the
standard library's HTTP client, which takes longer to import than the whole of this package, is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from openenv.client.endpoint import Endpoint
from openenv.client.refusals import refusal, unreachable
from openenv.client.sockets import dial
from openenv.errors import ProtocolError
from openenv.protocol.handshake import HEAD_END, MAX_HEAD_BYTES, HandshakeError, parse_response_head

MAX_BODY_BYTES = 32 * 1024 * 1024
"""Largest answer that is read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response.

    Attributes:
        status: status code.
        headers: lower-case names.
        body: the body, chunks joined.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ProtocolError: it is not JSON.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as problem:
            raise ProtocolError(f"The server's answer is not JSON: {problem}") from None


def fetch_json(endpoint: Endpoint, route: str, data: Any = None) -> Any:
    """Get a JSON document; with `data`, post it and get the answer.

    Args:
        endpoint: the server.
        route: path below the endpoint's own, for instance `/schema`.
        data: JSON-able body of a POST request.

    Raises:
        ServerUnreachableError: nothing answers, or not with success.
        AuthenticationError: the server wants a token.
        SessionCapacityError: the server is full.
        ProtocolError: the answer is not JSON.
    """
    body = None if data is None else json.dumps(data, allow_nan=False).encode()
    answer = fetch(endpoint, "GET" if body is None else "POST", route, body)
    if answer.status != 200:
        raise refusal(endpoint.address, answer.status, answer.headers, answer.body)
    return answer.json()


def fetch(endpoint: Endpoint, method: str, route: str, body: bytes | None = None) -> Answer:
    """Make one request.

    Args:
        endpoint: the server.
        method: HTTP method.
        route: path below the endpoint's own.
        body: JSON bytes to send.

    Raises:
        ServerUnreachableError: nothing answers, or not with HTTP.
    """
    address = endpoint.address
    lines = [f"{method} {address.path}{route} HTTP/1.1", f"Host: {address.authority}", "Connection: close"]
    lines += ["Accept: application/json", "Accept-Encoding: identity"]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in endpoint.headers.items()]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")
    link = dial(endpoint)
    deadline = monotonic() + endpoint.connect_timeout_s
    response = _Response()
    try:
        link.sendall(request)
        while not response.complete:
            link.settimeout(max(0.001, deadline - monotonic()))
            piece = link.recv(65536)
            if not piece:
                break
            response.feed(piece)
        return response.answer()
    except HandshakeError as problem:
        raise refusal(address, 0, {}, str(problem).encode()) from None
    except OSError as problem:
        raise unreachable(address, problem) from problem
    finally:
        link.close()


class _Response:
    """Collects one response."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._body_at = -1
        self._length: int | None = None
        self._chunked = False

    @property
    def complete(self) -> bool:
        """Whether all of it is there; without a length only the end of the stream tells."""
        if self._body_at < 0:
            return False
        if self._chunked:
            return self._data.endswith(b"0\r\n\r\n")
        return self._length is not None and len(self._data) - self._body_at >= self._length

    def feed(self, piece: bytes) -> None:
        self._data += piece
        if self._body_at < 0:
            end = self._data.find(HEAD_END)
            if end < 0:
                if len(self._data) > MAX_HEAD_BYTES:
                    raise HandshakeError(0, "an endless response head")
                return
            self._body_at = end + len(HEAD_END)
            head = parse_response_head(bytes(self._data[: self._body_at]))
            length = head.headers.get("content-length", "")
            self._length = int(length) if length.isdecimal() else None
            self._chunked = "chunked" in head.headers.get("transfer-encoding", "").lower()
        if len(self._data) - self._body_at > MAX_BODY_BYTES or (self._length or 0) > MAX_BODY_BYTES:
            raise HandshakeError(0, f"an answer of more than {MAX_BODY_BYTES} bytes")

    def answer(self) -> Answer:
        if self._body_at < 0:
            raise HandshakeError(0, "the server hung up in the middle of its answer")
        head = parse_response_head(bytes(self._data[: self._body_at]))
        body = bytes(self._data[self._body_at :])
        if self._chunked:
            body = _joined(body)
        elif self._length is not None:
            if len(body) < self._length:
                raise HandshakeError(0, "the server hung up in the middle of its answer")
            body = body[: self._length]
        return Answer(head.status, head.headers, body)


def _joined(body: bytes) -> bytes:
    """The chunks of a chunked body, joined."""
    parts: list[bytes] = []
    position = 0
    while True:
        line = body.find(b"\r\n", position)
        try:
            size = int(body[position:line].partition(b";")[0], 16) if line >= 0 else -1
        except ValueError:
            size = -1
        start = line + 2
        if size < 0 or start + size > len(body):
            raise HandshakeError(0, "a chunked answer that breaks off")
        if size == 0:
            return b"".join(parts)
        parts.append(body[start : start + size])
        position = start + size + 2
