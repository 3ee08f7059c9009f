"""In production mode an agent has tools, and no way to reset, read or end an episode as a trainer would."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Serve
from .served import Server, Socket

CONTROLS = ("reset", "step", "state", "close")
VERBS = ("reset", "step", "state", "batch", "open", "resume", "snapshot", "restore", "fork", "cancel")


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve("environments.py:Tools", "--production")


def _rpc(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def test_no_route_is_a_control(server: Server) -> None:
    document = server.http("GET", "/openapi.json").json
    for path in document["paths"]:
        assert path.rsplit("/", 1)[-1] not in CONTROLS, path
    for prefix in ("", "/web", "/tools", "/mcp", "/env", "/api"):
        for control in CONTROLS:
            for method in ("GET", "POST", "PUT", "DELETE"):
                answer = server.http(method, f"{prefix}/{control}", b"{}" if method != "GET" else None)
                assert answer.status in (404, 405), (method, prefix, control)


@pytest.mark.parametrize("protocol", ["", "openenv.2.json"])
def test_no_message_is_a_control(server: Server, protocol: str) -> None:
    headers = {"sec_websocket_protocol": protocol} if protocol else {}
    with server.socket(**headers) as ws:
        for verb in VERBS:
            refused = ws.ask({"type": verb, "data": {"type": "call_tool", "tool_name": "add"}})
            assert (refused["type"], refused["data"]["code"]) == ("error", "UNKNOWN_TYPE"), verb
        _plays(ws)


def _call(ws: Socket, name: str, **arguments: Any) -> Any:
    return ws.ask({"type": "mcp", "data": _rpc("tools/call", name=name, arguments=arguments)})["data"]


def _plays(ws: Socket) -> None:
    assert _call(ws, "add", a=1)["result"]["data"] == 3
    for name in (*CONTROLS, "_spec", "__init__", "reset_async"):
        assert "error" in _call(ws, name), name
    for method in ("reset", "openenv/reset", "openenv/session/reset", "step", "state", "session/close"):
        assert ws.ask({"type": "mcp", "data": _rpc(method)})["data"]["error"]["code"] == -32601
    ended = _call(ws, "finish")
    assert ended["result"]["data"] == "done"
    assert "reward" not in str(ended)
    # The end is the end: nothing an agent says begins the episode anew.
    assert "error" in _call(ws, "add", a=1)


def test_the_agents_socket_has_none_either(server: Server) -> None:
    with server.socket("/mcp") as ws:
        for verb in VERBS:
            assert ws.ask({"type": verb, "data": {}})["error"]["code"] == -32600
        assert ws.ask(_rpc("tools/call", name="add", arguments={"a": 1}))["result"]["data"] == 3
        assert "result" in ws.ask(_rpc("tools/call", name="finish"))
        assert "error" in ws.ask(_rpc("tools/call", name="add", arguments={"a": 1}))


def test_a_session_of_its_own_gives_no_control(server: Server) -> None:
    created = server.http("POST", "/mcp", _rpc("openenv/session/create")).json
    session = created["result"]["session_id"]
    with server.socket(f"/ws?session_id={session}") as ws:
        for verb in VERBS:
            assert ws.ask({"type": verb, "data": {}})["type"] == "error"
        _plays(ws)
    for control in CONTROLS:
        assert server.http("POST", f"/{control}", {}, x_openenv_session=session).status == 404
    ended = server.http(
        "POST", "/mcp", _rpc("tools/call", session_id=session, name="add", arguments={"a": 1})
    )
    assert "error" in ended.json
