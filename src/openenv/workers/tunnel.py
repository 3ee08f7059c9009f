"""A WebSocket connection that reached one worker and belongs to another: its bytes are passed on as they are.

That happens behind TLS, where the supervisor cannot read, and on connections that carried a plain request
first. The handshake is passed on too, so the owner checks it like any other.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from openenv.protocol.handshake import RequestHead, reject_response
from openenv.workers.link import Link, lost
from openenv.workers.peek import named_session


class _Far(asyncio.Protocol):
    """The owner's end: what it sends goes to the client."""

    def __init__(self, near: asyncio.Transport) -> None:
        self._near = near

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the way back."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        self._near.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The owner closed."""
        self._near.close()

    def pause_writing(self) -> None:
        """The owner does not keep up: read no more from the client."""
        self._near.pause_reading()

    def resume_writing(self) -> None:
        """The owner keeps up again."""
        if not self._near.is_closing():
            self._near.resume_reading()


class Tunnel(asyncio.Protocol):
    """The client's end.

    Args:
        link: the way to the owner.
        owner: number of the worker that has the session.
        session: the session.
        head: the request as it came.
        transport: the client's connection.
        connections: the server's open connections.
    """

    def __init__(
        self,
        link: Link,
        owner: int,
        session: str,
        head: bytes,
        transport: asyncio.Transport,
        connections: set[Any],
    ) -> None:
        self._link = link
        self._session = session
        self._near = transport
        self._connections = connections
        self._early = [head]
        self._far: _Far | None = None
        connections.add(self)
        transport.pause_reading()
        self._task = asyncio.get_running_loop().create_task(self._connect(owner))

    async def _connect(self, owner: int) -> None:
        sock = await self._link.connect(owner)
        if sock is None:
            self._near.write(reject_response(410, lost(self._session).message))
            self._near.close()
            return
        far = _Far(self._near)
        await asyncio.get_running_loop().create_connection(lambda: far, sock=sock)
        for data in self._early:
            far.transport.write(data)
        self._early.clear()
        self._far = far
        if self._near.is_closing():
            far.transport.close()
        else:
            self._near.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        if self._far is None:
            self._early.append(data)
        else:
            self._far.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._connections.discard(self)
        if self._far is not None:
            self._far.transport.close()

    def pause_writing(self) -> None:
        """The client does not keep up: read no more from the owner."""
        if self._far is not None:
            self._far.transport.pause_reading()

    def resume_writing(self) -> None:
        """The client keeps up again."""
        if self._far is not None and not self._far.transport.is_closing():
            self._far.transport.resume_reading()

    def shutdown(self) -> None:
        """The server stops: the client has to come again, and will reach the owner."""
        self._near.close()


class Relay:
    """Decides which WebSocket connections belong to another worker (`openenv.server.contract.Relay`).

    Args:
        link: knows the other workers.
        cookie: name of the server's session cookie.
    """

    def __init__(self, link: Link, cookie: str) -> None:
        self._link = link
        self._cookie = cookie

    def __call__(
        self, request: RequestHead, head: bytes, transport: asyncio.Transport, connections: set[Any]
    ) -> asyncio.Protocol | None:
        """The tunnel for a connection; None if its session is not elsewhere."""
        session = named_session(dict(request.headers), request.path, request.query, self._cookie)
        owner = self._link.elsewhere(session)
        if owner is None or session is None:
            return None
        return Tunnel(self._link, owner, session, head, transport, connections)
