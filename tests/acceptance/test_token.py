"""A token is asked for on every surface, whatever way is tried around it."""

from __future__ import annotations

import base64
from typing import Any

import pytest

import openenv
from openenv.errors import AuthenticationError

from .conftest import Serve
from .served import Answer, Refused, Server

TOKEN = "sesame-3f9a"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve("environments.py:Tools", OPENENV_TOKEN=TOKEN)


def _operations(server: Server) -> list[tuple[str, str]]:
    document = server.http("GET", "/openapi.json", **BEARER).json
    found = [
        (method.upper(), path.replace("{env_name}", "tools"))
        for path, operations in document["paths"].items()
        for method in operations
    ]
    pages = ("/", "/web", "/docs", "/redoc", "/openapi.json", "/nothing", "/favicon.ico")
    return found + [("GET", path) for path in pages]


def _call(server: Server, method: str, path: str, **headers: str) -> Answer:
    return server.http(method, path, b"{}" if method == "POST" else None, **headers)


def test_every_route(server: Server) -> None:
    operations = _operations(server)
    assert len(operations) > 15
    for method, path in operations:
        if path == "/health":
            assert _call(server, method, path).json == {"status": "healthy"}
            continue
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": f"Bearer {TOKEN}x"},
            {"authorization": f"Bearer {TOKEN[:-1]}"},
            {"authorization": f"Bearer {TOKEN.upper()}"},
            {"authorization": "Bearer "},
            {"authorization": TOKEN},
            {"authorization": "Basic " + base64.b64encode(b"user:wrong").decode()},
            {"authorization": "Basic !!"},
            {"cookie": f"token={TOKEN}"},
            {"sec_websocket_protocol": f"openenv.bearer.{TOKEN}"},
        ):
            refused = _call(server, method, path, **headers)
            assert refused.status == 401, (method, path, headers)
            assert refused.headers["www-authenticate"] == "Bearer"
            assert TOKEN.encode() not in refused.all_bytes()
        assert _call(server, method, path + f"?token={TOKEN}").status == 401
        assert _call(server, method, path, **BEARER).status != 401, path


@pytest.mark.parametrize(
    "path", ["/health/", "//health", "/health/../state", "/health%2f..%2fstate", "/HEALTH", "/health;/state"]
)
def test_paths_that_look_open(server: Server, path: str) -> None:
    assert server.http("GET", path).status == 401


@pytest.mark.parametrize("path", ["/ws", "/mcp", f"/ws?token={TOKEN}", "/ws/", "/health"])
@pytest.mark.parametrize("offer", ["", "openenv.2.json", "openenv.bearer.wrong", "openenv.bearer."])
def test_websockets(server: Server, path: str, offer: str) -> None:
    headers = {"sec_websocket_protocol": offer} if offer else {}
    with pytest.raises(Refused) as refused:
        server.socket(path, **headers)
    # Nothing but a refusal; /health has no socket.
    assert refused.value.status in ((401, 403, 404) if path == "/health" else (401,))


def test_the_token_opens_every_door(server: Server) -> None:
    for headers in (BEARER, {"sec_websocket_protocol": f"openenv.bearer.{TOKEN}, openenv.2.json"}):
        with server.socket(**headers) as ws:
            assert ws.reset()["type"] == "observation"
    with openenv.make(server.url, token=TOKEN) as env:
        env.reset()
        assert env.call_tool("add", a=1) == 3
    for options in ({}, {"token": "wrong"}):
        arguments: Any = options
        with pytest.raises(AuthenticationError), openenv.make(server.url, **arguments) as env:
            env.reset()


def test_the_token_is_nowhere_to_be_read(server: Server) -> None:
    for method, path in _operations(server):
        assert TOKEN.encode() not in _call(server, method, path, **BEARER).all_bytes()
    assert TOKEN not in server.output
