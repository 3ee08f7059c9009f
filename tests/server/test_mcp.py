from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.server.environments import ByStep, Calculator, Guess, OddByStep, Published
from tests.server.wire import runtime_of

from openenv import Environment, Observation, StepResult
from openenv.environment import describe
from openenv.errors import (
    EnvironmentFactoryError,
    OpenEnvError,
    SessionCapacityError,
    SessionNotFoundError,
    StepTimeoutError,
)
from openenv.protocol.jsonrpc import JsonRpcErrorCode, JsonRpcRequest
from openenv.protocol.mcp_types import CallToolAction, CallToolObservation
from openenv.server.mcp import (
    Dialect,
    Refusal,
    ToolCall,
    closed_result,
    dialect_of,
    failure,
    parse_object,
    parse_text,
    read_call,
    refusal_of,
    tool_call,
)


def described(cls: type, action: type = CallToolAction) -> Any:
    return describe(cls, action_type=action, observation_type=CallToolObservation, requires_reset=False)


def request(method: str, **params: Any) -> JsonRpcRequest:
    return JsonRpcRequest(jsonrpc="2.0", method=method, params=params, id=1)


class Client:
    """What a FastMCP client lists: objects with fields, or plain mappings."""

    async def list_tools(self) -> list[Any]:
        return [Observation(metadata={"a": 1}), {"name": "plain"}]


class Holder(Environment[Any, Observation, object]):
    """Published: carries a FastMCP server."""

    def __init__(self) -> None:
        self.mcp_client = Client()
        self.entered = 0

    @asynccontextmanager
    async def mcp_session(self) -> Any:
        self.entered += 1
        yield self

    def step(self, action: Any) -> Observation:
        return CallToolObservation(tool_name=action.tool_name, result={"data": 5})


class Subclass(CallToolAction):
    """A published package widens the action."""


def test_dialects() -> None:
    assert dialect_of(describe(Calculator)) is Dialect.NATIVE
    assert dialect_of(described(Holder)) is Dialect.FASTMCP
    assert dialect_of(described(ByStep)) is Dialect.ACTIONS
    assert dialect_of(described(ByStep, Subclass)) is Dialect.ACTIONS
    assert dialect_of(describe(Guess)) is Dialect.NONE
    assert dialect_of(describe(Published)) is Dialect.NONE


@pytest.mark.parametrize("text", ["{", "", "[" * 100_000, b"\xff"])
def test_what_is_not_json_is_a_parse_error(text: str | bytes) -> None:
    with pytest.raises(Refusal) as caught:
        parse_text(text)
    assert caught.value.code is JsonRpcErrorCode.PARSE_ERROR


@pytest.mark.parametrize(
    "message",
    [
        [],
        5,
        None,
        {},
        {"jsonrpc": "1.0", "method": "tools/list"},
        {"jsonrpc": "2.0"},
        {"jsonrpc": "2.0", "method": "tools/list", "params": []},
        {"jsonrpc": "2.0", "method": "tools/list", "id": 1.5},
        {"jsonrpc": "2.0", "method": "tools/list", "more": 1},
    ],
)
def test_what_is_not_a_request_is_an_invalid_request(message: Any) -> None:
    with pytest.raises(Refusal) as caught:
        parse_object(message)
    assert caught.value.code is JsonRpcErrorCode.INVALID_REQUEST


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("initialize", {}, -32601),
        ("ping", {}, -32601),
        ("tools/call", {}, -32602),
        ("tools/call", {"name": ""}, -32602),
        ("tools/call", {"name": 5}, -32602),
        ("tools/call", {"name": "add", "arguments": [1]}, -32602),
    ],
)
def test_refused_calls(method: str, params: dict[str, Any], code: int) -> None:
    spec = describe(Calculator)
    with pytest.raises(Refusal) as caught:
        tool_call(spec, Dialect.NATIVE, request(method, **params))
    assert caught.value.code.value == code


def test_an_environment_without_tools_says_so() -> None:
    for method, params in (("tools/list", {}), ("tools/call", {"name": "x"})):
        with pytest.raises(Refusal, match="Environment does not support MCP"):
            tool_call(describe(Guess), Dialect.NONE, request(method, **params))


def test_native_tools_are_listed_in_the_published_form() -> None:
    prepared, finish = tool_call(describe(Calculator), Dialect.NATIVE, request("tools/list"))
    assert prepared is None
    add = finish(None)["tools"][0]
    assert add == {
        "name": "add",
        "title": None,
        "description": "Add two numbers.",
        "inputSchema": add["inputSchema"],
        "outputSchema": add["outputSchema"],
        "icons": None,
        "annotations": None,
        "meta": {"fastmcp": {"tags": []}},
        "execution": None,
    }
    assert add["inputSchema"]["required"] == ["a", "b"]


def test_missing_arguments_are_none() -> None:
    prepared, _ = tool_call(
        describe(Calculator), Dialect.NATIVE, request("tools/call", name="fail", arguments=None)
    )
    assert prepared is not None
    assert prepared[1]["action"].arguments == {}


async def test_a_fastmcp_server_is_asked() -> None:
    spec = described(Holder)
    prepared, finish = tool_call(spec, Dialect.FASTMCP, request("tools/list"))
    assert prepared is not None
    kind, arguments = prepared
    assert kind == "ask"
    env = Holder()
    tools = finish(await arguments["question"](env))["tools"]
    assert env.entered == 1
    assert tools == [{"done": False, "reward": None, "metadata": {"a": 1}}, {"name": "plain"}]


async def test_ours_knows_its_listing() -> None:
    class Knowing(Holder):
        async def published_tools(self) -> list[Any]:
            return [{"name": "known"}]

    prepared, finish = tool_call(described(Knowing), Dialect.FASTMCP, request("tools/list"))
    assert prepared is not None
    env = Knowing()
    assert finish(await prepared[1]["question"](env)) == {"tools": [{"name": "known"}]}
    assert env.entered == 0


def test_tools_of_a_step_are_listed_by_a_step() -> None:
    prepared, finish = tool_call(described(ByStep), Dialect.ACTIONS, request("tools/list"))
    assert prepared is not None
    listed = finish(prepared[1]["question"](ByStep()))
    assert listed == {"tools": [{"name": "a", "description": "d", "input_schema": {"type": "object"}}]}
    with pytest.raises(Refusal, match="expected ListToolsObservation"):
        finish(prepared[1]["question"](OddByStep()))


def test_results_of_a_step_are_whole_observations() -> None:
    _, finish = tool_call(described(ByStep), Dialect.ACTIONS, request("tools/call", name="a"))
    observation = CallToolObservation(tool_name="a", result={"x": 1}, reward=1.0, done=True)
    assert finish(StepResult(observation)) == {
        "done": True,
        "reward": 1.0,
        "metadata": {},
        "tool_name": "a",
        "result": {"x": 1},
        "error": None,
    }
    with pytest.raises(Refusal, match="expected CallToolObservation"):
        finish(StepResult(Observation()))


def test_a_tool_must_answer_with_its_observation() -> None:
    _, finish = tool_call(describe(Calculator), Dialect.NATIVE, request("tools/call", name="add"))
    with pytest.raises(Refusal, match="expected CallToolObservation"):
        finish(StepResult(Observation()))


def test_errors_of_sessions_have_codes() -> None:
    full = refusal_of(SessionCapacityError(3, 3))
    assert (full.code.value, full.data) == (-32000, {"active_sessions": 3, "max_sessions": 3})
    broken = refusal_of(EnvironmentFactoryError("E"))
    assert (broken.code.value, broken.data) == (-32000, {"factory_name": "E"})
    unknown = refusal_of(SessionNotFoundError("zz"))
    assert (unknown.code.value, unknown.message, unknown.data) == (-32602, "Unknown session_id: zz", None)
    late = refusal_of(StepTimeoutError("late"))
    assert late.code.value == -32603
    assert late.data["outcome"] == "timeout"


def test_data_is_always_there_in_errors() -> None:
    response = failure(Refusal(JsonRpcErrorCode.PARSE_ERROR))
    assert response == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": -32700, "message": "Parse error", "data": None},
    }


def test_closing_is_told_as_published() -> None:
    assert closed_result("s", True) == {"session_id": "s", "closed": True}
    assert closed_result("s", False) == {"session_id": "s", "closed": False, "closing": True}


async def test_sockets_create_nothing_and_close_others() -> None:
    runtime = runtime_of(Calculator)
    other = await runtime.open_session("mcp")

    def ask(method: str, **params: Any) -> dict[str, Any]:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return read_call(message, runtime, "own").response(None, None)

    assert ask("openenv/session/create")["result"] == {"session_id": "own"}
    assert ask("openenv/session/close")["error"]["code"] == -32602
    assert ask("openenv/session/close", session_id=5)["error"]["code"] == -32602
    assert ask("openenv/session/close", session_id="own")["error"]["code"] == -32600
    assert ask("openenv/session/close", session_id="zz")["error"]["message"] == "Unknown session_id: zz"
    assert ask("openenv/session/close", session_id=other.id)["result"]["closed"] is True
    await runtime.drain()
    assert runtime.manager.active == 0


def test_an_error_wins_over_a_value() -> None:
    response = ToolCall(request_id=2).response(None, OpenEnvError("no"))
    assert response["id"] == 2
    assert response["error"]["message"] == "no"
