"""A session on a server, for as long as its episode can be trusted.

`RemoteSession` and `AsyncRemoteSession` join a connection with the ledger of its episode. The connection
is opened by the first call. When it breaks, every later call raises `SessionLost`, until the caller
starts over explicitly: `reset` (a new episode may begin on a new connection) or `connect`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from openenv.client.connection import SyncConnection
from openenv.client.endpoint import Endpoint
from openenv.client.ledger import EpisodeLedger
from openenv.errors import (
    EnvironmentFailedError,
    InvalidActionError,
    OpenEnvError,
    ProtocolError,
    SessionCapacityError,
    SessionLost,
    UsageError,
)
from openenv.protocol.plain import Reply, result_from_reply
from openenv.protocol.wire_errors import error_from_payload
from openenv.types import StepResult

if TYPE_CHECKING:
    from openenv.client.async_connection import AsyncConnection


class _Session:
    """What both faces share: everything but waiting."""

    def __init__(self, endpoint: Endpoint, *, session_id: str | None, strict: bool) -> None:
        self.endpoint = endpoint
        self.ledger = EpisodeLedger(strict=strict, session=session_id)
        self._session_id = session_id
        self._rpc_count = 0

    @property
    def route(self) -> str:
        """Route and query of the WebSocket."""
        if self._session_id is None:
            return "/ws"
        from urllib.parse import quote

        return f"/ws?session_id={quote(self._session_id, safe='')}"

    def _must_open(self, call: str, alive: bool | None) -> bool:
        """Whether `call` opens a connection; `alive` is None where there has been none.

        Raises:
            OrderError: the call is not allowed now.
            SessionLost: the episode is gone.
        """
        self.ledger.admit(call)
        if alive is None:
            return True
        return call == "reset" and not alive

    def _opened(self) -> None:
        self.ledger.reopened(self._session_id)

    def _failed(self, error: OpenEnvError, session: str | None) -> OpenEnvError:
        """Note a failed call of a session; return what to raise."""
        if isinstance(error, UsageError):
            return error
        self.ledger.session = self.ledger.session or session
        before = (self.ledger.episode, self.ledger.step)
        self.ledger.failed(error)
        if type(error) is SessionLost:
            lost = self.ledger.lost()
            lost.__cause__ = error
            lost.episode, lost.step = before
            return lost
        return error

    def note(self, call: str, data: Any, reply: Reply) -> StepResult[Any]:
        """Enter the reply to `reset` or `step` into the ledger; return its result, observation unread.

        Raises:
            ProtocolError: the reply says what this version does not understand.
        """
        try:
            result = result_from_reply(reply, reply.data.get("observation"))
        except (ValueError, TypeError, AttributeError) as problem:
            raise ProtocolError(f"The server's reply to {call} is not understood: {problem}") from problem
        if call == "step":
            self.ledger.stepped(result)
        else:
            self.ledger.began(result, seed=data.get("seed"), episode_id=data.get("episode_id"))
        return result

    def _rpc(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._rpc_count += 1
        return {"jsonrpc": "2.0", "method": method, "params": params, "id": self._rpc_count}


class RemoteSession(_Session):
    """A session driven by synchronous code. Safe to share between threads.

    Args:
        endpoint: the server.
        session_id: a session to attach to, made over HTTP or MCP; None opens a new one.
        strict: whether a step after the end of the episode is refused without asking the server.
    """

    def __init__(self, endpoint: Endpoint, *, session_id: str | None = None, strict: bool = True) -> None:
        super().__init__(endpoint, session_id=session_id, strict=strict)
        self.connection: SyncConnection | None = None
        self._opening = threading.Lock()

    def connect(self) -> None:
        """Open the connection if none is open; after a loss this starts a new session.

        Raises:
            ServerUnreachableError: nothing answers there.
            AuthenticationError: the server wants a token.
            SessionCapacityError: the server is full.
        """
        self._open()

    def reset(self, options: dict[str, Any], timeout_s: float | None = None) -> StepResult[Any]:
        """Start an episode; after a loss, on a new connection. The observation is left as it came."""
        return self.note("reset", options, self.call("reset", options, timeout_s))

    def step(self, action: Any, timeout_s: float | None = None) -> StepResult[Any]:
        """Take a step. The observation is left as it came."""
        return self.note("step", action, self.call("step", action, timeout_s))

    def state(self, timeout_s: float | None = None) -> Any:
        """The environment's public state as it came."""
        return self.call("state", None, timeout_s).data

    def rpc(self, method: str, params: dict[str, Any], timeout_s: float | None = None) -> Any:
        """Call a method of the tool interface (`tools/list`, `tools/call`)."""
        return rpc_result(self.call("mcp", self._rpc(method, params), timeout_s).data)

    def close(self) -> None:
        """End the session. A second call does nothing."""
        self.ledger.closed()
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def _open(self) -> SyncConnection:
        with self._opening:
            connection = self.connection
            if connection is not None:
                if connection.alive:
                    return connection
                connection.close()
                self.connection = None
            self.connection = connection = SyncConnection(self.endpoint, self.route)
            self._opened()
            return connection

    def call(self, call: str, data: Any = None, timeout_s: float | None = None) -> Reply:
        """Send a request and return its reply; a connection is opened where that is allowed.

        Raises:
            OrderError: the call is not allowed now.
            SessionLost: the episode is gone.
            OpenEnvError: the server's own error, typed.
        """
        connection = self.connection
        if connection is not None and call == "reset" and connection.alive and not connection.connected:
            connection.revive(timeout_s)  # a reset that has not been sent may as well go to a new session
        if self._must_open(call, None if connection is None else connection.alive) or connection is None:
            connection = self._open()
        try:
            return connection.call(call, data, timeout_s=timeout_s)
        except OpenEnvError as error:
            problem = self._failed(error, connection.session)
            raise problem from problem.__cause__


class AsyncRemoteSession(_Session):
    """A session driven by coroutines of one event loop.

    Args:
        endpoint: the server.
        session_id: a session to attach to, made over HTTP or MCP; None opens a new one.
        strict: whether a step after the end of the episode is refused without asking the server.
    """

    def __init__(self, endpoint: Endpoint, *, session_id: str | None = None, strict: bool = True) -> None:
        super().__init__(endpoint, session_id=session_id, strict=strict)
        self.connection: AsyncConnection | None = None
        self._opening: Any = None

    async def connect(self) -> None:
        """Open the connection if none is open; after a loss this starts a new session.

        Raises:
            ServerUnreachableError: nothing answers there.
            AuthenticationError: the server wants a token.
            SessionCapacityError: the server is full.
        """
        await self._open()

    async def reset(self, options: dict[str, Any], timeout_s: float | None = None) -> StepResult[Any]:
        """Start an episode; after a loss, on a new connection. The observation is left as it came."""
        return self.note("reset", options, await self.call("reset", options, timeout_s))

    async def step(self, action: Any, timeout_s: float | None = None) -> StepResult[Any]:
        """Take a step. The observation is left as it came."""
        return self.note("step", action, await self.call("step", action, timeout_s))

    async def state(self, timeout_s: float | None = None) -> Any:
        """The environment's public state as it came."""
        return (await self.call("state", None, timeout_s)).data

    async def rpc(self, method: str, params: dict[str, Any], timeout_s: float | None = None) -> Any:
        """Call a method of the tool interface (`tools/list`, `tools/call`)."""
        return rpc_result((await self.call("mcp", self._rpc(method, params), timeout_s)).data)

    async def close(self) -> None:
        """End the session. A second call does nothing."""
        self.ledger.closed()
        connection, self.connection = self.connection, None
        if connection is not None:
            await connection.close()

    async def _open(self) -> AsyncConnection:
        from asyncio import Lock

        from openenv.client.async_connection import AsyncConnection

        if self._opening is None:
            self._opening = Lock()
        async with self._opening:
            connection = self.connection
            if connection is not None:
                if connection.alive:
                    return connection
                await connection.close()
                self.connection = None
            self.connection = connection = await AsyncConnection.open(self.endpoint, self.route)
            self._opened()
            return connection

    async def call(self, call: str, data: Any = None, timeout_s: float | None = None) -> Reply:
        """Send a request and return its reply; a connection is opened where that is allowed.

        Raises:
            OrderError: the call is not allowed now.
            SessionLost: the episode is gone.
            OpenEnvError: the server's own error, typed.
        """
        connection = self.connection
        if connection is not None and call == "reset" and connection.alive and not connection.connected:
            await connection.revive(timeout_s)  # a reset that has not been sent may go to a new session
        if self._must_open(call, None if connection is None else connection.alive) or connection is None:
            connection = await self._open()
        try:
            return await connection.call(call, data, timeout_s=timeout_s)
        except OpenEnvError as error:
            problem = self._failed(error, connection.session)
            raise problem from problem.__cause__


_INVALID_PARAMS, _METHOD_NOT_FOUND, _SERVER_ERROR = -32602, -32601, -32000


def rpc_result(response: Any) -> Any:
    """The result of a JSON-RPC response.

    Raises:
        OpenEnvError: the error it carries instead, typed.
        ProtocolError: it is no JSON-RPC response.
    """
    if not isinstance(response, dict) or not ("result" in response or response.get("error")):
        raise ProtocolError(f"Not a JSON-RPC response: {str(response)[:200]}")
    error = response.get("error")
    if not error:
        return response["result"]
    if not isinstance(error, dict):
        raise EnvironmentFailedError(str(error))
    message, code, data = str(error.get("message", "")), error.get("code"), error.get("data")
    if isinstance(data, dict) and ("error" in data or "code" in data):
        raise error_from_payload({"message": message, **data})
    if code == _SERVER_ERROR and isinstance(data, dict) and "max_sessions" in data:
        raise SessionCapacityError(int(data.get("active_sessions", 0)), int(data["max_sessions"]), message)
    if code == _INVALID_PARAMS:
        raise InvalidActionError(message)
    if code == _METHOD_NOT_FOUND:
        raise ProtocolError(message)
    raise EnvironmentFailedError(message)
