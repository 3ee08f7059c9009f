"""What the connections share: opening a socket, and the figures and errors of both faces."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from openenv.client.endpoint import Endpoint
from openenv.client.exchange import Exchange
from openenv.client.refusals import unreachable
from openenv.errors import StepTimeoutError


@dataclass(frozen=True, slots=True)
class ConnectionStatistics:
    """What a connection has done.

    Attributes:
        calls: requests sent.
        owing: requests that the server has not answered yet.
        dropped: replies that came after their callers had gone.
        extended: whether the extended protocol is spoken.
        reconnects: how often a broken connection was followed by one that resumed its sessions.
    """

    calls: int
    owing: int
    dropped: int
    extended: bool
    reconnects: int = 0

    @classmethod
    def of(cls, exchange: Exchange) -> ConnectionStatistics:
        """The figures of an exchange."""
        return cls(exchange.calls, exchange.owing, exchange.dropped, exchange.extended, exchange.reconnects)


def dial(endpoint: Endpoint, patience: float | None = None) -> socket.socket:
    """Open a socket to a server, with TLS where the address says so.

    Args:
        endpoint: the server.
        patience: limit in seconds; the endpoint's `connect_timeout_s` if absent.

    Raises:
        ServerUnreachableError: nothing answers there.
    """
    address = endpoint.address
    if patience is None:
        patience = endpoint.connect_timeout_s
    try:
        if address.unix is not None:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                link.settimeout(patience)
                link.connect(address.unix)
            except BaseException:
                link.close()
                raise
            return link
        link = socket.create_connection((address.host, address.port), patience)
        try:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = endpoint.tls()
            return link if context is None else context.wrap_socket(link, server_hostname=address.host)
        except BaseException:
            link.close()
            raise
    except OSError as problem:
        raise unreachable(address, problem) from problem


def too_late(call: str, timeout_s: float | None, why: str, *, sent: bool) -> StepTimeoutError:
    """The error for a deadline that passed here; a call that changes nothing leaves the session alone."""
    error = StepTimeoutError(f"{call} did not finish within {timeout_s:g} s: {why}", timeout_s=timeout_s)
    if not sent or call not in ("reset", "step"):
        error.session_fate = "alive"
    return error


def shut(link: socket.socket) -> None:
    """Wake whoever waits on the socket."""
    try:
        link.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
