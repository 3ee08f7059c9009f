"""The ASGI transport under a test client, and under servers that behave badly."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect
from tests.server.echo import EchoApp, EchoDoor, EchoRuntime, until

from openenv.protocol.handshake import EXTENDED_SUBPROTOCOL
from openenv.server.asgi_ws import _Outbox, websocket_endpoint


@pytest.fixture
def runtime() -> EchoRuntime:
    return EchoRuntime(max_frame_bytes=1000)


@pytest.fixture
def client(runtime: EchoRuntime) -> TestClient:
    return TestClient(EchoApp(runtime, raw=False))


@pytest.mark.parametrize("path", ["/ws", "/ws?threaded", "/ws?threaded&slow=0.1"])
def test_a_test_client_is_served(client: TestClient, runtime: EchoRuntime, path: str) -> None:
    with client.websocket_connect(path) as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "hello"
        socket.send_bytes(b"12345")
        assert socket.receive_text() == "binary 5"
        socket.send_text("many 100")
        assert [socket.receive_text() for _ in range(100)] == [str(index) for index in range(100)]
    until(lambda: runtime.doors[0].losses == 1)


def test_the_extended_protocol_is_negotiated(client: TestClient) -> None:
    with client.websocket_connect("/ws", subprotocols=["x", EXTENDED_SUBPROTOCOL]) as socket:
        assert str(socket.accepted_subprotocol) == EXTENDED_SUBPROTOCOL
        socket.send_text("extended?")
        assert socket.receive_text() == "yes"


def test_the_door_closes(client: TestClient, runtime: EchoRuntime) -> None:
    with client.websocket_connect("/ws?threaded") as socket:
        socket.send_text("close 4000 enough")
        with pytest.raises(WebSocketDisconnect) as caught:
            socket.receive_text()
        assert (caught.value.code, caught.value.reason) == (4000, "enough")
    assert runtime.doors[0].losses == 1


def test_a_door_that_does_not_open_says_why(client: TestClient) -> None:
    with client.websocket_connect("/ws?refuse=capacity") as socket:
        assert json.loads(socket.receive_text())["data"]["max_sessions"] == 3
        with pytest.raises(WebSocketDisconnect) as caught:
            socket.receive_text()
        assert caught.value.code == 1013


def test_a_message_over_the_limit_is_refused(client: TestClient) -> None:
    with client.websocket_connect("/ws") as socket:
        socket.send_text("x" * 1001)
        with pytest.raises(WebSocketDisconnect) as caught:
            socket.receive_text()
        assert caught.value.code == 1009


def test_a_rejection_is_the_answer(client: TestClient) -> None:
    with pytest.raises(WebSocketDenialResponse) as caught:
        client.websocket_connect("/ws", headers={"Authorization": "Bearer wrong"}).__enter__()
    assert caught.value.status_code == 401
    assert caught.value.headers["www-authenticate"] == "Bearer"


class Server:
    """An ASGI server's side of one connection, as bad as a test wants it."""

    def __init__(self, runtime: EchoRuntime, **scope: Any) -> None:
        self.runtime = runtime
        self.scope = {"type": "websocket", "path": "/ws", "query_string": b"", "headers": [], **scope}
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.writable = asyncio.Event()
        self.writable.set()
        self.failure: Exception | None = None
        self.incoming.put_nowait({"type": "websocket.connect"})

    def put(self, *texts: str) -> None:
        for text in texts:
            self.incoming.put_nowait({"type": "websocket.receive", "text": text})

    def disconnect(self) -> None:
        self.incoming.put_nowait({"type": "websocket.disconnect", "code": 1001})

    async def send(self, message: Any) -> None:
        await self.writable.wait()
        if self.failure is not None:
            raise self.failure
        self.sent.append(dict(message))

    def texts(self) -> list[str]:
        return [message["text"] for message in self.sent if message["type"] == "websocket.send"]

    def serve(self) -> asyncio.Task[None]:
        return asyncio.create_task(websocket_endpoint(self.runtime, self.scope, self.incoming.get, self.send))

    @property
    def door(self) -> EchoDoor:
        return self.runtime.doors[-1]


@asynccontextmanager
async def connected(
    runtime: EchoRuntime, query: bytes = b""
) -> AsyncIterator[tuple[Server, asyncio.Task[None]]]:
    server = Server(runtime, query_string=query)
    task = server.serve()
    await eventually(lambda: bool(runtime.doors) and (runtime.doors[-1].opened or b"slow" in query))
    yield server, task
    server.disconnect()
    await asyncio.wait_for(asyncio.wait((task,)), 5)
    assert server.door.losses == 1


async def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("the condition did not come true in time")


async def test_a_reply_given_at_once_is_sent_by_the_reader(runtime: EchoRuntime) -> None:
    async with connected(runtime) as (server, _):
        server.put("many 3")
        await eventually(lambda: len(server.texts()) == 3)


async def test_a_server_that_cannot_reject_with_a_response_gets_a_close(runtime: EchoRuntime) -> None:
    server = Server(runtime, headers=[(b"Authorization", b"Bearer wrong")], client=("10.0.0.1", 5))
    await server.serve()
    assert server.sent == [
        {"type": "websocket.close", "code": 1008, "reason": "The token is not the right one."}
    ]
    assert runtime.requests == [("/ws", "", "10.0.0.1")]


async def test_nothing_happens_for_a_connection_that_went_before_it_came(runtime: EchoRuntime) -> None:
    server = Server(runtime)
    server.incoming.get_nowait()
    server.disconnect()
    await server.serve()
    assert server.sent == []


async def test_the_path_is_the_one_below_the_mount(runtime: EchoRuntime) -> None:
    server = Server(
        runtime, path="/base/ws", root_path="/base", headers=[(b"cookie", b"a"), (b"cookie", b"b")]
    )
    task = server.serve()
    await eventually(lambda: bool(runtime.doors))
    assert runtime.requests == [("/ws", "", None)]
    server.disconnect()
    await task


async def test_a_peer_that_is_gone_while_we_send_ends_the_connection(runtime: EchoRuntime) -> None:
    async with connected(runtime, b"threaded") as (server, task):
        server.failure = RuntimeError("whatever this server raises")
        server.put("hello")
        await asyncio.wait_for(task, 5)


async def test_a_slow_reader_is_not_read_from(runtime: EchoRuntime) -> None:
    runtime.max_frame_bytes = 16 << 20
    async with connected(runtime) as (server, _):
        server.writable.clear()
        server.put(*["big 600000"] * 10)
        await asyncio.sleep(0.05)
        assert len(server.door.received) == 1
        server.writable.set()
        await eventually(lambda: len(server.texts()) == 10)


async def test_replies_of_a_thread_to_a_slow_reader_hold_back_its_requests(runtime: EchoRuntime) -> None:
    runtime.max_frame_bytes = 64 << 20
    async with connected(runtime, b"threaded") as (server, _):
        server.writable.clear()
        server.put(*["big 600000"] * 200)
        await asyncio.sleep(0.2)
        assert len(server.door.received) < 100
        server.writable.set()
        await eventually(lambda: len(server.texts()) == 200)


async def test_a_reader_that_takes_nothing_is_given_up(runtime: EchoRuntime) -> None:
    async with connected(runtime, b"threaded") as (server, task):
        server.writable.clear()
        server.put(*["big 900"] * 10)
        await asyncio.wait_for(task, 5)


async def test_a_flood_while_the_door_opens_waits(runtime: EchoRuntime) -> None:
    async with connected(runtime, b"slow=0.1") as (server, _):
        server.put(*["x"] * 500)
        await asyncio.sleep(0.02)
        assert server.incoming.qsize() > 400
        await eventually(lambda: len(server.texts()) == 500)


async def test_a_crash_while_opening_or_receiving_closes_with_1011(runtime: EchoRuntime) -> None:
    server = Server(runtime, query_string=b"refuse=crash")
    await asyncio.wait_for(server.serve(), 5)
    assert server.sent[-1]["code"] == 1011
    async with connected(runtime) as (server, task):
        server.put("raise")
        await asyncio.wait_for(task, 5)
        assert server.sent[-1]["code"] == 1011


async def test_a_cancelled_connection_still_releases_its_door(runtime: EchoRuntime) -> None:
    async with connected(runtime) as (server, task):
        task.cancel()
        await asyncio.wait((task,))
        assert server.door.losses == 1


async def test_a_door_that_fails_to_let_go_is_logged(
    runtime: EchoRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(runtime)
    task = server.serve()
    await eventually(lambda: bool(runtime.doors))

    async def lost() -> None:
        raise ZeroDivisionError("clinging")

    server.door.lost = lost  # type: ignore[method-assign]
    server.disconnect()
    await task
    assert "clinging" in caplog.text


def test_a_reply_after_the_loop_is_closed_is_dropped() -> None:
    async def make() -> _Outbox:
        return _Outbox(Server(EchoRuntime()).send, 1000)

    outbox = asyncio.run(make())
    thread = threading.Thread(target=lambda: outbox.send_text(b"late"))
    thread.start()
    thread.join()
    outbox.send_text(b"later")
    assert outbox.buffered == 4


def test_text_that_is_no_unicode_reaches_the_door(client: TestClient, runtime: EchoRuntime) -> None:
    with client.websocket_connect("/ws") as socket:
        socket.send({"type": "websocket.receive", "text": "many 1 \ud800"})
        assert socket.receive_text() == "0"
    assert runtime.doors[0].received == [b"many 1 \xed\xa0\x80"]
