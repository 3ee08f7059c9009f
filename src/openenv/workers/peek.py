"""What the beginning of a connection says about where it should go.

The supervisor reads it without taking it off the socket, so whoever gets the socket reads the same bytes
again. Nothing here is believed: a request that claims another session is refused by the worker it reaches.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs

MAX_HEAD_BYTES = 16 * 1024
"""A head longer than this is judged by its beginning."""

_END = b"\r\n\r\n"
_UNNAMED = frozenset({"/reset", "/step", "/state", "/close"})
_NAMING = ("x-openenv-session", "mcp-session-id")
_ADMIN = "/admin/sessions/"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request says about where it wants to go.

    Attributes:
        session: the session that it names.
        by_address: whether it means a session without naming one, which its client's address tells.
        address: its client, as the server calls it.
        lasting: whether it opens a session that lives as long as the connection.
    """

    session: str | None = None
    by_address: bool = False
    address: str | None = None
    lasting: bool = False


def is_complete(data: bytes) -> bool:
    """Whether the head is all there, or as long as it may be."""
    return _END in data or len(data) >= MAX_HEAD_BYTES or (len(data) > 3 and not _is_http(data))


def _is_http(data: bytes) -> bool:
    method = data.split(b" ", 1)[0]
    return method.isalpha() and method.isupper()


def read_wish(data: bytes, cookie_name: str, peer: str | None) -> Wish:
    """Read the head of a request.

    Args:
        data: what the connection has sent so far.
        cookie_name: name of the server's session cookie.
        peer: address of the other end.
    """
    lines = data.partition(_END)[0].decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    path, _, query = (words[1] if len(words) > 1 else "").partition("?")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), value.strip())
    address = address_of(headers, peer)
    session = named_session(headers, path, query, cookie_name)
    lasting = "upgrade" in headers
    by_address = session is None and not lasting and path in _UNNAMED
    return Wish(session, by_address, address, lasting)


def address_of(headers: dict[str, str], peer: str | None) -> str | None:
    """Where a request comes from, in the words of `openenv.server.http_sessions`."""
    forwarded = headers.get("x-forwarded-for") or headers.get("forwarded")
    return f"{peer} for {forwarded}" if forwarded else peer


def named_session(headers: dict[str, str], path: str, query: str, cookie_name: str) -> str | None:
    """The session that a request names outside its body, if any.

    Args:
        headers: headers by lower-case name.
        path: path of the URL.
        query: query string of the URL.
        cookie_name: name of the server's session cookie.
    """
    if path.startswith(_ADMIN):
        return path.removeprefix(_ADMIN) or None
    explicit = headers.get(_NAMING[0]) or parse_qs(query).get("session_id", [None])[0]
    explicit = explicit or headers.get(_NAMING[1])
    if explicit:
        return explicit
    for cookie in headers.get("cookie", "").split(";"):
        name, _, value = cookie.strip().partition("=")
        if name == cookie_name and value:
            return value
    return None
