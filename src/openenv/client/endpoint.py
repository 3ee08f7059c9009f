"""A server as a client knows it: the address, what to introduce oneself with, and how patient to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from openenv.client.address import Address, request_headers
from openenv.errors import UsageError
from openenv.protocol.websocket import DEFAULT_MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    import ssl

CLOSE_TIMEOUT_S = 5.0
"""How long `close` waits for the server to put the environment away."""

FAREWELL_TIMEOUT_S = 1.0
"""How long `close` tries to get back to a server whose connection broke, to end the sessions there."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What every connection to one server needs.

    Attributes:
        address: where it is.
        headers: headers of every request, the token among them.
        connect_timeout_s: limit for connecting and for every plain HTTP request.
        timeout_s: deadline of a call that gives none; None waits as long as the server is alive.
        ping_interval_s: silence after which the server is asked for a sign of life; None never asks.
        ping_timeout_s: how long that sign may take before the connection counts as lost; None for ever.
        max_message_bytes: largest reply accepted.
        ssl_context: for `https`; the system's trust store if absent.
        reconnect: whether a connection that broke is followed by another that resumes its sessions, where
            the server speaks the extended protocol.
        reconnect_timeout_s: how long that may take before the sessions count as lost.
        arrays: whether to ask the server for MessagePack, where arrays come as NumPy arrays and bytes as
            bytes; else JSON is spoken, where they are lists and text.
    """

    address: Address
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    connect_timeout_s: float = 10.0
    timeout_s: float | None = None
    ping_interval_s: float | None = 20.0
    ping_timeout_s: float | None = 60.0
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False)
    reconnect: bool = True
    reconnect_timeout_s: float = 10.0
    arrays: bool = False

    @classmethod
    def at(
        cls,
        url: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        connect_timeout_s: float = 10.0,
        timeout_s: float | None = None,
        ping_interval_s: float | None = 20.0,
        ping_timeout_s: float | None = 60.0,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        ssl_context: ssl.SSLContext | None = None,
        reconnect: bool = True,
        reconnect_timeout_s: float = 10.0,
        arrays: bool = False,
    ) -> Endpoint:
        """Read a URL and options as users write them.

        Raises:
            TargetError: the URL names no server.
            UsageError: an option makes no sense.
        """
        for name, value in (
            ("connect_timeout_s", connect_timeout_s),
            ("timeout_s", timeout_s),
            ("ping_interval_s", ping_interval_s),
            ("ping_timeout_s", ping_timeout_s),
            ("max_message_bytes", max_message_bytes),
            ("reconnect_timeout_s", reconnect_timeout_s),
        ):
            if value is not None and not value > 0:
                raise UsageError(f"{name} must be greater than 0, not {value!r}")
        return cls(
            Address.parse(url),
            request_headers(token, headers),
            connect_timeout_s,
            timeout_s,
            ping_interval_s,
            ping_timeout_s,
            max_message_bytes,
            ssl_context,
            reconnect,
            reconnect_timeout_s,
            arrays,
        )

    def tls(self) -> ssl.SSLContext | None:
        """The TLS context to connect with, None for an address without TLS."""
        if not self.address.tls:
            return None
        if self.ssl_context is not None:
            return self.ssl_context
        import ssl

        return ssl.create_default_context()


def grace_s(timeout_s: float) -> float:
    """How long after a deadline that the server keeps itself the client still waits for its word."""
    return min(5.0, 0.2 + 0.1 * timeout_s)
