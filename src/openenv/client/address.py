"""Where a server is, and the headers a client introduces itself with.

A URL may be written `http://`, `https://`, `ws://`, `wss://`, `unix:/path/to/socket` or bare `host:port`;
HTTP and WebSocket forms of an address are one and the same, and a trailing `/ws` is understood.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from openenv.errors import TargetError, UsageError

TOKEN_VARIABLE = "OPENENV_TOKEN"  # noqa: S105 - the variable's name, not a secret
_TLS = {"http": False, "ws": False, "https": True, "wss": True}


@dataclass(frozen=True, slots=True)
class Address:
    """One server.

    Attributes:
        host: host name or IP address; `localhost` for a Unix socket.
        port: TCP port; 0 for a Unix socket.
        path: path under which the environment is mounted, without trailing slash; mostly empty.
        tls: whether the connection is encrypted.
        unix: path of the Unix socket, None for TCP.
    """

    host: str
    port: int
    path: str = ""
    tls: bool = False
    unix: str | None = None

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL.

        Raises:
            TargetError: it is no URL of a server.
        """
        text = url.strip()
        if text.startswith("unix:"):
            socket_path = text[5:]
            if socket_path.startswith("//"):
                socket_path = socket_path[2:]
            if not socket_path:
                raise TargetError(f"{url!r} names no socket; write unix:/path/to/socket")
            return cls("localhost", 0, unix=socket_path)
        parts = urlsplit(text if "://" in text else f"http://{text}")
        if parts.scheme not in _TLS or not parts.hostname:
            raise TargetError(
                f"{url!r} is not the URL of a server; write http://HOST:PORT, ws://HOST:PORT or unix:/PATH"
            )
        if parts.username is not None:
            raise TargetError(
                f"Credentials in the URL are not used; pass token= or headers= ({parts.hostname})"
            )
        tls = _TLS[parts.scheme]
        try:
            port = parts.port
        except ValueError as problem:
            raise TargetError(f"{url!r}: {problem}") from None
        path = parts.path.rstrip("/").removesuffix("/ws")
        return cls(parts.hostname, port or (443 if tls else 80), path, tls)

    @property
    def authority(self) -> str:
        """Host and port as the `Host` header and a URL carry them."""
        if self.unix is not None:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as a person would write it."""
        if self.unix is not None:
            return f"unix:{self.unix}"
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.path}"

    @property
    def ws_url(self) -> str:
        """The address of the WebSocket."""
        if self.unix is not None:
            return f"unix:{self.unix}"
        return f"{'wss' if self.tls else 'ws'}://{self.authority}{self.path}/ws"

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine."""
        if self.unix is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def request_headers(token: str | None, headers: Mapping[str, str] | None) -> dict[str, str]:
    """Headers of every request to a server.

    Args:
        token: bearer token; None takes `$OPENENV_TOKEN`, an empty text sends none.
        headers: further headers; an `Authorization` among them wins over the token.

    Raises:
        UsageError: a header that would break the request apart.
    """
    result = dict(headers or {})
    for name, value in result.items():
        if any(character in f"{name}{value}" for character in "\r\n\0"):
            raise UsageError(f"Header {name!r} contains a line break")
    if token is None:
        token = os.environ.get(TOKEN_VARIABLE, "")
    if token and not any(name.lower() == "authorization" for name in result):
        if not token.isascii() or any(character.isspace() for character in token):
            raise UsageError("A bearer token has no spaces, line breaks or non-ASCII characters")
        result["Authorization"] = f"Bearer {token}"
    return result


def websocket_url(base_url: str) -> str:
    """The WebSocket's URL below a base URL, in the spelling of published clients."""
    if base_url.startswith("unix:"):
        return base_url
    scheme, separator, rest = base_url.partition("://")
    if not separator:
        scheme, rest = "ws", base_url
    return f"{'wss' if _TLS.get(scheme.lower()) else 'ws'}://{rest.rstrip('/')}/ws"


def session_in(ws_url: str | None) -> str | None:
    """The session that the query of a WebSocket's URL attaches to."""
    query = (ws_url or "").partition("?")[2]
    if not query:
        return None
    from urllib.parse import parse_qs

    return parse_qs(query).get("session_id", [None])[0]
