"""A server that is one of several processes: what it is told, and what it passes on."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from openenv import Environment
from openenv.errors import OpenEnvError, SessionLost
from openenv.server import BackgroundServer, make_app
from openenv.server.http_sessions import cookie_name


class Game(Environment):
    def step(self, number: int) -> str:
        return str(number)


class Slots:
    suffix = "-w3"
    waiting = 0

    async def take(self, wait: bool, client: str | None) -> None:
        """Always."""

    def give_back(self) -> None:
        """Nothing is counted."""

    def missing(self, session_id: str) -> OpenEnvError:
        return SessionLost("lost", session=session_id)


class Elsewhere(asyncio.Protocol):
    """Answers in the place of another process."""

    def __init__(self, transport: asyncio.Transport, head: bytes) -> None:
        transport.write(b"HTTP/1.1 410 Gone\r\nX-Head: %d\r\n\r\n" % len(head))
        transport.close()


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_a_connection_whose_session_is_elsewhere_is_passed_on(http: str) -> None:
    app = make_app(Game)
    seen: list[str] = []

    def relay(request: Any, head: bytes, transport: asyncio.Transport, connections: set[Any]) -> Any:
        seen.append(request.query)
        return Elsewhere(transport, head) if "w9" in request.query else None

    app.state.openenv.relay = relay
    with BackgroundServer(app, http=http) as url:
        host, port = url.removeprefix("http://").split(":")
        for session, status in (("abc-w9", b"410"), ("abc-w3", b"101")):
            with socket.create_connection((host, int(port)), timeout=30) as raw:
                raw.sendall(
                    f"GET /ws?session_id={session} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
                    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n".encode()
                )
                assert raw.recv(64).split()[1] == status
    assert seen == ["session_id=abc-w9", "session_id=abc-w3"]


async def test_a_server_joins_others() -> None:
    runtime = make_app(Game).state.openenv
    runtime.join("0123", Slots())
    assert runtime.http.cookie_name == cookie_name("0123") == "openenv_0123"
    hosted = await runtime.open_session("http")
    assert hosted.id.endswith("-w3")
    with pytest.raises(SessionLost):
        runtime.manager.get("abc-w1")
    await runtime.kill_session(hosted.id)
    assert runtime.manager.active == 0
    await runtime.drain()
