"""JSON-RPC 2.0 envelopes, as the published tool interface uses them.

A response carries either `result` or `error`; its dump leaves the other one out.
"""

from __future__ import annotations

import json
from enum import Enum, StrEnum
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field


class JsonRpcErrorCode(int, Enum):
    """Error codes of JSON-RPC 2.0; `SERVER_ERROR` is the implementation's own (a full server)."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    SERVER_ERROR = -32000


_MESSAGES = {
    JsonRpcErrorCode.PARSE_ERROR: "Parse error",
    JsonRpcErrorCode.INVALID_REQUEST: "Invalid Request",
    JsonRpcErrorCode.METHOD_NOT_FOUND: "Method not found",
    JsonRpcErrorCode.INVALID_PARAMS: "Invalid params",
    JsonRpcErrorCode.INTERNAL_ERROR: "Internal error",
    JsonRpcErrorCode.SERVER_ERROR: "Server error",
}


class McpMethod(StrEnum):
    """Methods of the tool interface."""

    TOOLS_LIST = "tools/list"
    TOOLS_CALL = "tools/call"


class JsonRpcError(BaseModel):
    """The `error` of a response.

    Attributes:
        code: one of `JsonRpcErrorCode`, or the application's own.
        message: one sentence.
        data: further facts.
    """

    model_config = ConfigDict(extra="forbid")

    code: int
    message: str
    data: Any | None = None

    @classmethod
    def from_code(cls, code: JsonRpcErrorCode, message: str | None = None, data: Any = None) -> Self:
        """Build the error of a code, with the standard's message where none is given."""
        return cls(code=code.value, message=message or _MESSAGES.get(code, "Unknown error"), data=data)


class JsonRpcRequest(BaseModel):
    """A request; without `id` it is a notification.

    Attributes:
        jsonrpc: always "2.0".
        method: what to do.
        params: arguments by name.
        id: the caller's name for the request.
    """

    model_config = ConfigDict(extra="forbid")

    jsonrpc: Literal["2.0"]
    method: str
    params: dict[str, Any] = Field(default_factory=dict)
    id: str | int | None = None


class JsonRpcResponse(BaseModel):
    """A response: a result, or an error.

    Attributes:
        jsonrpc: always "2.0".
        result: what the method gave; absent from the dump if there is an error.
        error: what went wrong.
        id: the `id` of the request.
    """

    model_config = ConfigDict(extra="forbid")

    jsonrpc: Literal["2.0"] = "2.0"
    result: Any | None = None
    error: JsonRpcError | None = None
    id: str | int | None = None

    def model_dump(self, **kwargs: Any) -> dict[str, Any]:
        """Return the response as the standard wants it; pydantic's arguments change nothing."""
        head: dict[str, Any] = {"jsonrpc": self.jsonrpc, "id": self.id}
        if self.error is not None:
            return {**head, "error": self.error.model_dump()}
        return {**head, "result": self.result}

    def model_dump_json(self, **kwargs: Any) -> str:
        """Return `model_dump` as JSON text."""
        return json.dumps(self.model_dump())

    @classmethod
    def success(cls, result: Any, request_id: str | int | None = None) -> Self:
        """Build a response with a result."""
        return cls(result=result, id=request_id)

    @classmethod
    def error_response(
        cls,
        code: JsonRpcErrorCode,
        message: str | None = None,
        data: Any = None,
        request_id: str | int | None = None,
    ) -> Self:
        """Build a response with an error."""
        return cls(error=JsonRpcError.from_code(code, message, data), id=request_id)
