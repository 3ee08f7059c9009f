"""uvicorn's HTTP protocols, bounded and patient where they are not.

A connection has a limited time to finish the head of a request, from its beginning or from the first byte
after the last answer: else a few thousand sockets that send a byte now and then exhaust a server, for it
asks for no token before the head. And a client that has said all it has to say (it shut its side of the
connection down, as ``nc -N`` does) still gets the answer to what it asked.
"""

from __future__ import annotations

import asyncio
from typing import Any

_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def bounded(protocol: type[asyncio.Protocol], head_timeout_s: float) -> type[asyncio.Protocol]:
    """Derive an HTTP protocol with these bounds.

    Args:
        protocol: uvicorn's class, for httptools or h11.
        head_timeout_s: seconds that the head of a request may take.
    """
    bases: tuple[Any, ...] = (_Bounds, protocol)
    return type(f"Bounded{protocol.__name__}", bases, {"head_timeout_s": head_timeout_s})


class _Bounds:
    """Goes before one of uvicorn's protocols, of which it knows `cycle`: the request whose head came last."""

    head_timeout_s: float
    loop: asyncio.AbstractEventLoop
    connections: set[Any]
    cycle: Any
    transport: asyncio.Transport
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the first head its time."""
        super().connection_made(transport)  # type: ignore[misc]
        self._begin()

    def data_received(self, data: bytes) -> None:
        """See whether a head is complete, or another begins."""
        before = self.cycle
        waiting = before is None or before.response_complete
        super().data_received(data)  # type: ignore[misc]
        # Upgraded connections leave the set: they are another protocol's.
        if self.cycle is not before or self not in self.connections:
            self._end()
        elif waiting and self._deadline is None:
            self._begin()

    def eof_received(self) -> bool:
        """Keep the connection for the answer to a complete request."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:
            return False
        if self.transport.get_extra_info("sslcontext") is not None:
            return False  # TLS as asyncio has it cannot be half closed
        cycle.keep_alive = False  # the connection ends with the answer
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._end()
        super().connection_lost(exc)  # type: ignore[misc]

    def _begin(self) -> None:
        self._deadline = self.loop.call_later(self.head_timeout_s, self._expire)

    def _end(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.write(_TOO_LATE)
            self.transport.close()
