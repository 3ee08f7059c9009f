"""The calls of one session on an extended connection, answered in their order.

A `SessionCall` is one request. It is posted to the session, its reply is encoded where the environment lives
and goes into the session's reply log first; then it leaves, unless the connection has gone meanwhile: whoever
resumes the session finds it in the log. A request whose id was taken before is not posted: it waits for, or
finds, the reply to the first.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from openenv.errors import CallCancelledError, InvalidActionError, OpenEnvError, SessionLost
from openenv.protocol.extended import Codec, ExtendedRequest
from openenv.protocol.jsonvalue import to_jsonable
from openenv.protocol.plain import invalid_message, issue
from openenv.server.mcp import ToolCall, read_call
from openenv.server.options import reset_arguments
from openenv.server.tenancy import Tenant
from openenv.session.handle import Prepared

if TYPE_CHECKING:
    from openenv.server.extended_door import ExtendedDoor
    from openenv.server.runtime import ServerRuntime

CALLS = frozenset({"reset", "step", "state", "mcp"})
"""Requests that are calls of a session."""


class Lane:
    """One session on one connection.

    Args:
        door: the connection's door.
        tenant: the session.

    Attributes:
        calls: requests whose reply has not left.
    """

    __slots__ = ("_lock", "calls", "door", "tenant")

    def __init__(self, door: ExtendedDoor, tenant: Tenant) -> None:
        self.door = door
        self.tenant = tenant
        self.calls: deque[SessionCall] = deque()
        self._lock = threading.Lock()

    def take(self, request: ExtendedRequest) -> None:
        """Take a request. Where messages are read."""
        call = SessionCall(self, request)
        self.calls.append(call)
        number = request.id
        if number is None or self._is_new(number, call):
            self.tenant.hosted.post(call.prepare, call.done)

    def _is_new(self, number: int, call: SessionCall) -> bool:
        try:
            return self.tenant.log.take(number, call.answered)
        except OpenEnvError as error:
            call.answered(self.door.codec.error(error))
            return False

    def answer(self) -> None:
        """Send the replies whose turn it is; from any thread."""
        calls, door = self.calls, self.door
        with self._lock:
            while calls and (body := calls[0].body) is not None:
                request = calls.popleft().request
                door.send(door.codec.frame(body, request.id, request.session), 1)
        door.settle()


class SessionCall:
    """One request of a session and, once it is known, the body of its reply."""

    __slots__ = ("_tool", "body", "cancelled", "lane", "request", "started")

    def __init__(self, lane: Lane, request: ExtendedRequest) -> None:
        self.lane = lane
        self.request = request
        self.body: bytes | None = None
        self.cancelled = False
        self.started = False
        self._tool: ToolCall | None = None

    def prepare(self) -> Prepared | None:
        """Say which call it stands for. Runs where the environment lives.

        Raises:
            OpenEnvError: it stands for none.
        """
        self.started = True
        if self.cancelled:
            raise never_begun()
        lane, request = self.lane, self.request
        if request.type == "mcp":
            self._tool = read_call(needed(request.data, request.type), lane.door.runtime, lane.tenant.id)
            return self._tool.prepared
        return prepared(
            lane.door.runtime, request.type, request.data, request.timeout_s, arrays=request.arrays
        )

    def done(self, value: Any, error: OpenEnvError | None) -> None:
        """Take what came of the call."""
        tenant, door = self.lane.tenant, self.lane.door
        if self._tool is not None:
            body = door.codec.mcp(self._tool.response(value, error))
        else:
            body = body_of(door.runtime, door.codec, self.request.type, value, error)
        if self.request.id is not None:
            tenant.log.finish(self.request.id, body)
        self.answered(body)

    def cancel(self) -> bool:
        """Stop it; return whether there was anything to be stopped. From any thread."""
        self.cancelled = True
        return self.body is None and (not self.started or stop(self.lane.tenant, lambda: self.body is None))

    def answered(self, body: bytes) -> None:
        """Take the body of the reply, made now or kept from before, and send it when its turn comes."""
        self.body = self.lane.door.codec.translated(body)
        self.lane.answer()


def prepared(
    runtime: ServerRuntime, kind: str, data: dict[str, Any] | None, timeout_s: float | None, *, arrays: bool
) -> Prepared:
    """The session's call for a request.

    Args:
        runtime: the server.
        kind: `reset`, `step` or `state`.
        data: the request's payload.
        timeout_s: deadline of the call in seconds.
        arrays: whether the payload holds arrays, which an action's fields may want as lists.

    Raises:
        OpenEnvError: there is none.
    """
    if kind == "step":
        action = needed(data, kind)
        return "step", {"action": fitted(runtime, action) if arrays else action, "timeout_s": timeout_s}
    if kind == "reset":
        return "reset", reset_arguments(to_jsonable(data) if arrays else data or {}, timeout_s)
    return "state", {}


def fitted(runtime: ServerRuntime, action: dict[str, Any]) -> Any:
    """An action that came with arrays, as the environment takes it: as arrays, or else as lists."""
    try:
        return runtime.spec.validate_action(action)
    except InvalidActionError:
        return to_jsonable(action)


def needed(data: dict[str, Any] | None, kind: str) -> dict[str, Any]:
    """The payload of a message that says nothing without it.

    Raises:
        InvalidActionError: it has none.
    """
    if data is None:
        raise invalid_message([issue("missing", ["data"], "Field required", {"type": kind})])
    return data


def body_of(runtime: ServerRuntime, codec: Codec, kind: str, value: Any, error: OpenEnvError | None) -> bytes:
    """Encode what came of a call. Never raises."""
    try:
        if error is not None:
            return codec.error(runtime.presentable(error))
        return codec.state(value) if kind == "state" else codec.result(value)
    # Boundary: encoding runs an author's serializers, and a call without a reply would hold up every later
    # one.
    except Exception as problem:
        return codec.error(runtime.internal_error(problem))


def unknown_session(name: str) -> SessionLost:
    """The error for a request whose session is none of the connection's."""
    return SessionLost(
        f"This connection has no session {name[:80]!r}: it was closed, taken over, or never here",
        session=name[:80],
    )


def stop(tenant: Tenant, unanswered: Callable[[], bool]) -> bool:
    """Stop a session's running call.

    Args:
        tenant: the session.
        unanswered: whether the call that is meant has no reply yet.

    Returns:
        Whether it is being stopped.
    """
    session = tenant.hosted.session
    call = session.running()
    # In this order: a call seen before the reply to ours was cannot be a later one's.
    return call is not None and unanswered() and session.cancel(call)


def never_begun() -> CallCancelledError:
    """The error for a call that was cancelled before its turn came."""
    error = CallCancelledError("The call was cancelled before it began")
    error.session_fate = "alive"
    return error
