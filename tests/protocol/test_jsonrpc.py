"""JSON-RPC envelopes as published clients expect them."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from openenv.protocol.jsonrpc import (
    JsonRpcError,
    JsonRpcErrorCode,
    JsonRpcRequest,
    JsonRpcResponse,
    McpMethod,
)


@pytest.mark.parametrize(
    ("code", "number", "message"),
    [
        ("PARSE_ERROR", -32700, "Parse error"),
        ("INVALID_REQUEST", -32600, "Invalid Request"),
        ("METHOD_NOT_FOUND", -32601, "Method not found"),
        ("INVALID_PARAMS", -32602, "Invalid params"),
        ("INTERNAL_ERROR", -32603, "Internal error"),
        ("SERVER_ERROR", -32000, "Server error"),
    ],
)
def test_codes_and_their_messages(code, number, message):
    error = JsonRpcError.from_code(JsonRpcErrorCode[code])
    assert error.model_dump() == {"code": number, "message": message, "data": None}
    assert JsonRpcErrorCode[code] == number


def test_own_message_and_data():
    error = JsonRpcError.from_code(JsonRpcErrorCode.SERVER_ERROR, "full", {"max": 1})
    assert (error.message, error.data) == ("full", {"max": 1})


def test_request():
    request = JsonRpcRequest(jsonrpc="2.0", method="tools/list")
    assert (request.params, request.id) == ({}, None)
    assert JsonRpcRequest(jsonrpc="2.0", method="m", id="a").id == "a"
    assert JsonRpcRequest(jsonrpc="2.0", method="m", id=7).id == 7
    for bad in (
        {"method": "m"},
        {"jsonrpc": "1.0", "method": "m"},
        {"jsonrpc": "2.0"},
        {"jsonrpc": "2.0", "method": "m", "params": []},
        {"jsonrpc": "2.0", "method": "m", "extra": 1},
    ):
        with pytest.raises(ValidationError):
            JsonRpcRequest.model_validate(bad)


def test_response_has_result_or_error():
    success = JsonRpcResponse.success({"tools": []}, 7)
    assert success.model_dump() == {"jsonrpc": "2.0", "id": 7, "result": {"tools": []}}
    assert JsonRpcResponse.success(None).model_dump() == {"jsonrpc": "2.0", "id": None, "result": None}
    failure = JsonRpcResponse.error_response(JsonRpcErrorCode.INVALID_PARAMS, request_id="a")
    expected = {
        "jsonrpc": "2.0",
        "id": "a",
        "error": {"code": -32602, "message": "Invalid params", "data": None},
    }
    assert failure.model_dump() == expected
    assert failure.model_dump(by_alias=True) == expected
    assert failure.model_dump_json() == json.dumps(expected)


def test_methods():
    assert [method.value for method in McpMethod] == ["tools/list", "tools/call"]
