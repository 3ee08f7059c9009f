from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.server.environments import ByStep, Calculator, Guess, Napping

from openenv.protocol.mcp_types import CallToolAction, CallToolObservation
from openenv.server.app import create_fastapi_app, make_app
from openenv.server.settings import ServerSettings


def rpc(client: TestClient, method: str, /, **params: Any) -> dict[str, Any]:
    body = {"jsonrpc": "2.0", "method": method, "params": params, "id": 7}
    reply = client.post("/mcp", json=body)
    assert reply.status_code == 200
    response: dict[str, Any] = reply.json()
    assert response["jsonrpc"] == "2.0"
    if "error" in response:
        assert set(response["error"]) == {"code", "message", "data"}
    return response


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(make_app(Calculator, ServerSettings(max_sessions=2, queue_timeout_s=0.02))) as client:
        yield client


def active(client: TestClient) -> int:
    count: int = client.app.state.openenv.manager.active  # type: ignore[attr-defined]
    return count


def wait_until_empty(client: TestClient) -> None:
    until = time.monotonic() + 5
    while active(client) and time.monotonic() < until:
        time.sleep(0.02)
    assert active(client) == 0


def test_a_session_is_created_used_and_closed(client: TestClient) -> None:
    session = rpc(client, "openenv/session/create")["result"]["session_id"]
    assert active(client) == 1
    called = rpc(client, "tools/call", name="add", arguments={"a": 1, "b": 2}, session_id=session)
    assert called == {
        "jsonrpc": "2.0",
        "id": 7,
        "result": {
            "content": [{"type": "text", "text": "3", "annotations": None, "meta": None}],
            "structured_content": {"result": 3},
            "meta": {"fastmcp": {"wrap_result": True}},
            "data": 3,
            "is_error": False,
        },
    }
    assert len(rpc(client, "tools/list", session_id=session)["result"]["tools"]) == 4
    assert rpc(client, "openenv/session/close", session_id=session)["result"] == {
        "session_id": session,
        "closed": True,
    }
    assert active(client) == 0
    again = rpc(client, "openenv/session/close", session_id=session)
    assert again["error"] == {"code": -32602, "message": f"Unknown session_id: {session}", "data": None}


def test_calls_without_a_session_leave_none_behind(client: TestClient) -> None:
    assert rpc(client, "tools/call", name="add", arguments={"a": 1, "b": 2})["result"]["data"] == 3
    assert rpc(client, "tools/call", name="fail")["error"]["code"] == -32603
    assert len(rpc(client, "tools/list")["result"]["tools"]) == 4
    assert active(client) == 0


def test_a_full_server(client: TestClient) -> None:
    for _ in range(2):
        rpc(client, "openenv/session/create")
    refused = rpc(client, "openenv/session/create")
    assert refused["error"]["code"] == -32000
    assert refused["error"]["data"] == {"active_sessions": 2, "max_sessions": 2}
    assert rpc(client, "tools/call", name="add", arguments={})["error"]["code"] == -32000
    assert "result" in rpc(client, "tools/list")


def test_an_abandoned_session_is_reaped() -> None:
    with TestClient(make_app(Calculator, ServerSettings(lease_s=0.05))) as client:
        rpc(client, "openenv/session/create")
        wait_until_empty(client)


def test_a_socket_attaches_to_the_session(client: TestClient) -> None:
    session = rpc(client, "openenv/session/create")["result"]["session_id"]
    with client.websocket_connect(f"/ws?session_id={session}") as socket:
        socket.send_json({"type": "reset"})
        socket.receive_json()
        rpc(client, "tools/call", name="add", arguments={"a": 1, "b": 2}, session_id=session)
        socket.send_json({"type": "state"})
        state = socket.receive_json()["data"]
        assert (state["step_count"], state["calls"]) == (1, 1)
        with client.websocket_connect(f"/ws?session_id={session}") as second:
            told = second.receive_json()
            assert told["data"]["code"] == "SESSION_ERROR"
            assert told["data"]["message"] == f"Session {session} already has an attached WebSocket"
        closing = rpc(client, "openenv/session/close", session_id=session)["result"]
        assert closing == {"session_id": session, "closed": False, "closing": True}
        assert active(client) == 1
    wait_until_empty(client)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{", -32700),
        ("", -32700),
        (b"\xff", -32700),
        ("[" * 100_000, -32700),
        ("[]", -32700),
        ("5", -32700),
        ('[{"jsonrpc":"2.0","method":"tools/list"}]', -32700),
        ('{"jsonrpc":"2.0","method":"tools/list","params":[]}', -32600),
        ('{"jsonrpc":"2.0","method":"tools/list","x":1}', -32600),
        ('{"jsonrpc":"1.0","method":"tools/list","id":3}', -32600),
    ],
)
def test_what_is_not_a_request(client: TestClient, body: Any, code: int) -> None:
    reply = client.post("/mcp", content=body)
    assert reply.status_code == 200
    error = reply.json()
    assert error["id"] is None
    assert error["error"]["code"] == code
    assert "data" in error["error"]


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("initialize", {}, -32601),
        ("notifications/initialized", {}, -32601),
        ("tools/call", {}, -32602),
        ("tools/call", {"name": "add", "session_id": "zz"}, -32602),
        ("tools/call", {"name": "add", "session_id": 5}, -32602),
        ("tools/list", {"session_id": ""}, -32602),
        ("openenv/session/close", {}, -32602),
        ("openenv/session/close", {"session_id": "zz"}, -32602),
    ],
)
def test_refused_requests(client: TestClient, method: str, params: dict[str, Any], code: int) -> None:
    response = rpc(client, method, **params)
    assert response["id"] == 7
    assert response["error"]["code"] == code


def test_a_large_request_is_not_quoted_whole(client: TestClient) -> None:
    body = json.dumps({"jsonrpc": "2.0", "method": "x" * 1_000_000, "id": 1})
    assert len(client.post("/mcp", content=body).content) < 20_000


def test_a_request_without_an_id_is_answered_too(client: TestClient) -> None:
    reply = client.post("/mcp", json={"jsonrpc": "2.0", "method": "openenv/session/create"})
    assert reply.json()["id"] is None
    assert "session_id" in reply.json()["result"]


def test_an_environment_without_tools() -> None:
    with TestClient(make_app(Guess, ServerSettings())) as client:
        for method, params in (("tools/list", {}), ("tools/call", {"name": "x"})):
            error = rpc(client, method, **params)["error"]
            assert error == {"code": -32603, "message": "Environment does not support MCP", "data": None}


def test_tools_of_a_step() -> None:
    app = create_fastapi_app(ByStep, CallToolAction, CallToolObservation)
    with TestClient(app) as client:
        assert rpc(client, "tools/list")["result"]["tools"][0]["input_schema"] == {"type": "object"}
        called = rpc(client, "tools/call", name="a")["result"]
        assert called["reward"] == 1.0
        assert called["result"] == {"x": 1}
        assert "expected CallToolObservation" in rpc(client, "tools/call", name="odd")["error"]["message"]
        assert active(client) == 0


def test_a_deadline_is_told_with_its_outcome() -> None:
    with TestClient(make_app(Calculator, ServerSettings(step_timeout_s=0.1))) as client:
        error = rpc(client, "tools/call", name="nap", arguments={"seconds": 20})["error"]
        assert error["code"] == -32603
        assert error["data"]["outcome"] == "timeout"


def test_napping_is_no_tool() -> None:
    assert "error" in rpc(TestClient(make_app(Napping, ServerSettings())), "tools/list")
