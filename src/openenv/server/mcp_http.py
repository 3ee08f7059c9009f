"""``POST /mcp``: the published JSON-RPC dialect over HTTP.

Calls create, name and close a session. A call that names none gets an environment of its own for that one
call. A created session that is not called for its lease, and that no socket is attached to, is closed: a
client that dies leaves nothing behind.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fastapi import Request, Response

from openenv.errors import OpenEnvError
from openenv.protocol.jsonrpc import JsonRpcErrorCode, JsonRpcRequest
from openenv.protocol.plain import encode_json
from openenv.server.http import call
from openenv.server.mcp import (
    SESSION_CLOSE,
    SESSION_CREATE,
    Payload,
    Refusal,
    check_method,
    closed_result,
    closing_target,
    failure,
    parse_object,
    refusal_of,
    session_of,
    success,
    tool_call,
)
from openenv.server.scope import client_of
from openenv.session.handle import HostedSession

if TYPE_CHECKING:
    from openenv.server.runtime import ServerRuntime


class McpRoute:
    """The endpoint of ``POST /mcp``.

    Args:
        runtime: the server.
    """

    def __init__(self, runtime: ServerRuntime) -> None:
        self._runtime = runtime

    async def post(self, request: Request) -> Response:
        """Answer one request; the status is always 200, errors are told in JSON-RPC."""
        raw = await request.body()
        client = client_of(request.scope)
        reply = encode_json(await self._answer(raw, client[0] if client else None))
        self._runtime.metrics.received.add(len(raw), "mcp")
        self._runtime.metrics.sent.add(len(reply), "mcp")
        return Response(reply, media_type="application/json")

    async def _answer(self, raw: bytes, client: str | None) -> Payload:
        request_id = None
        try:
            request = _read(raw)
            request_id = request.id
            check_method(request)
            return success(await self._result(request, client), request_id)
        except Refusal as refusal:
            return failure(refusal, request_id)
        except OpenEnvError as error:
            return failure(refusal_of(self._runtime.presentable(error)), request_id)

    async def _result(self, request: JsonRpcRequest, client: str | None) -> Any:
        runtime = self._runtime
        if request.method == SESSION_CREATE:
            hosted = await runtime.open_session("mcp", auto_reset=True, client=client)
            return {"session_id": hosted.id}
        if request.method == SESSION_CLOSE:
            target = closing_target(request)
            return closed_result(target, await runtime.close_session(target))
        session_id = session_of(request)
        if session_id is not None:
            return await self._call(request, runtime.manager.get(session_id))
        prepared, finish = tool_call(runtime.spec, runtime.dialect, request)
        if prepared is None:
            return finish(None)
        hosted = await runtime.open_session("mcp", auto_reset=True, client=client)
        try:
            return await self._call(request, hosted)
        finally:
            await runtime.close_session(hosted.id)

    async def _call(self, request: JsonRpcRequest, hosted: HostedSession) -> Any:
        prepared, finish = tool_call(self._runtime.spec, self._runtime.dialect, request)
        value = await call(self._runtime, hosted, lambda: prepared, lambda found: found)
        return finish(value)


def _read(raw: bytes) -> JsonRpcRequest:
    """Read the body; as published, anything but an object is a parse error here, a batch included."""
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError):
        raise Refusal(JsonRpcErrorCode.PARSE_ERROR) from None
    if not isinstance(message, dict):
        raise Refusal(JsonRpcErrorCode.PARSE_ERROR)
    return parse_object(message)
