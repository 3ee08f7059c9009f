"""Bounds of the raw WebSocket transport."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSettings:
    """Bounds of every raw WebSocket connection.

    Attributes:
        ping_interval_s: seconds between two pings to a peer; None sends none.
        ping_timeout_s: seconds a peer has to show a sign of life after a ping.
        close_timeout_s: seconds a peer has to answer our close frame, or to take what is left to send.
        drain_s: seconds that calls in flight have to finish when the server shuts down.
        max_buffered_bytes: what a peer may leave unread before the connection is given up; None means
            twice the longest message.
    """

    ping_interval_s: float | None = 20.0
    ping_timeout_s: float = 20.0
    close_timeout_s: float = 5.0
    drain_s: float = 10.0
    max_buffered_bytes: int | None = None
