"""The published models of tools."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from openenv.protocol.mcp_types import (
    RESERVED_TOOL_NAMES,
    CallToolAction,
    CallToolObservation,
    ListToolsAction,
    ListToolsObservation,
    Tool,
    ToolError,
    ToolErrorType,
    WSMCPMessage,
    WSMCPResponse,
)
from openenv.protocol.messages import BaseMessage
from openenv.types import Action, Observation


def test_actions():
    call = CallToolAction(tool_name="t")
    assert call.model_dump() == {"metadata": {}, "type": "call_tool", "tool_name": "t", "arguments": {}}
    assert ListToolsAction().model_dump() == {"metadata": {}, "type": "list_tools"}
    assert isinstance(call, Action)
    for bad in ({}, {"tool_name": "t", "x": 1}, {"tool_name": "t", "type": "list_tools"}, {"tool_name": 1}):
        with pytest.raises(ValidationError):
            CallToolAction.model_validate(bad)


def test_observations():
    done = CallToolObservation(tool_name="t", result={"data": 1})
    assert list(done.model_dump()) == ["done", "reward", "metadata", "tool_name", "result", "error"]
    failed = CallToolObservation(tool_name="t", error=ToolError(error_type="timeout", message="m"))
    assert failed.model_dump_json(include={"error"}) == '{"error":{"error_type":"timeout","message":"m"}}'
    listed = ListToolsObservation(tools=[Tool(name="t", description="", input_schema={})])
    assert listed.model_dump()["tools"] == [{"name": "t", "description": "", "input_schema": {}}]
    assert isinstance(listed, Observation)
    with pytest.raises(ValidationError):
        ListToolsObservation()


def test_error_types():
    assert [kind.value for kind in ToolErrorType] == [
        "execution_error",
        "invalid_args",
        "transport_error",
        "tool_not_found",
        "timeout",
    ]


def test_reserved_names():
    assert RESERVED_TOOL_NAMES == {"reset", "step", "state", "close"}


def test_frames():
    assert WSMCPMessage(data={"id": 1}).model_dump() == {"type": "mcp", "data": {"id": 1}}
    assert WSMCPResponse(data={"id": 1}).model_dump() == {"type": "mcp", "data": {"id": 1}}
    assert issubclass(WSMCPMessage, BaseMessage)
    with pytest.raises(ValidationError):
        WSMCPMessage(data={}, extra=1)
