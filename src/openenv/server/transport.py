"""The raw WebSocket transport: a class that uvicorn takes as its `ws=`.

uvicorn accepts the socket and reads the HTTP request. When that asks for a WebSocket, it makes one of these
protocols, hands it the connection and the request's head, and is out of the way: no ASGI events, no queue and
no task lie between a message and the door (16 us of server CPU a message against 27 under ASGI).

Paths of the runtime get a `DoorConnection`; every other path, such as a WebSocket route that an author added
to the application, goes to uvicorn's own implementation as if we were not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn.config import Config

from openenv.protocol import handshake
from openenv.protocol.handshake import HandshakeError, RequestHead
from openenv.server.connection import DoorConnection, ServerState
from openenv.server.contract import DoorRuntime, Relay
from openenv.server.transport_settings import TransportSettings

__all__ = ["TransportSettings", "websocket_protocol_class"]


class _Upgrade(asyncio.Protocol):
    """Stands on the connection until the request's head says whose it is, then steps aside.

    uvicorn installs this object on the transport right after it delivered the head. The successor takes its
    place on the next turn of the loop; until then every event is passed on.
    """

    runtime: DoorRuntime
    settings: TransportSettings
    _transport: asyncio.Transport

    def __init__(
        self,
        config: Config,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._state: ServerState = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._successor: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for the successor."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Read the request's head and choose; pass on what follows."""
        if self._successor is not None:
            self._successor.data_received(data)
            return
        try:
            request = handshake.parse_request_head(data)
        except HandshakeError as error:
            self._transport.write(handshake.reject_response(error.status, error.message))
            self._transport.close()
            return
        if request.path in self.runtime.websocket_paths:
            self._speak(request, data)
        else:
            self._delegate(data)
        self._loop.call_soon(self._step_aside)

    def _speak(self, request: RequestHead, head: bytes) -> None:
        relay: Relay | None = getattr(self.runtime, "relay", None)
        if relay is not None:
            self._successor = relay(request, head, self._transport, self._state.connections)
            if self._successor is not None:
                return
        connection = DoorConnection(self.runtime, self.settings, self._state, self._loop)
        self._successor = connection
        connection.connection_made(self._transport)
        connection.begin(request)

    def _delegate(self, head: bytes) -> None:
        # Importing it costs some 50 ms that most servers never need.
        from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

        stock = cast(Callable[..., asyncio.Protocol], AutoWebSocketsProtocol)(
            config=self._config, server_state=self._state, app_state=self._app_state, _loop=self._loop
        )
        self._successor = stock
        stock.connection_made(self._transport)
        stock.data_received(head)

    def _step_aside(self) -> None:
        if self._successor is not None and not self._transport.is_closing():
            self._transport.set_protocol(self._successor)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        if self._successor is not None:
            self._successor.connection_lost(exc)

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._successor.eof_received() if self._successor is not None else None

    def pause_writing(self) -> None:
        """Pass it on."""
        if self._successor is not None:
            self._successor.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        if self._successor is not None:
            self._successor.resume_writing()


def websocket_protocol_class(
    runtime: DoorRuntime, settings: TransportSettings | None = None
) -> type[asyncio.Protocol]:
    """A protocol class for `uvicorn.Config(ws=...)` that opens the runtime's doors.

    Args:
        runtime: where doors come from.
        settings: bounds of every connection.
    """
    bound = {"runtime": runtime, "settings": settings or TransportSettings(), "__doc__": _Upgrade.__doc__}
    return cast(type[asyncio.Protocol], type("OpenEnvWebSocketProtocol", (_Upgrade,), bound))
