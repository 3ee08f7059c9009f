from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request, WebSocket
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse
from tests.server.environments import Guess

from openenv.server.app import make_app
from openenv.server.middleware import SecurityMiddleware
from openenv.server.settings import ServerSettings


def with_own_routes(**settings: Any) -> FastAPI:
    app = make_app(Guess, ServerSettings(**settings))

    @app.post("/own")
    async def own(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.post("/careless")
    async def careless(request: Request) -> dict[str, str]:
        try:
            await request.body()
        except Exception as error:
            return {"error": type(error).__name__}
        return {}

    @app.post("/broken")
    async def broken() -> None:
        raise KeyError("own fault")

    @app.websocket("/own-socket")
    async def own_socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    return app


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(with_own_routes(token="s3cret", max_body_bytes=1000)) as client:
        client.headers["Authorization"] = "Bearer s3cret"
        yield client


def test_an_authors_own_routes_are_guarded(client: TestClient) -> None:
    assert client.post("/own", content=b"abc").json() == {"bytes": 3}
    assert client.post("/own", headers={"Authorization": "Bearer no"}).status_code == 401
    refused = client.post("/own", headers={"Origin": "https://evil.example"})
    assert refused.status_code == 403
    assert "evil.example" in refused.json()["detail"]
    metrics = client.get("/metrics").text
    assert 'openenv_requests_rejected_total{status="401"} 1' in metrics


def test_an_authors_own_sockets_are_guarded(client: TestClient) -> None:
    with client.websocket_connect("/own-socket") as socket:
        assert socket.receive_text() == "hello"
    for headers in ({"Authorization": "Bearer no"}, {"Origin": "https://evil.example"}):
        with (
            pytest.raises(WebSocketDenialResponse),
            client.websocket_connect("/own-socket", headers=headers),
        ):
            pytest.fail("the socket was accepted")


async def test_a_socket_is_refused_with_a_status_where_the_server_can() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(event: Any) -> None:
        sent.append(event)

    async def app(*_: Any) -> None:
        raise AssertionError("reached")

    runtime = make_app(Guess, ServerSettings(token="t")).state.openenv
    scope = {"type": "websocket", "path": "/ws", "headers": [], "extensions": {"websocket.http.response": {}}}
    await SecurityMiddleware(app, runtime)(scope, receive, send)
    assert sent[0]["type"] == "websocket.http.response.start"
    assert sent[0]["status"] == 401
    sent.clear()
    await SecurityMiddleware(app, runtime)({**scope, "extensions": None}, receive, send)
    assert sent == [
        {"type": "websocket.close", "code": 1008, "reason": "This server asks for a bearer token."}
    ]


def test_liveness_is_open(client: TestClient) -> None:
    client.headers.pop("Authorization")
    assert client.get("/health").status_code == 200
    assert client.get("/ready").status_code == 401


def test_a_declared_body_over_the_limit_is_refused_unread(client: TestClient) -> None:
    reply = client.post("/own", content=b"x" * 1001)
    assert reply.status_code == 413
    assert "1000 bytes" in reply.json()["detail"]
    assert client.post("/own", content=b"x" * 1000).json() == {"bytes": 1000}


@pytest.mark.parametrize("path", ["/own", "/careless", "/step", "/mcp", "/guess/tasks"])
def test_an_undeclared_one_is_cut_off(client: TestClient, path: str) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    reply = client.post(path, content=chunks())
    assert reply.status_code == 413
    assert "limit" in reply.json()["detail"]


def test_an_applications_own_failure_stays_its_own(client: TestClient) -> None:
    with pytest.raises(KeyError):
        client.post("/broken")


def test_a_rebound_name_does_not_reach_a_local_server() -> None:
    with TestClient(make_app(Guess, ServerSettings(host="127.0.0.1")), base_url="http://127.0.0.1") as client:
        assert client.post("/reset").status_code == 200
        rebound = {"Host": "evil.example", "Origin": "http://evil.example"}
        assert client.post("/reset", headers=rebound).status_code == 421
        with (
            pytest.raises(WebSocketDenialResponse),
            client.websocket_connect("/ws", headers=rebound),
        ):
            pytest.fail("the socket was accepted")


async def test_other_scopes_pass() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    middleware = SecurityMiddleware(app, make_app(Guess, ServerSettings()).state.openenv)
    await middleware({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan"]


async def test_a_client_that_goes_away_is_passed_on() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(await receive())

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(event: Any) -> None:
        seen.append(event)

    middleware = SecurityMiddleware(app, make_app(Guess, ServerSettings()).state.openenv)
    await middleware({"type": "http", "method": "POST", "path": "/own", "headers": []}, receive, send)
    assert seen == [{"type": "http.disconnect"}]
