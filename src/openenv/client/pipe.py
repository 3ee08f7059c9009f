"""One transport of an asynchronous connection, which may have several in turn."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast


class Owner(Protocol):
    """What a pipe tells what it hears."""

    buffer: memoryview

    def heard(self, data: bytes) -> None:
        """Take what arrived."""

    def lost(self, problem: Exception | None) -> None:
        """Take note that the transport is gone, and why."""


class Pipe(asyncio.BufferedProtocol):
    """One transport of a connection; what a former one still says is not heard."""

    def __init__(self, owner: Owner, hello: bytes) -> None:
        self.owner: Owner | None = owner
        self.transport: asyncio.Transport | None = None
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hello = hello
        self._buffer = owner.buffer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        self.transport = cast(asyncio.Transport, transport)
        if self.owner is None:
            self.transport.abort()
        else:
            self.transport.write(self._hello)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the transport shall put what arrives."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what arrived."""
        if self.owner is not None:
            self.owner.heard(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> bool:
        """Let the transport close itself."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        if not self.gone.done():
            self.gone.set_result(None)
        if self.owner is not None:
            self.owner.lost(exc)

    def drop(self) -> None:
        """Close the transport at once and hear nothing more of it."""
        self.owner = None
        if self.transport is not None:
            self.transport.abort()
