"""Who may talk to the server: the Host, Origin and token checks, as one pure policy.

Three attacks and what meets them:

- *A web page opens a socket or posts to a server on the visitor's machine.* Browsers send `Origin`;
  one that is neither the server's own nor allowed is refused. Programs send no `Origin` and pass.
- *DNS rebinding*: a page's own name is made to resolve to the server, so that `Origin` and `Host` agree.
  On a server that binds the loopback interface `Host` must be a loopback name. On one that serves a
  network without a token it must be an IP address or a name that no stranger can register.
- *Anyone on the network.* A bearer token on every surface; without one, binding anything but the
  loopback interface is refused unless it is explicitly insecure.

Under a foreign server (plain uvicorn, `TestClient`, a container) the names by which the application is
reached are unknown, so `Host` is checked only if names were configured; the other two hold there too.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from openenv.errors import UsageError
from openenv.server.settings import ServerSettings

BEARER_SUBPROTOCOL = "openenv.bearer."
"""Prefix of the WebSocket subprotocol by which a browser, which cannot set headers, offers its token."""

OPEN_PATHS = frozenset({"/health"})
"""Paths that ask for no token: a liveness probe says nothing about the environment."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443"}


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a request is refused.

    Attributes:
        status: HTTP status of the answer.
        detail: one sentence for a person.
        headers: headers of the answer.
    """

    status: int
    detail: str
    headers: dict[str, str] = field(default_factory=dict)


class SecurityPolicy:
    """The checks that a server's settings ask for.

    Args:
        settings: the server's settings.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._token = settings.token.encode() if settings.token is not None else None
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.allowed_origins)
        self._host_allowed = _host_rule(settings)

    def check(
        self, method: str, path: str, headers: Mapping[str, str], client: str | None = None
    ) -> Rejection | None:
        """Return why the request is refused, or None.

        Args:
            method: HTTP method; ``WEBSOCKET`` also names a WebSocket handshake.
            path: path of the URL.
            headers: headers by lower-case name.
            client: address of the peer.
        """
        socket = method == "WEBSOCKET" or "sec-websocket-key" in headers
        return (
            self._check_host(headers)
            or self._check_origin(method, headers, socket)
            or self._check_token(path, headers, socket)
        )

    def _check_host(self, headers: Mapping[str, str]) -> Rejection | None:
        if self._host_allowed is None:
            return None
        host = headers.get("host", "")
        if self._host_allowed(host_name(host)):
            return None
        return Rejection(
            421,
            f"This server is not known by the name {host!r}. If it should be, start it with "
            "--allowed-host NAME or set OPENENV_ALLOWED_HOSTS.",
        )

    def _check_origin(self, method: str, headers: Mapping[str, str], socket: bool) -> Rejection | None:
        if method in _SAFE_METHODS and not socket:
            return None
        origin = headers.get("origin")
        if origin is None:
            foreign = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        else:
            foreign = not self._origin_allowed(origin, headers)
        if not foreign:
            return None
        return Rejection(
            403,
            f"Web pages of {origin or 'another site'!r} may not use this server. To allow them, start it "
            "with --allowed-origin ORIGIN or set OPENENV_ALLOWED_ORIGINS.",
        )

    def _origin_allowed(self, origin: str, headers: Mapping[str, str]) -> bool:
        if origin.rstrip("/").lower() in self._origins:
            return True
        # A page cannot set X-Forwarded-Host without a preflight that this server does not grant; a
        # proxy that changes Host sets it.
        own = [headers.get("host", ""), headers.get("x-forwarded-host", "")]
        return any(_same_origin(origin, host) for host in own if host)

    def _check_token(self, path: str, headers: Mapping[str, str], socket: bool) -> Rejection | None:
        if self._token is None or path in OPEN_PATHS:
            return None
        given = _given_token(headers, socket)
        if given is not None and hmac.compare_digest(given.encode("utf-8", "replace"), self._token):
            return None
        # A person's browser asks for a password only if the challenge is Basic.
        person = not socket and "text/html" in headers.get("accept", "")
        return Rejection(
            401,
            "This server asks for a bearer token." if given is None else "The token is not the right one.",
            {"www-authenticate": 'Basic realm="OpenEnv"' if person else "Bearer"},
        )


def check_exposure(settings: ServerSettings) -> None:
    """Refuse to serve a network without a token.

    Raises:
        UsageError: the address to bind is not a loopback address, there is no token, and the settings
            do not say that this is meant.
    """
    if settings.host is None or settings.token is not None or settings.insecure or is_loopback(settings.host):
        return
    raise UsageError(
        f"Binding {settings.host} would let everyone who reaches this machine run the environment. Set a "
        "token (--token or OPENENV_TOKEN), bind 127.0.0.1, or say --insecure if the network is trusted."
    )


def host_name(host: str) -> str:
    """The name in a `Host` header: lower case, without port, brackets and trailing dot."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() and ":" not in name else host).rstrip(".")


def is_loopback(name: str) -> bool:
    """Whether a host name or address means this machine only."""
    address = _address(name)
    if address is None:
        return name == "localhost" or name.endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _host_rule(settings: ServerSettings) -> Callable[[str], bool] | None:
    """The test for host names, or None if any will do."""
    allowed = frozenset(name.strip("[]").rstrip(".").lower() for name in settings.allowed_hosts)
    if "*" in allowed:
        return None
    if settings.host is None:
        if not allowed:
            return None
        return lambda name: _named(name, allowed) or is_loopback(name)
    if is_loopback(settings.host):
        return lambda name: _named(name, allowed) or is_loopback(name)
    own = allowed | {settings.host.lower()}
    if settings.token is None:
        return lambda name: _named(name, own) or _unregistrable(name)
    if allowed:
        return lambda name: _named(name, own) or is_loopback(name)
    return None


def _named(name: str, allowed: frozenset[str]) -> bool:
    return name in allowed or any(name.endswith(rule[1:]) for rule in allowed if rule.startswith("*."))


def _unregistrable(name: str) -> bool:
    """Whether no stranger can make the name resolve to this server: an address, or a name without a dot."""
    return _address(name) is not None or is_loopback(name) or (bool(name) and "." not in name)


def _same_origin(origin: str, host: str) -> bool:
    parts = urlsplit(origin.lower())
    if parts.scheme not in _DEFAULT_PORTS or not parts.netloc or "@" in parts.netloc:
        return False
    default = _DEFAULT_PORTS[parts.scheme]
    return _host_and_port(parts.netloc, default) == _host_and_port(host.strip().lower(), default)


def _host_and_port(netloc: str, default_port: str) -> tuple[str, str]:
    name = host_name(netloc)
    _, _, port = netloc.rpartition("]")[2].rpartition(":")
    return name, port if port.isdigit() and netloc.rstrip("0123456789").endswith(":") else default_port


def _given_token(headers: Mapping[str, str], socket: bool) -> str | None:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    credentials = credentials.strip()
    if scheme.lower() == "bearer" and credentials:
        return credentials
    if scheme.lower() == "basic":
        return _basic_password(credentials)
    if socket:
        for offered in headers.get("sec-websocket-protocol", "").split(","):
            if offered.strip().startswith(BEARER_SUBPROTOCOL):
                return offered.strip()[len(BEARER_SUBPROTOCOL) :]
    return None


def _basic_password(credentials: str) -> str | None:
    try:
        _, colon, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return password if colon else None
