"""The WebSocket at ``/mcp``: frames are requests of JSON-RPC, the session is the connection's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from openenv.errors import OpenEnvError, SessionCapacityError
from openenv.protocol.jsonrpc import JsonRpcErrorCode
from openenv.protocol.jsonvalue import to_jsonable
from openenv.server.contract import Close, Send
from openenv.server.door import NORMAL, Message, SocketDoor
from openenv.server.mcp import Payload, Refusal, ToolCall, failure, read_call, refusal_of
from openenv.session.handle import Prepared

if TYPE_CHECKING:
    from openenv.server.runtime import ServerRuntime

TRY_AGAIN_LATER = 1013


class McpDoor(SocketDoor):
    """A connection of an agent: tools only, the episode begins with the first call."""

    name = "mcp"

    def __init__(
        self, runtime: ServerRuntime, send: Send, close: Close, *, client: str | None = None
    ) -> None:
        super().__init__(runtime, send, close, client=client, auto_reset=True)

    async def open(self) -> None:
        """Open the session; a failure is told in JSON-RPC, which is all that the peer reads."""
        try:
            await super().open()
        except OpenEnvError as error:
            if self._ended:
                raise
            refusal = refusal_of(error)
            told = Refusal(JsonRpcErrorCode.SERVER_ERROR, refusal.message, refusal.data)
            self._send(_encode(failure(told)))
            self.end(TRY_AGAIN_LATER if isinstance(error, SessionCapacityError) else NORMAL, "")

    def message(self, payload: bytes, binary: bool) -> Message:
        """The message of a payload."""
        return McpMessage(self, payload, binary)


class McpMessage(Message):
    """One request of JSON-RPC."""

    __slots__ = ("_call",)

    def __init__(self, door: SocketDoor, payload: bytes, binary: bool) -> None:
        super().__init__(door, payload, binary)
        self._call = ToolCall()

    def prepare(self) -> Prepared | None:
        """Read the request and say which call it stands for."""
        door = self.door
        self._call = read_call(self._payload, door.runtime, door.session.id)
        return self._call.prepared

    def encode(self, value: Any, error: OpenEnvError | None) -> bytes:
        """Encode the response."""
        return _encode(self._call.response(value, error))


def _encode(response: Payload) -> bytes:
    # Published servers write this socket's JSON with spaces.
    return json.dumps(to_jsonable(response)).encode()
