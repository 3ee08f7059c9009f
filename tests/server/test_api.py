from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from tests.server.environments import (
    Broken,
    Calculator,
    Guess,
    Looping,
    MoveAction,
    MoveObservation,
    MoveState,
    Published,
    Single,
)

from openenv.server.app import create_fastapi_app, make_app
from openenv.server.settings import ServerSettings


def app_of(target: Any, **settings: Any) -> FastAPI:
    return make_app(target, ServerSettings(**settings))


def test_health_and_readiness() -> None:
    with TestClient(app_of(Guess)) as client:
        assert client.get("/health").json() == {"status": "healthy"}
        assert client.get("/ready").json()["status"] == "ready"
    with TestClient(app_of(Broken)) as client:
        assert client.get("/health").status_code == 200
        reply = client.get("/ready")
        assert reply.status_code == 503
        assert reply.json()["status"] == "not ready"


def test_schemas() -> None:
    with TestClient(app_of(Guess)) as client:
        schemas = client.get("/schema").json()
        assert list(schemas) == ["action", "observation", "state", "reset_observation"]
        assert "guess" in schemas["action"]["properties"]
        again = client.get("/schema")
        assert again.json() == schemas
        assert again.headers["content-type"] == "application/json"
    app = create_fastapi_app(Published, MoveAction, MoveObservation, state_cls=MoveState)
    with TestClient(app) as client:
        schemas = client.get("/schema").json()
        assert schemas["state"] == MoveState.model_json_schema()
        assert schemas["reset_observation"] == schemas["observation"]


def test_metadata() -> None:
    with TestClient(app_of(Guess)) as client:
        assert client.get("/metadata").json()["description"] == "Guess a number."
        assert client.app.state.openenv.manager.statistics().opened == 0  # type: ignore[attr-defined]
    with TestClient(create_fastapi_app(Single, MoveAction, MoveObservation)) as client:
        for _ in range(3):
            assert client.get("/metadata").json()["version"] == "9"
        assert client.app.state.openenv.manager.statistics().opened == 1  # type: ignore[attr-defined]


def test_metrics() -> None:
    with TestClient(app_of(Guess)) as client:
        client.post("/reset")
        reply = client.get("/metrics")
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert 'openenv_resets_total{outcome="ok"} 1' in reply.text
        assert 'openenv_sent_bytes_total{door="http"}' in reply.text


def test_sockets() -> None:
    with TestClient(app_of(Calculator)) as client:
        with client.websocket_connect("/ws") as socket:
            socket.send_json({"type": "reset", "data": {"seed": 2}})
            assert socket.receive_json()["type"] == "observation"
            socket.send_bytes(b"\x00")
            assert socket.receive_json()["type"] == "error"
            socket.send_json({"type": "close"})
            assert socket.receive()["code"] == 1000
        with client.websocket_connect("/mcp") as socket:
            socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
            assert len(socket.receive_json()["result"]["tools"]) == 4
        with client.websocket_connect("/ws", subprotocols=["openenv.2.json"]) as socket:
            assert str(socket.accepted_subprotocol) == "openenv.2.json"
            socket.send_json({"type": "reset", "id": 5})
            assert socket.receive_json()["id"] == 5


@pytest.mark.parametrize("target", [Guess, Looping])
def test_sockets_without_a_lifespan(target: Any) -> None:
    client = TestClient(app_of(target))
    with client.websocket_connect("/ws") as socket:
        socket.send_json({"type": "reset"})
        assert socket.receive_json()["type"] == "observation"
        client.post("/reset")
        assert client.get("/state").status_code == 200


def test_an_application_may_live_twice() -> None:
    app = app_of(Guess)
    for _ in range(2):
        with TestClient(app) as client:
            assert client.post("/reset").status_code == 200


def test_an_application_may_be_mounted_inside_another() -> None:
    outer = FastAPI()
    outer.mount("/env", app_of(Guess, token="t"))
    with TestClient(outer) as client:
        assert client.get("/env/health").status_code == 200
        assert client.post("/env/reset").status_code == 401
        client.headers["Authorization"] = "Bearer t"
        assert client.post("/env/reset").status_code == 200
        assert client.post("/env/step", json={"action": {"guess": 1}}).status_code == 200
        assert client.get("/env/docs").status_code == 200
        assert "http://testserver/env&quot;" in client.get("/env/").text
        with client.websocket_connect("/env/ws") as socket:
            socket.send_json({"type": "reset"})
            assert socket.receive_json()["type"] == "observation"


def test_an_authors_lifespan_still_runs() -> None:
    lived: list[str] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> Any:
        lived.append("up")
        yield {"own": 1}
        lived.append("down")

    from openenv.server.app import HTTPEnvServer

    app = FastAPI(lifespan=lifespan)
    server = HTTPEnvServer(Published, MoveAction, MoveObservation)
    server.register_routes(app)
    with TestClient(app) as client:
        assert client.post("/reset").status_code == 200
        assert server.active_sessions == 1
    assert lived == ["up", "down"]
    assert server.active_sessions == 0


def test_new_routes_give_way_to_an_authors() -> None:
    app = app_of(Guess)
    for path in ("/", "/web", "/docs", "/ready", "/metrics"):
        app.add_api_route(path, lambda: {"mine": True}, methods=["GET"])
    app.add_api_route("/close", lambda: {"mine": True}, methods=["POST"])
    with TestClient(app) as client:
        for path in ("/", "/web", "/docs", "/ready", "/metrics"):
            assert client.get(path).json() == {"mine": True}
        assert client.post("/close").json() == {"mine": True}


def test_they_give_way_to_included_routers_and_mounts() -> None:
    app = app_of(Guess)
    router = APIRouter()
    router.add_api_route("/metrics", lambda: {"mine": True}, methods=["GET"])
    app.include_router(router)
    app.mount("/web", PlainTextResponse("mine"))
    with TestClient(app) as client:
        assert client.get("/metrics").json() == {"mine": True}
        assert client.get("/web/").text == "mine"
        assert client.get("/ready").status_code == 200


def test_they_do_not_give_way_to_what_takes_whatever_is_left() -> None:
    for catch_all in ("mount", "route"):
        app = app_of(Guess)
        if catch_all == "mount":
            app.mount("/", PlainTextResponse("mine"))
        else:
            app.add_api_route("/{rest:path}", lambda rest: PlainTextResponse("mine"), methods=["GET"])
        with TestClient(app) as client:
            assert client.get("/ready").json()["status"] == "ready"
            assert "POST /step" in client.get("/docs").text
            assert client.get("/anything").text == "mine"
            assert client.get("/reset").status_code in {200, 405}


def test_routes_of_an_author_keep_their_method() -> None:
    app = app_of(Guess)
    app.add_api_route("/metrics", lambda: {"mine": True}, methods=["POST"])
    with TestClient(app) as client:
        assert client.get("/metrics").status_code == 200
        assert client.post("/metrics").json() == {"mine": True}


def test_production_has_no_simulation_control_on_any_door() -> None:
    with TestClient(app_of(Calculator, mode="production")) as client:
        for method, path in (("POST", "/reset"), ("POST", "/step"), ("GET", "/state")):
            assert client.request(method, path).status_code == 404
        with client.websocket_connect("/ws", subprotocols=["openenv.2.json"]) as socket:
            for kind in ("reset", "step", "state"):
                socket.send_json({"type": kind, "data": {}, "id": 1})
                assert socket.receive_json()["data"]["code"] == "UNKNOWN_TYPE"
        body = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "add", "arguments": {"a": 1, "b": 2}},
        }
        assert client.post("/mcp", json=body).json()["result"]["data"] == 3
        for path in ("/health", "/ready", "/schema", "/metadata", "/metrics", "/openapi.json"):
            assert client.get(path).status_code == 200


def test_a_socket_on_another_path_is_nobodys() -> None:
    with TestClient(app_of(Guess)) as client:
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/nothing"):
            pytest.fail("accepted")
