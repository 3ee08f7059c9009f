"""Published tool clients over servers that take tool calls as steps, as JSON-RPC, or not at all."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from tests.client.scripted import Peer, ScriptedServer

from openenv.client.mcp import GenericMCPObservation, MCPClientBase, MCPToolClient
from openenv.errors import ServerUnreachableError, SessionLost, ToolCallError
from openenv.protocol.mcp_types import (
    CallToolAction,
    CallToolObservation,
    ListToolsAction,
    ListToolsObservation,
    Tool,
)
from openenv.types import Observation

Start = Callable[..., ScriptedServer]
TOOLS = [{"name": "add", "description": None, "inputSchema": {"type": "object"}, "meta": None}]


def tool_server(peer: Peer, *, steps: str = "yes", needs_reset: bool = False) -> None:
    """A tool environment; `steps` is `yes`, `no` (production) or `other` (its actions are no tool calls)."""
    peer.accept()
    began = not needs_reset
    while True:
        request = peer.request()
        data = request.get("data", {})
        if request["type"] == "mcp":
            peer.send({"type": "mcp", "data": {"jsonrpc": "2.0", "id": data["id"], **_rpc(data)}}, request)
        elif request["type"] == "reset":
            began = True
            peer.observe(request, ready=True)
        elif steps == "no":
            peer.send({"type": "error", "data": {"message": "no steps", "code": "UNKNOWN_TYPE"}}, request)
        elif steps == "other":
            peer.send({"type": "error", "data": {"message": "Invalid", "code": "VALIDATION_ERROR"}}, request)
        elif not began:
            data = {"message": "reset first", "code": "EXECUTION_ERROR", "error": "OrderError"}
            peer.send({"type": "error", "data": data}, request)
        elif data["tool_name"] == "add":
            result = {"content": [], "data": sum(data["arguments"].values()), "is_error": False}
            peer.observe(request, reward=0.5, tool_name="add", result=result, error=None)
        else:
            error = {"error_type": "tool_not_found", "message": "Unknown tool: 'x'"}
            peer.observe(request, tool_name="x", result=None, error=error)


def _rpc(request: dict[str, Any]) -> dict[str, Any]:
    if request["method"] == "tools/list":
        return {"result": {"tools": TOOLS}}
    if request["params"]["name"] == "add":
        return {"result": {"content": [], "data": sum(request["params"]["arguments"].values())}}
    return {"error": {"code": -32603, "message": "Unknown tool: 'x'", "data": None}}


def test_the_published_signature() -> None:
    assert list(inspect.signature(MCPClientBase).parameters) == [
        "base_url",
        "connect_timeout_s",
        "message_timeout_s",
        "websocket_ping_interval_s",
        "websocket_ping_timeout_s",
        "provider",
        "mode",
        "max_message_size_mb",
        "headers",
    ]
    assert MCPToolClient("http://x").use_production_mode
    assert MCPToolClient("http://x", mode="Production")._mode == "production"
    with pytest.raises(ValueError, match="only supports 'production'"):
        MCPToolClient("http://x", mode="simulation")


@pytest.mark.parametrize("steps", ["yes", "no", "other"])
def test_synchronous_use(scripted: Start, steps: str) -> None:
    server = scripted(lambda peer: tool_server(peer, steps=steps))
    with MCPToolClient(server.url) as client:
        assert client.list_tools() == [Tool(name="add", description="", input_schema={"type": "object"})]
        assert client.has_tool("add")
        assert client.get_tool("none") is None
        for _ in range(2):
            assert client.call_tool("add", a=1, b=2) == 3
        with pytest.raises(RuntimeError, match=r"Tool 'x' failed: .*Unknown tool"):
            client.call_tool("x")


@pytest.mark.parametrize("steps", ["yes", "no", "other"])
async def test_asynchronous_use(scripted: Start, steps: str) -> None:
    server = scripted(lambda peer: tool_server(peer, steps=steps))
    async with MCPToolClient(server.url) as client:
        assert [one.name for one in await client.list_tools()] == ["add"]
        assert await client.call_tool("add", a=1, b=2) == 3
        assert await client.has_tool("add")
        with pytest.raises(ToolCallError):
            await client.call_tool("x")


def test_the_synchronous_wrapper(scripted: Start) -> None:
    with MCPToolClient(scripted(tool_server).url).sync() as client:
        assert client.call_tool("add", a=1) == 1
        assert client.list_tools(use_cache=False)[0].name == "add"
        assert client.use_production_mode is True


def test_a_call_is_a_step_with_its_reward(scripted: Start) -> None:
    with MCPToolClient(scripted(tool_server).url) as client:
        result = client.step(CallToolAction(tool_name="add", arguments={"a": 1}))
        assert isinstance(result.observation, CallToolObservation)
        assert (result.reward, result.observation.result["data"]) == (0.5, 1)
        failed = client.step(CallToolAction(tool_name="x")).observation
        assert failed.error.error_type == "tool_not_found"


def test_a_fresh_session_that_wants_a_reset_gets_one(scripted: Start) -> None:
    with MCPToolClient(scripted(lambda peer: tool_server(peer, needs_reset=True)).url) as client:
        assert client.call_tool("add", a=2) == 2


def test_the_list_is_cached(scripted: Start) -> None:
    asked: list[str] = []

    def script(peer: Peer) -> None:
        peer.accept()
        while True:
            request = peer.request()
            asked.append(request["data"]["method"])
            peer.send({"type": "mcp", "data": {"result": {"tools": TOOLS}}}, request)

    with MCPToolClient(scripted(script).url) as client:
        client.list_tools()
        client.list_tools()
        client.list_tools(use_cache=False)
    assert asked == ["tools/list"] * 2


def test_a_failure_is_not_an_empty_list(scripted: Start) -> None:
    def without(peer: Peer) -> None:
        peer.accept()
        error = {"code": -32603, "message": "Environment does not support MCP", "data": None}
        peer.send({"type": "mcp", "data": {"error": error}}, peer.request())
        peer.request()

    with pytest.raises(ServerUnreachableError):
        MCPToolClient("http://127.0.0.1:1").list_tools()
    client = MCPToolClient(scripted(without).url)
    with pytest.raises(ToolCallError, match="does not support MCP"):
        client.list_tools()
    client.close()

    def dies(peer: Peer) -> None:
        peer.accept()
        peer.request()

    client = MCPToolClient(scripted(dies).url)
    with pytest.raises(SessionLost):
        client.list_tools()
    client.close()


def test_payloads_and_observations() -> None:
    client = MCPToolClient("http://x")
    assert client._step_payload(ListToolsAction()) == {"type": "list_tools"}
    call = CallToolAction(tool_name="t", arguments={"a": 1})
    assert client._step_payload(call) == {"type": "call_tool", "tool_name": "t", "arguments": {"a": 1}}
    assert client._step_payload({"x": 1}) == {"x": 1}
    listed = client._parse_result({"observation": {"tools": TOOLS}, "done": False}).observation
    assert isinstance(listed, ListToolsObservation)
    other = client._parse_result({"observation": {"board": [1], "metadata": {"m": 1}}, "reward": 1.0})
    observation: Any = other.observation
    assert isinstance(observation, GenericMCPObservation)
    assert isinstance(observation, Observation)
    assert (observation.board, observation.reward, observation.metadata) == ([1], 1.0, {"m": 1})
    assert client._parse_state({"episode_id": "e", "step_count": 2, "extra": 1}).extra == 1  # type: ignore[attr-defined]
