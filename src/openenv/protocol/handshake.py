"""The opening handshake of RFC 6455 without I/O, for both sides.

A client sends `client_handshake(...)`, collects bytes up to `HEAD_END`, parses them with
`parse_response_head` and lets `check_response` judge them. A server parses with `parse_request_head`, lets
`check_request` judge, and answers with `accept_response` or `reject_response`.

Extensions are neither offered nor accepted: permessage-deflate costs more time on a local network than the
bytes it saves (6 to 126 us a message), and a server is free to decline it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from openenv.errors import ProtocolError, UsageError

HEAD_END = b"\r\n\r\n"
MAX_HEAD_BYTES = 64 * 1024
EXTENDED_SUBPROTOCOL = "openenv.2.json"
"""Name of the extended protocol in JSON."""
MSGPACK_SUBPROTOCOL = "openenv.2.msgpack"
"""Name of the extended protocol in MessagePack."""
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION = "13"


class HandshakeError(ProtocolError):
    """The peer's half of the opening handshake is not a WebSocket handshake, or a refusal.

    Attributes:
        status: the HTTP status: of the refusal received (client), or to refuse with (server).
        headers: the headers of that answer, with lower-case names.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers: dict[str, str] = dict(headers or {})


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A parsed HTTP request head.

    Attributes:
        method: as sent, `GET` for a handshake.
        path: decoded path of the target.
        query: undecoded query string, without the question mark.
        headers: lower-case names; repeated headers are joined as HTTP says.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """A parsed HTTP response head.

    Attributes:
        status: the status code; 101 is the only one that opens a WebSocket.
        reason: the reason phrase.
        headers: lower-case names; repeated headers are joined as HTTP says.
    """

    status: int
    reason: str
    headers: Mapping[str, str]


def accept_key(key: str | bytes) -> str:
    """The `Sec-WebSocket-Accept` that proves a server understood this `Sec-WebSocket-Key`."""
    raw = key.encode("latin-1") if isinstance(key, str) else key
    return base64.b64encode(hashlib.sha1(raw + _GUID, usedforsecurity=False).digest()).decode()


def client_handshake(
    host: str,
    path: str,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    subprotocols: Iterable[str] = (),
) -> tuple[bytes, str]:
    """The request that opens a WebSocket.

    Args:
        host: value of the Host header: name or address, with the port where it is not the scheme's own.
        path: the request target: path and, after a question mark, query; already percent-encoded.
        headers: further headers (`Authorization`, `Origin` ...).
        subprotocols: what to offer, best first.

    Returns:
        The bytes to send and the key to hand to `check_response`.

    Raises:
        UsageError: a header or the target would break out of its line.
    """
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        ("Host", host),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Version", _VERSION),
    ]
    offered = ", ".join(subprotocols)
    if offered:
        lines.append(("Sec-WebSocket-Protocol", offered))
    lines.extend(headers.items() if isinstance(headers, Mapping) else headers)
    if any(character.isspace() for character in path):
        raise UsageError(f"The request target {path!r} contains white space; percent-encode it")
    return _render(f"GET {path or '/'} HTTP/1.1", lines), key


def parse_request_head(data: bytes) -> RequestHead:
    """Parse the head of a request.

    Args:
        data: the bytes up to `HEAD_END`, which may be included.

    Raises:
        HandshakeError: it is not an HTTP/1.1 request (status 400).
    """
    first, headers = _parse_head(data)
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise HandshakeError(400, f"not an HTTP/1.1 request line: {first[:80]!r}")
    method, target, _ = parts
    if target.startswith("/"):
        path, _, query = target.partition("?")
    else:
        try:
            url = urlsplit(target)
        except ValueError:
            raise HandshakeError(400, f"not a request target: {target[:80]!r}") from None
        path, query = url.path or "/", url.query
    return RequestHead(method, unquote(path), query, headers)


def parse_response_head(data: bytes) -> ResponseHead:
    """Parse the head of a response.

    Args:
        data: the bytes up to `HEAD_END`, which may be included.

    Raises:
        HandshakeError: it is not an HTTP response (status 0).
    """
    first, headers = _parse_head(data)
    version, _, rest = first.partition(" ")
    status, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/1.") or not (len(status) == 3 and status.isdecimal()):
        raise HandshakeError(0, f"not an HTTP response: {first[:80]!r}")
    return ResponseHead(int(status), reason.strip(), headers)


def check_request(request: RequestHead) -> str:
    """Whether a request opens a WebSocket.

    Returns:
        Its `Sec-WebSocket-Key`.

    Raises:
        HandshakeError: it does not; `status` and `headers` are those to refuse it with.
    """
    headers = request.headers
    if request.method != "GET":
        raise HandshakeError(405, "a WebSocket is opened with GET", {"allow": "GET"})
    if "websocket" not in _tokens(headers.get("upgrade")) or "upgrade" not in _tokens(
        headers.get("connection")
    ):
        raise HandshakeError(426, "this address speaks WebSocket", {"upgrade": "websocket"})
    if headers.get("sec-websocket-version") != _VERSION:
        raise HandshakeError(
            426, f"only WebSocket version {_VERSION} is spoken", {"sec-websocket-version": _VERSION}
        )
    key = headers.get("sec-websocket-key", "")
    try:
        decoded = base64.b64decode(key, validate=True)
    except ValueError:
        decoded = b""
    if len(decoded) != 16:
        raise HandshakeError(400, "Sec-WebSocket-Key is not 16 bytes in base64")
    return key


def check_response(response: ResponseHead, key: str, subprotocols: Iterable[str] = ()) -> str | None:
    """Whether a server accepted our handshake.

    Args:
        response: what it answered.
        key: what `client_handshake` returned.
        subprotocols: what was offered.

    Returns:
        The subprotocol it selected, or None.

    Raises:
        HandshakeError: it refused, or the answer does not fit the request.
    """
    headers = response.headers

    def failed(message: str) -> HandshakeError:
        return HandshakeError(response.status, message, headers)

    if response.status != 101:
        raise failed(f"the server answered {response.status} {response.reason}".rstrip())
    if "websocket" not in _tokens(headers.get("upgrade")) or "upgrade" not in _tokens(
        headers.get("connection")
    ):
        raise failed("the server switched to something that is not WebSocket")
    if headers.get("sec-websocket-accept") != accept_key(key):
        raise failed("the server's Sec-WebSocket-Accept does not fit our key")
    if headers.get("sec-websocket-extensions"):
        raise failed("the server selected an extension that was not offered")
    selected = headers.get("sec-websocket-protocol")
    if selected is not None and selected not in tuple(subprotocols):
        raise failed(f"the server selected the subprotocol {selected!r}, which was not offered")
    return selected


def offered_subprotocols(headers: Mapping[str, str]) -> list[str]:
    """The subprotocols that a request offers, in its order."""
    offered = headers.get("sec-websocket-protocol", "").split(",")
    return [name for name in map(str.strip, offered) if name]


def accept_response(key: str, subprotocol: str | None = None) -> bytes:
    """The answer that opens the WebSocket."""
    lines = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept_key(key))]
    if subprotocol is not None:
        lines.append(("Sec-WebSocket-Protocol", subprotocol))
    return _render("HTTP/1.1 101 Switching Protocols", lines)


def reject_response(status: int, detail: str, headers: Mapping[str, str] | None = None) -> bytes:
    """The answer that refuses it: `{"detail": ...}` in JSON, and the connection is closed after it."""
    body = json.dumps({"detail": detail}).encode()
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Refused"
    lines = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
        *(headers or {}).items(),
    ]
    return _render(f"HTTP/1.1 {status} {phrase}", lines) + body


def _render(first: str, lines: Iterable[tuple[str, str]]) -> bytes:
    rows = [first, *(f"{name}: {value}" for name, value in lines)]
    for row in rows:
        if "\r" in row or "\n" in row or "\0" in row:
            raise UsageError(f"A header may not contain a line break: {row!r}")
    try:
        return ("\r\n".join(rows) + "\r\n\r\n").encode("latin-1")
    except UnicodeEncodeError:
        raise UsageError("Headers and request target must be Latin-1; percent-encode the rest") from None


def _parse_head(data: bytes) -> tuple[str, dict[str, str]]:
    """First line and headers; repeated headers joined by comma, cookies by semicolon."""
    first, *rows = data.split(HEAD_END, 1)[0].decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for row in rows:
        name, colon, value = row.partition(":")
        if not colon or not name or name != name.strip():
            raise HandshakeError(400, f"not a header line: {row[:80]!r}")
        name, value = name.lower(), value.strip(" \t")
        if name in headers:
            value = f"{headers[name]}{'; ' if name == 'cookie' else ', '}{value}"
        headers[name] = value
    return first, headers


def _tokens(value: str | None) -> list[str]:
    return [token.strip().lower() for token in (value or "").split(",")]
