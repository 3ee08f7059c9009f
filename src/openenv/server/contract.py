"""What a transport asks of the runtime behind it: two small interfaces, and nothing else crosses them.

A *transport* moves messages: the raw one (`transport.py`) speaks WebSocket on a socket that uvicorn accepted,
the ASGI one (`asgi_ws.py`) runs under any server. A *door* gives them meaning. The same door stands behind
both, so a rule of the protocol is written once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from openenv.errors import OpenEnvError
from openenv.protocol.extended import codec_of
from openenv.protocol.handshake import EXTENDED_SUBPROTOCOL, MSGPACK_SUBPROTOCOL, RequestHead
from openenv.protocol.plain import encode_error
from openenv.server.security import BEARER_SUBPROTOCOL, Rejection
from openenv.session.shards import Shard

MAX_PENDING = 64
"""Messages a door may hold unanswered before its transport stops reading from the peer."""

MAX_UNREAD_BYTES = 1024 * 1024
"""Bytes a peer may leave unread before its transport stops reading from it."""


def select_subprotocol(offered: Iterable[str], path: str) -> str | None:
    """The subprotocol to select for a connection to a path.

    The extended protocol, in MessagePack rather than in JSON, if it is offered; JSON-RPC has no such form.
    Else the one by which a browser sent its token, because a browser gives up a connection that selects none
    of those it offered; plain is spoken then. Else none.
    """
    names = list(offered)
    for ours in (MSGPACK_SUBPROTOCOL, EXTENDED_SUBPROTOCOL):
        if ours in names and not path.endswith("/mcp"):
            return ours
    return next((name for name in names if name.startswith(BEARER_SUBPROTOCOL)), None)


def refusal(subprotocol: str | None, error: OpenEnvError) -> bytes:
    """The message that says why a connection gets no session."""
    codec = codec_of(subprotocol)
    return encode_error(error) if codec is None else codec.frame(codec.error(error))


Send = Callable[[bytes], None]
"""Send one message; from any thread, in the order of the calls.

It is a binary message where the subprotocol is `openenv.2.msgpack`, else a text of UTF-8 bytes.
"""

Close = Callable[[int, str], None]
"""Close the connection with a code and a reason, after what was sent before; from any thread."""


class Door(Protocol):
    """The meaning of one connection's messages.

    Attributes:
        on_drained: set by a transport that stopped reading because of `pending`, None otherwise; the door
            calls it, from any thread, each time `pending` has fallen to `MAX_PENDING` or less.
    """

    on_drained: Callable[[], None] | None

    @property
    def shard(self) -> Shard | None:
        """The shard on which everything behind the door lives, if it does, once it is open."""

    @property
    def pending(self) -> int:
        """Messages received and not yet answered, the one being answered included."""

    async def open(self) -> None:
        """Attach or open the session.

        Raises:
            OpenEnvError: there is none to be had; the transport sends the error and closes: 1013 if the
                server is full, else 1000.
        """

    def receive(self, payload: bytes, binary: bool) -> None:
        """Take one message. Called on the loop's thread or on the shard's, in order; never blocks."""

    async def lost(self) -> None:
        """The connection is gone. Called once, whether or not `open` finished; bounded in time."""


class Relay(Protocol):
    """Takes over connections that belong to another process of the server."""

    def __call__(
        self, request: RequestHead, head: bytes, transport: asyncio.Transport, connections: set[Any]
    ) -> asyncio.Protocol | None:
        """The protocol that carries a connection to where its session lives; None if that is here.

        Args:
            request: the request's head.
            head: its bytes.
            transport: the connection.
            connections: the server's open connections, which it shuts down when it stops.
        """


class DoorRuntime(Protocol):
    """Where doors come from."""

    @property
    def websocket_paths(self) -> frozenset[str]:
        """The paths that have doors."""

    @property
    def max_frame_bytes(self) -> int:
        """Longest message accepted from a peer."""

    def authorize(
        self, method: str, path: str, headers: Mapping[str, str], query: str, client: str | None
    ) -> Rejection | None:
        """Why this request is refused, or None. Headers have lower-case names; `client` is an address."""

    def open_door(
        self,
        path: str,
        query: str,
        headers: Mapping[str, str],
        subprotocol: str | None,
        send: Send,
        close: Close,
        client: str | None,
    ) -> Door:
        """A door for an accepted connection to one of `websocket_paths`; `client` is the peer's address."""
