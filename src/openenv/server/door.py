"""What stands behind a WebSocket: one session, replies in the order of the messages, a bounded end.

A message is decoded where its environment lives, the call made, the reply encoded and sent, all without
leaving that thread. Only a deadline is answered elsewhere: by the watchdog, while the session already
goes on in another thread. Replies therefore pass through a queue, in which each waits for those before
it.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from openenv.errors import InvalidActionError, OpenEnvError, ProtocolError, SessionLost
from openenv.protocol.plain import (
    REQUEST_TYPES,
    Request,
    decode_request,
    encode_error,
    encode_mcp,
    encode_result,
    encode_state,
)
from openenv.server.contract import MAX_PENDING, Close, Send
from openenv.server.mcp import ToolCall, read_call
from openenv.server.options import reset_arguments
from openenv.session.handle import HostedSession, Prepared
from openenv.session.shards import Shard, ShardHost

if TYPE_CHECKING:
    from openenv.server.runtime import ServerRuntime

GOING_AWAY = 1001
NORMAL = 1000
TOOLS_ONLY = frozenset({"close", "mcp"})
"""Message types that a server in production mode knows."""
_LOST_TIMEOUT_S = 10.0


class Message(ABC):
    """One message of a client and, once it is known, its reply.

    Attributes:
        reply: the frame that answers it: None until it is known, empty if nothing is sent.
        last: whether the connection is closed after it.
    """

    __slots__ = ("_binary", "_payload", "door", "last", "reply")

    def __init__(self, door: SocketDoor, payload: bytes, binary: bool) -> None:
        self.door = door
        self._payload = payload
        self._binary = binary
        self.reply: bytes | None = None
        self.last = False

    @abstractmethod
    def prepare(self) -> Prepared | None:
        """Decode the message; runs where the environment lives.

        Raises:
            OpenEnvError: it is not of the protocol.
        """

    @abstractmethod
    def encode(self, value: Any, error: OpenEnvError | None) -> bytes:
        """Encode the reply, empty for none."""

    def done(self, value: Any, error: OpenEnvError | None) -> None:
        """Take what came of the call."""
        door = self.door
        try:
            reply = self.encode(value, error and door.runtime.presentable(error))
        # Boundary: encoding runs an author's serializers, and a message without a reply would hold up
        # every later one.
        except Exception as problem:
            reply = self.encode(None, door.runtime.internal_error(problem))
        self.reply = reply
        door.answer()


class SocketDoor:
    """One WebSocket connection's door.

    Args:
        runtime: the server.
        message: makes the message of a payload.
        send: sends a text frame.
        close: closes the connection.
        query: query string of the connection's URL; `session_id` attaches to an open session.
        client: address of the peer.
        auto_reset: whether a first step resets first.

    Attributes:
        on_drained: see `openenv.server.contract.Door`.
        gone: whether the connection was lost; it can hold no session any more.
    """

    name = "ws"
    """How metrics and logs call this kind of door."""

    def __init__(
        self,
        runtime: ServerRuntime,
        send: Send,
        close: Close,
        *,
        query: str = "",
        client: str | None = None,
        auto_reset: bool = False,
    ) -> None:
        self.runtime = runtime
        self.on_drained: Callable[[], None] | None = None
        self._send = send
        self._close = close
        self._session_id = parse_qs(query).get("session_id", [None])[0]
        self._client = client
        self._auto_reset = auto_reset
        self._messages: deque[Message] = deque()
        self._lock = threading.Lock()
        self._opening: asyncio.Future[HostedSession] | None = None
        self._session: HostedSession | None = None
        self._received = runtime.metrics.received.cell(self.name)
        self._sent = runtime.metrics.sent.cell(self.name)
        self._ended = False
        self.gone = False

    @property
    def pending(self) -> int:
        """Messages received and not yet answered."""
        return len(self._messages)

    @property
    def shard(self) -> Shard | None:
        """The shard on which the session lives."""
        host = self._session.host if self._session is not None else None
        return host.shard if isinstance(host, ShardHost) else None

    @property
    def session(self) -> HostedSession:
        """The session behind the door, once it is open."""
        if self._session is None:
            raise SessionLost("This connection has no session")
        return self._session

    async def open(self) -> None:
        """Attach to the session that the URL names, or open one.

        Raises:
            OpenEnvError: there is none to be had.
        """
        if self._ended:
            raise SessionLost("The connection was lost before its session was opened")
        self._opening = asyncio.ensure_future(self._acquire())
        try:
            self._session = await self._opening
        except asyncio.CancelledError:
            if self._ended:
                raise SessionLost("The connection was lost while its session was being opened") from None
            raise

    async def _acquire(self) -> HostedSession:
        if self._session_id is not None:
            return await self.runtime.attach(self._session_id, self)
        return await self.runtime.open_attached(
            self.name, self, auto_reset=self._auto_reset, client=self._client
        )

    def receive(self, payload: bytes, binary: bool) -> None:
        """Take one message."""
        if self._ended or self._session is None:
            return
        message = self.message(payload, binary)
        self._messages.append(message)
        self._received.amount += len(payload)
        self._session.post(message.prepare, message.done)

    def message(self, payload: bytes, binary: bool) -> Message:
        """The message of a payload."""
        return PlainMessage(self, payload, binary)

    def answer(self) -> None:
        """Send the replies whose turn it is; from any thread."""
        messages, last = self._messages, False
        with self._lock:
            while messages and (reply := messages[0].reply) is not None:
                last = messages.popleft().last
                if reply and not self._ended:
                    self._send(reply)
                    self._sent.amount += len(reply)
                if last:
                    break
        if last:
            self.end(NORMAL, "")
        tell = self.on_drained
        if tell is not None and len(messages) <= MAX_PENDING:
            tell()

    def lose(self, session_id: str, reason: str) -> None:
        """A session was ended that the door may hold beside its own; called on the home loop."""

    def notify(self, kind: str, data: dict[str, Any]) -> None:
        """Tell the peer something that is no answer; the plain protocol has no words for it."""

    def end(self, code: int, reason: str) -> None:
        """Close the connection; later messages are ignored."""
        if not self._ended:
            self._ended = True
            self._close(code, reason)

    async def lost(self) -> None:
        """Give the session back: one opened for this connection is closed, another one detached."""
        self.gone = self._ended = True
        self._received.settle()
        self._sent.settle()
        released = self.runtime.release(self)
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening}, timeout=_LOST_TIMEOUT_S)
        await asyncio.wait({asyncio.wrap_future(released)}, timeout=_LOST_TIMEOUT_S)


class PlainMessage(Message):
    """A message of the plain protocol."""

    __slots__ = ("_call", "_request")

    def __init__(self, door: SocketDoor, payload: bytes, binary: bool) -> None:
        super().__init__(door, payload, binary)
        self._request: Request | None = None
        self._call: ToolCall | None = None

    def prepare(self) -> Prepared | None:
        """Decode the message and say which call it stands for."""
        if self._binary:
            raise _binary_frame()
        door = self.door
        production = door.runtime.settings.production
        offered = TOOLS_ONLY if production else REQUEST_TYPES
        request = self._request = decode_request(self._payload, offered=offered)
        kind = request.type
        if kind == "close":
            self.last = True
            return None
        if kind == "mcp":
            self._call = read_call(request.data, door.runtime, door.session.id)
            return self._call.prepared
        if production:
            raise _not_in_production(kind)
        if kind == "step":
            return "step", {"action": request.data, "timeout_s": request.timeout_s}
        if kind == "reset":
            return "reset", reset_arguments(request.data, request.timeout_s)
        return "state", {}

    def encode(self, value: Any, error: OpenEnvError | None) -> bytes:
        """Encode the reply."""
        request = self._request
        if self._call is not None:
            return encode_mcp(self._call.response(value, error), request)
        if error is not None or request is None:
            return encode_error(error or OpenEnvError(), request)
        if request.type == "state":
            return encode_state(value, request)
        return b"" if self.last else encode_result(value, request)


def _binary_frame() -> InvalidActionError:
    text = "A message is a text frame with a JSON object; this was a binary frame"
    issue: dict[str, Any] = {"type": "text_frame", "loc": [], "msg": text, "input": None}
    return InvalidActionError(f"Invalid message: {text}", errors=[issue])


def _not_in_production(kind: str) -> ProtocolError:
    return ProtocolError(
        f"Unknown message type: {kind} (this server runs in production mode, which has tools only)"
    )
