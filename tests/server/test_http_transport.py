"""Clients that never finish a request's head, and clients that finish and say so."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.server.echo import EchoApp, EchoRuntime, RawClient, running_shard, until

from openenv import Environment
from openenv.server import BackgroundServer, make_app
from openenv.server.settings import ServerSettings, SettingError

Connect = Callable[[], socket.socket]
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Napping(Environment):
    def reset(self, seconds: float = 0.0) -> str:
        time.sleep(seconds)
        return "rested"

    def step(self, seconds: float) -> str:
        time.sleep(seconds)
        return "slept"


@pytest.fixture(params=["httptools", "h11"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Opens connections to a server whose clients have 0.5 s for a head."""
    app = make_app(Napping)
    with contextlib.ExitStack() as stack:
        options: dict[str, Any] = {"http": request.param, "head_timeout_s": 0.5, "log_level": "critical"}
        url = stack.enter_context(BackgroundServer(app, **options))
        address = ("127.0.0.1", int(url.rpartition(":")[2]))

        def run() -> socket.socket:
            return stack.enter_context(socket.create_connection(address, timeout=30))

        yield run


def everything(sock: socket.socket) -> bytes:
    """What comes until the server closes; the test's time limit is the bound."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            data += piece
    return data


def answer(sock: socket.socket) -> bytes:
    """One answer with a body of JSON."""
    data = b""
    while not data.endswith(b"}"):
        piece = sock.recv(65536)
        assert piece, data
        data += piece
    return data


@pytest.mark.parametrize("begun", [b"", b"GET /health HT", GET[:-2]])
def test_a_head_that_never_ends_ends_the_connection(connect: Connect, begun: bytes) -> None:
    sock = connect()
    sock.sendall(begun)
    assert everything(sock).startswith(b"HTTP/1.1 408 ")


def test_bytes_that_trickle_gain_no_time(connect: Connect) -> None:
    sock, data = connect(), b""
    sock.settimeout(0.05)
    with contextlib.suppress(ConnectionError):
        for byte in GET[:-2] + b"X: " + b"y" * 10_000:
            sock.sendall(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                data = sock.recv(100)
                break
    assert data.startswith(b"HTTP/1.1 408 ")


def test_a_second_head_is_bounded_too(connect: Connect) -> None:
    sock = connect()
    sock.sendall(GET)
    assert answer(sock).startswith(b"HTTP/1.1 200 ")
    sock.sendall(GET[:9])
    assert everything(sock).startswith(b"HTTP/1.1 408 ")


def test_an_answer_may_take_longer_than_a_head(connect: Connect) -> None:
    sock = connect()
    body = json.dumps({"seconds": 1.2}).encode()
    head = b"POST /reset HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    sock.sendall(head)
    time.sleep(0.8)  # a body, too
    sock.sendall(body)
    assert answer(sock).startswith(b"HTTP/1.1 200 ")


def test_a_request_is_answered_after_its_client_shut_its_side_down(connect: Connect) -> None:
    sock = connect()
    body = json.dumps({"seconds": 0.5}).encode()
    sock.sendall(b"POST /reset HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    sock.shutdown(socket.SHUT_WR)
    data = everything(sock)  # which ends: the connection is not kept alive
    assert data.startswith(b"HTTP/1.1 200 ")
    assert b"rested" in data


@pytest.mark.parametrize(
    "sent", [b"", GET[:5], b"POST /reset HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"]
)
def test_half_a_request_is_not(connect: Connect, sent: bytes) -> None:
    sock = connect()
    sock.sendall(sent)
    sock.shutdown(socket.SHUT_WR)
    assert b"200" not in everything(sock)


def test_a_websocket_outlives_the_time_of_its_head() -> None:
    app = EchoApp(EchoRuntime(), raw=True)
    with BackgroundServer(app, head_timeout_s=0.3, log_level="critical") as url, RawClient(url) as client:
        time.sleep(0.8)
        assert client.ask(b"hello") == b"hello"


@pytest.mark.parametrize("path", ["/ws?threaded", "/ws?threaded&slow=0.3", "/ws"])
@pytest.mark.parametrize("sharded", [False, True])
def test_messages_are_answered_after_their_client_shut_its_side_down(path: str, sharded: bool) -> None:
    with running_shard(sharded) as shard:
        runtime = EchoRuntime(shard=shard)
        app = EchoApp(runtime, raw=True)
        with BackgroundServer(app, log_level="critical") as url, RawClient(url, path, timeout=30) as client:
            client.text(b"sleep 0.3", *(b"%d" % index for index in range(100)))
            client.socket.shutdown(socket.SHUT_WR)
            assert client.reply() == b"sleep 0.3"
            assert [client.reply() for _ in range(100)] == [b"%d" % index for index in range(100)]
            with contextlib.suppress(ConnectionError):
                client.ended()
            until(lambda: runtime.doors[0].losses == 1, 30)


def test_an_idle_websocket_whose_client_shut_its_side_down_ends() -> None:
    runtime = EchoRuntime()
    with BackgroundServer(EchoApp(runtime, raw=True), log_level="critical") as url, RawClient(url) as client:
        client.ask(b"hello")
        client.socket.shutdown(socket.SHUT_WR)
        until(lambda: runtime.doors[0].losses == 1, 30)


def test_a_client_that_is_gone_keeps_its_door_no_longer_than_a_drain() -> None:
    runtime = EchoRuntime()
    app = EchoApp(runtime, raw=True)
    with BackgroundServer(app, drain_s=0.3, log_level="critical") as url:
        with RawClient(url, "/ws?threaded") as client:
            client.text(b"sleep 3")
            until(lambda: bool(runtime.doors and runtime.doors[0].received), 30)
        until(lambda: runtime.doors[0].losses == 1, 30)
        assert runtime.doors[0].pending == 1


def test_the_time_for_a_head_is_a_setting() -> None:
    assert ServerSettings().head_timeout_s == 10.0
    assert ServerSettings.from_environment({"OPENENV_HEAD_TIMEOUT_S": "3"}).head_timeout_s == 3.0
    with pytest.raises(SettingError, match="head_timeout_s"):
        ServerSettings(head_timeout_s=0)
