"""The published JSON-RPC dialect of tools, without any transport.

``tools/list``, ``tools/call``, ``openenv/session/create`` and ``openenv/session/close`` come over ``POST
/mcp``, over a WebSocket at ``/mcp`` and inside ``{"type": "mcp"}`` frames. `read_call` turns a request of
a socket, which has a session, into a `ToolCall`: what to put to the session and how its answer becomes a
response. A tool call is a step, so it counts, is rewarded and bounded like any other.

What a tool is depends on who wrote the environment (`Dialect`), and so does the published form of its
listing and results.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from openenv.environment import EnvironmentSpec
from openenv.errors import (
    EnvironmentFactoryError,
    InvalidActionError,
    OpenEnvError,
    SessionCapacityError,
    SessionNotFoundError,
)
from openenv.protocol.jsonrpc import JsonRpcErrorCode, JsonRpcRequest, JsonRpcResponse, McpMethod
from openenv.protocol.jsonvalue import to_jsonable
from openenv.protocol.mcp_types import (
    CallToolAction,
    CallToolObservation,
    ListToolsAction,
    ListToolsObservation,
)
from openenv.protocol.wire_errors import error_payload
from openenv.server.excerpts import text_excerpt
from openenv.session.handle import Prepared
from openenv.types import StepResult

if TYPE_CHECKING:
    from openenv.server.runtime import ServerRuntime

SESSION_CREATE = "openenv/session/create"
SESSION_CLOSE = "openenv/session/close"
METHODS = frozenset({McpMethod.TOOLS_LIST.value, McpMethod.TOOLS_CALL.value, SESSION_CREATE, SESSION_CLOSE})

Payload = dict[str, Any]


class Refusal(Exception):
    """A request that is answered with an error of JSON-RPC.

    Attributes:
        code: the error code.
        message: one sentence.
        data: further facts.
    """

    def __init__(self, code: JsonRpcErrorCode, message: str | None = None, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.data = code, data
        self.message = message and text_excerpt(message)


class Dialect(Enum):
    """Where an environment's tools come from."""

    NATIVE = "native"
    """Methods marked `@tool`; listed and answered in the form that FastMCP gives published ones."""
    FASTMCP = "fastmcp"
    """A FastMCP server inside the environment (published `MCPEnvironment`)."""
    ACTIONS = "actions"
    """The environment's own `step` understands the published tool actions."""
    NONE = "none"
    """It has none."""


def dialect_of(spec: EnvironmentSpec) -> Dialect:
    """Tell where an environment's tools come from."""
    if spec.tools:
        return Dialect.NATIVE
    if getattr(spec.cls, "mcp_session", None) is not None:
        return Dialect.FASTMCP
    try:
        action = spec.validate_action({"type": "call_tool", "tool_name": "x", "arguments": {}})
    except InvalidActionError:
        return Dialect.NONE
    return Dialect.ACTIONS if isinstance(action, CallToolAction) else Dialect.NONE


def parse_text(raw: bytes | str) -> JsonRpcRequest:
    """Read a request from text.

    Raises:
        Refusal: it is not JSON, or not a request.
    """
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError) as problem:
        raise Refusal(JsonRpcErrorCode.PARSE_ERROR, f"Parse error: {problem}") from None
    return parse_object(message)


def parse_object(message: Any) -> JsonRpcRequest:
    """Read a request from decoded JSON.

    Raises:
        Refusal: it is not a request.
    """
    try:
        return JsonRpcRequest.model_validate(message)
    except ValidationError as problem:
        raise Refusal(JsonRpcErrorCode.INVALID_REQUEST, f"Invalid request: {problem}") from None


def session_of(request: JsonRpcRequest) -> str | None:
    """The session that a request names.

    Raises:
        Refusal: by something that is not text.
    """
    session_id = request.params.get("session_id")
    if session_id is None or (isinstance(session_id, str) and session_id):
        return session_id
    raise Refusal(JsonRpcErrorCode.INVALID_PARAMS, "Invalid params - 'session_id' must be a non-empty string")


@dataclass(slots=True)
class ToolCall:
    """A request, what to put to the session for it, and how to answer.

    Attributes:
        prepared: the session's call; None if the answer is known.
        request_id: the request's id.
        finish: makes the result of the call's value; may raise `Refusal`.
        refused: why the request is refused, if it is.
    """

    prepared: Prepared | None = None
    request_id: str | int | None = None
    finish: Callable[[Any], Any] = lambda value: value
    refused: Refusal | None = None

    def response(self, value: Any, error: OpenEnvError | None) -> Payload:
        """The response for what the session answered."""
        refusal = self.refused
        if refusal is None and error is None:
            try:
                return success(self.finish(value), self.request_id)
            except Refusal as problem:
                refusal = problem
        return failure(refusal or refusal_of(error or OpenEnvError()), self.request_id)


def read_call(message: Any, runtime: ServerRuntime, own_session: str) -> ToolCall:
    """Read a request of a socket.

    Args:
        message: the request: decoded JSON, or its text.
        runtime: the server.
        own_session: id of the session behind the socket.
    """
    call = ToolCall()
    try:
        request = parse_text(message) if isinstance(message, bytes | str) else parse_object(message)
        call.request_id = request.id
        if request.method == SESSION_CREATE:
            call.finish = lambda _: {"session_id": own_session}
        elif request.method == SESSION_CLOSE:
            closed = _close_other(request, runtime, own_session)
            call.finish = lambda _: closed
        else:
            call.prepared, call.finish = tool_call(runtime.spec, runtime.dialect, request)
    except Refusal as refusal:
        call.refused = refusal
    return call


def closing_target(request: JsonRpcRequest) -> str:
    """The session that `openenv/session/close` names.

    Raises:
        Refusal: it names none.
    """
    target = session_of(request)
    if target is None:
        raise Refusal(JsonRpcErrorCode.INVALID_PARAMS, "Invalid params - 'session_id' is required")
    return target


def _close_other(request: JsonRpcRequest, runtime: ServerRuntime, own_session: str) -> Payload:
    target = closing_target(request)
    if target == own_session:
        raise Refusal(
            JsonRpcErrorCode.INVALID_REQUEST, "Cannot close active WebSocket-managed session via MCP method"
        )
    try:
        return closed_result(target, runtime.close_soon(target))
    except OpenEnvError as error:
        raise refusal_of(error) from None


def closed_result(session_id: str, closed: bool) -> Payload:
    """The result of `openenv/session/close`: closed, or to be closed when its socket goes."""
    result = {"session_id": session_id, "closed": closed}
    return result if closed else {**result, "closing": True}


def tool_call(
    spec: EnvironmentSpec, dialect: Dialect, request: JsonRpcRequest
) -> tuple[Prepared | None, Callable[[Any], Any]]:
    """What to put to a session for `tools/list` or `tools/call`, and what makes a result of its answer.

    Raises:
        Refusal: the method is unknown, its parameters do not fit, or there are no tools.
    """
    check_method(request)
    listing = request.method == McpMethod.TOOLS_LIST
    action = None if listing else _action(request.params)
    if dialect is Dialect.NONE:
        raise Refusal(JsonRpcErrorCode.INTERNAL_ERROR, "Environment does not support MCP")
    if action is not None:
        finish = _whole_observation if dialect is Dialect.ACTIONS else _tool_result
        return ("step", {"action": action}), finish
    if dialect is Dialect.NATIVE:
        return None, lambda _: {"tools": [_listed(tool) for tool in spec.tools]}
    if dialect is Dialect.FASTMCP:
        return ("ask", {"name": "tools/list", "question": _ask_fastmcp}), _fastmcp_tools

    def ask(env: Any) -> Any:
        return spec.call_step(env, ListToolsAction())

    return ("ask", {"name": "tools/list", "question": ask}), _listed_by_step


def check_method(request: JsonRpcRequest) -> None:
    """Refuse methods that do not exist.

    Raises:
        Refusal: this one does not.
    """
    if request.method not in METHODS:
        raise Refusal(JsonRpcErrorCode.METHOD_NOT_FOUND, f"Method not found: {request.method}")


def _action(params: dict[str, Any]) -> CallToolAction:
    name, arguments = params.get("name"), params.get("arguments")
    if not name:
        raise Refusal(JsonRpcErrorCode.INVALID_PARAMS, "Missing 'name' in params")
    if not isinstance(name, str):
        raise Refusal(JsonRpcErrorCode.INVALID_PARAMS, "Invalid params - 'name' must be a string")
    if arguments is not None and not isinstance(arguments, dict):
        raise Refusal(JsonRpcErrorCode.INVALID_PARAMS, "Invalid params - 'arguments' must be an object")
    return CallToolAction(tool_name=name, arguments=arguments or {})


# Listings --------------------------------------------------------------------------------------------


def _listed(tool: Any) -> Payload:
    return {
        "name": tool.name,
        "title": None,
        "description": tool.description,
        "inputSchema": tool.input_schema,
        "outputSchema": tool.output_schema,
        "icons": None,
        "annotations": None,
        "meta": {"fastmcp": {"tags": []}},
        "execution": None,
    }


async def _ask_fastmcp(env: Any) -> Any:
    published = getattr(env, "published_tools", None)
    if published is not None:  # ours knows the published form; any other MCPEnvironment is asked
        return await published()
    async with env.mcp_session():
        return await env.mcp_client.list_tools()


def _fastmcp_tools(tools: Any) -> Payload:
    return {"tools": [to_jsonable(t.model_dump() if isinstance(t, BaseModel) else dict(t)) for t in tools]}


def _listed_by_step(observation: Any) -> Payload:
    if not isinstance(observation, ListToolsObservation):
        raise _unexpected("tools/list", observation, ListToolsObservation)
    return {"tools": [tool.model_dump() for tool in observation.tools]}


# Results ---------------------------------------------------------------------------------------------


def _tool_result(result: StepResult[Any]) -> Any:
    observation = result.observation
    if not isinstance(observation, CallToolObservation):
        raise _unexpected("tools/call", observation, CallToolObservation)
    if observation.error is not None:
        raise Refusal(JsonRpcErrorCode.INTERNAL_ERROR, observation.error.message)
    return to_jsonable(observation.result)


def _whole_observation(result: StepResult[Any]) -> Any:
    observation = result.observation
    if not isinstance(observation, CallToolObservation):
        raise _unexpected("tools/call", observation, CallToolObservation)
    return to_jsonable(observation)


def _unexpected(method: str, got: Any, expected: type) -> Refusal:
    return Refusal(
        JsonRpcErrorCode.INTERNAL_ERROR,
        f"MCP-style {method} step returned {type(got).__name__}, expected {expected.__name__}",
    )


# Responses -------------------------------------------------------------------------------------------


def refusal_of(error: OpenEnvError) -> Refusal:
    """How an error of a session is told in JSON-RPC."""
    if isinstance(error, SessionCapacityError | EnvironmentFactoryError):
        return Refusal(JsonRpcErrorCode.SERVER_ERROR, error.message, error.data)
    if isinstance(error, SessionNotFoundError):
        return Refusal(JsonRpcErrorCode.INVALID_PARAMS, error.message)
    return Refusal(JsonRpcErrorCode.INTERNAL_ERROR, error.message, error_payload(error))


def success(result: Any, request_id: str | int | None = None) -> Payload:
    """A response with a result."""
    return JsonRpcResponse.success(result, request_id).model_dump()


def failure(refusal: Refusal, request_id: str | int | None = None) -> Payload:
    """A response with an error; `data` is always there."""
    return JsonRpcResponse.error_response(
        refusal.code, refusal.message, to_jsonable(refusal.data), request_id
    ).model_dump()
