"""A served environment behaves the same over every WebSocket transport, to the byte."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from tests.server.echo import RawClient, Refused, until

from openenv import Environment, Outcome
from openenv.protocol import websocket as ws
from openenv.protocol.handshake import EXTENDED_SUBPROTOCOL
from openenv.server.app import make_app
from openenv.server.run import BackgroundServer
from openenv.server.settings import ServerSettings


class Count(Environment, step_timeout_s=20):
    """Counts, naps, fails."""

    SUPPORTS_CONCURRENT_SESSIONS = True
    total: int = 0

    def reset(self) -> str:
        self.total = 0
        return "go"

    def step(self, by: int, nap_s: float = 0.0, text: str = "") -> str | Outcome[str]:
        if by < 0:
            raise ArithmeticError("down is not a way to count")
        time.sleep(nap_s)
        self.total += by
        return Outcome("done", reward=1.0, terminated=True) if self.total > 10 else f"{self.total}{text}"


SETTINGS = ServerSettings(token="secret", max_sessions=3, queue_size=0, max_frame_bytes=1 << 20)
TOKEN = {"Authorization": "Bearer secret"}


class Talk:
    """A conversation with a served environment, over either kind of connection."""

    def __init__(self, send: Callable[[bytes], None], receive: Callable[[], str]) -> None:
        self.send = send
        self.receive = receive

    def ask(self, message: Any) -> dict[str, Any]:
        self.send(message if isinstance(message, bytes) else json.dumps(message).encode())
        reply: dict[str, Any] = json.loads(self.receive())
        return reply

    def step(self, **action: Any) -> dict[str, Any]:
        return self.ask({"type": "step", "data": action})


@pytest.fixture(scope="module", params=["raw", "asgi"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    app = make_app(Count, SETTINGS)
    if request.param == "asgi":

        async def plain(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, send)

        served: Any = plain
    else:
        served = app
    with BackgroundServer(served, log_level="critical") as address:
        yield address


def active(url: str) -> int:
    import httpx

    for line in httpx.get(url + "/metrics", headers=TOKEN, trust_env=False).text.splitlines():
        if line.startswith("openenv_sessions_active "):
            return int(float(line.split()[-1]))
    raise AssertionError("no gauge of active sessions")


def talk_of(client: RawClient) -> Talk:
    return Talk(lambda data: client.text(data), lambda: client.reply().decode())


def test_an_episode(url: str) -> None:
    with RawClient(url, headers=TOKEN) as client:
        talk = talk_of(client)
        reply = talk.ask({"type": "reset", "data": {"seed": 3}})
        assert reply["type"] == "observation"
        assert talk.step(by=4)["data"]["done"] is False
        last = talk.step(by=8)
        assert (last["data"]["reward"], last["data"]["done"]) == (1.0, True)
        state = talk.ask({"type": "state"})
        assert state["data"]["step_count"] == 2
        assert state["data"]["total"] == 12
        client.text(b'{"type": "close"}')
        assert client.closing() == ws.Close(1000, "")
    until(lambda: active(url) == 0)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"nonsense", "INVALID_JSON"),
        (b"[]", None),
        (b'{"type": "dance"}', "UNKNOWN_TYPE"),
        (b'{"type": "step", "data": {"by": "x"}}', "VALIDATION_ERROR"),
        (b'{"type": "step", "data": {"by": -1}}', "EXECUTION_ERROR"),
        (b'{"type": "step", "data": {"by": NaN}}', "VALIDATION_ERROR"),
        ("\ud800".encode("utf-8", "surrogatepass"), 1007),
    ],
)
def test_bad_messages_leave_the_session_alive(url: str, message: bytes, code: str | int | None) -> None:
    with RawClient(url, headers=TOKEN) as client:
        talk = talk_of(client)
        talk.ask({"type": "reset"})
        if isinstance(code, int):  # bytes that are no text break the connection itself
            client.text(message)
            assert client.closing(cleanly=False).code == code
            return
        reply = talk.ask(message)
        assert reply["type"] == "error"
        assert code is None or reply["data"]["code"] == code
        assert talk.step(by=1)["data"]["observation"]["result"] == "1"
        client.send(ws.binary_frame(b"\x00\x01", mask=True))
        assert json.loads(client.reply())["type"] == "error"
        assert talk.step(by=1)["data"]["observation"]["result"] == "2"


def test_pipelined_messages_are_answered_in_order(url: str) -> None:
    with RawClient(url, headers=TOKEN) as client:
        steps = [{"type": "step", "data": {"by": 0, "text": f" {index}"}} for index in range(200)]
        client.text(b'{"type": "reset"}', *(json.dumps(step).encode() for step in steps))
        client.reply()
        values = [json.loads(client.reply())["data"]["observation"]["result"] for _ in steps]
        assert values == [f"0 {index}" for index in range(200)]


def test_the_extended_protocol_echoes_ids(url: str) -> None:
    with RawClient(url, headers=TOKEN, subprotocols=(EXTENDED_SUBPROTOCOL,)) as client:
        talk = talk_of(client)
        assert talk.ask({"type": "reset", "data": {"seed": 5}, "id": 1})["id"] == 1
        reply = talk.ask({"type": "step", "data": {"by": 1, "nap_s": 5.0}, "id": 2, "timeout_s": 0.1})
        assert (reply["id"], reply["data"]["outcome"]) == (2, "timeout")


def test_capacity_is_told_and_closes_with_1013(url: str) -> None:
    until(lambda: active(url) == 0)  # the tests before gave theirs back
    clients = [RawClient(url, headers=TOKEN) for _ in range(3)]
    try:
        for client in clients:
            talk_of(client).ask({"type": "reset"})
        with RawClient(url, headers=TOKEN) as late:
            reply = json.loads(late.reply())
            assert reply["data"]["code"] == "CAPACITY_REACHED"
            assert reply["data"]["max_sessions"] == 3
            assert late.closing().code == 1013
    finally:
        for client in clients:
            client.socket.close()
    until(lambda: active(url) == 0)


def test_a_dead_client_frees_its_session_though_a_step_runs(url: str) -> None:
    with RawClient(url, headers=TOKEN) as client:
        talk_of(client).ask({"type": "reset"})
        client.text(b'{"type": "step", "data": {"by": 1, "nap_s": 0.5}}')
        time.sleep(0.1)
    until(lambda: active(url) == 0)


def test_pings_are_answered_during_a_step(url: str) -> None:
    with RawClient(url, headers=TOKEN) as client:
        talk_of(client).ask({"type": "reset"})
        client.text(b'{"type": "step", "data": {"by": 1, "nap_s": 0.5}}')
        begin = time.monotonic()
        client.send(ws.ping_frame(b"?", mask=True))
        assert client.event() == ws.Pong(b"?")
        assert time.monotonic() - begin < 0.4
        assert json.loads(client.reply())["data"]["observation"]["result"] == "1"


def test_the_token_and_the_origin_are_asked_for(url: str) -> None:
    with pytest.raises(Refused) as caught:
        RawClient(url)
    assert caught.value.response.status == 401
    with pytest.raises(Refused) as caught:
        RawClient(url, headers={**TOKEN, "Origin": "https://evil.example"})
    assert caught.value.response.status == 403


def test_a_session_may_be_attached_by_one_socket(url: str) -> None:
    import httpx

    answer = httpx.post(url + "/reset", json={}, headers=TOKEN, trust_env=False)
    session = answer.headers["x-openenv-session"]
    with RawClient(url, f"/ws?session_id={session}", headers=TOKEN) as client:
        assert talk_of(client).step(by=2)["data"]["observation"]["result"] == "2"
        with RawClient(url, f"/ws?session_id={session}", headers=TOKEN) as second:
            assert "already has an attached" in json.loads(second.reply())["data"]["message"]
            assert second.closing().code == 1000
    with RawClient(url, "/ws?session_id=nobody", headers=TOKEN) as client:
        assert json.loads(client.reply())["type"] == "error"
        assert client.closing().code == 1000


def test_tools_over_the_agents_socket(url: str) -> None:
    with RawClient(url, "/mcp", headers=TOKEN) as client:
        reply = talk_of(client).ask({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert reply["id"] == 1


def test_every_transport_sends_the_same_bytes() -> None:
    messages = [
        b'{"type": "reset", "data": {"seed": 1, "episode_id": "e"}}',
        b'{"type": "step", "data": {"by": 1}}',
        b'{"type": "step", "data": {"by": "one"}}',
        b'{"type": "state"}',
        b"{",
    ]
    settings = SETTINGS.replace(token=None)

    def over_sockets(app: Any) -> list[bytes]:
        with BackgroundServer(app, log_level="critical") as url, RawClient(url) as client:
            return [client.ask(message) for message in messages]

    async def plain(scope: Any, receive: Any, send: Any) -> None:
        await bare(scope, receive, send)

    bare = make_app(Count, settings)
    raw, asgi = over_sockets(make_app(Count, settings)), over_sockets(plain)
    with TestClient(make_app(Count, settings)) as client, client.websocket_connect("/ws") as socket:
        tested = []
        for message in messages:
            socket.send_text(message.decode())
            tested.append(socket.receive_text().encode())
        socket.send_text('{"type": "close"}')
        with pytest.raises(WebSocketDisconnect) as caught:
            socket.receive_text()
        assert caught.value.code == 1000
    assert raw == asgi == tested


def test_a_server_that_stops_closes_its_sessions() -> None:
    app = make_app(Count, SETTINGS.replace(token=None))
    server = BackgroundServer(app, log_level="critical")
    url = server.start()
    with RawClient(url) as client:
        talk_of(client).ask({"type": "reset"})
        client.text(b'{"type": "step", "data": {"by": 1, "nap_s": 0.3}}')
        time.sleep(0.1)
        assert server._listener is not None
        server._listener.server.should_exit = True
        assert json.loads(client.reply())["data"]["observation"]["result"] == "1"
        assert client.closing() == ws.Close(1012, "server shutting down")
        server.stop()
    assert app.state.openenv.manager.active == 0


def test_a_message_of_64_mib_leaves_the_session_alive() -> None:
    app = make_app(Count, SETTINGS.replace(token=None, max_frame_bytes=100 << 20))
    with BackgroundServer(app, log_level="critical") as url, RawClient(url) as client:
        talk = talk_of(client)
        talk.ask({"type": "reset"})
        assert talk.ask(b"x" * (64 << 20))["data"]["code"] == "INVALID_JSON"
        long = "y" * (64 << 20)
        assert talk.step(by=1, text=long)["data"]["observation"]["result"] == "1" + long
        assert talk.step(by=1)["data"]["observation"]["result"] == "2"
