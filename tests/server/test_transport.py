"""What only the raw transport decides: signs of life, back-pressure, drain, TLS, Unix sockets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from tests.server.echo import EchoApp, EchoDoor, EchoRuntime, RawClient, running_shard, until

from openenv.protocol import websocket as ws
from openenv.protocol.handshake import client_handshake
from openenv.server.run import BackgroundServer
from openenv.server.transport import TransportSettings, websocket_protocol_class

CERTIFICATE = Path(__file__).with_name("localhost.pem")


@pytest.fixture(params=["uvloop-httptools", "asyncio-h11", "uvloop-httptools-shard", "asyncio-h11-shard"])
def loop_and_http(request: pytest.FixtureRequest) -> dict[str, Any]:
    loop, http, *shard = request.param.split("-")
    return {"loop": loop, "http": http, "shard": bool(shard)}


@contextlib.contextmanager
def serving(
    loop_and_http: dict[str, Any], max_frame_bytes: int = 1 << 20, **options: Any
) -> Iterator[tuple[str, EchoRuntime]]:
    how = dict(loop_and_http)
    with running_shard(how.pop("shard")) as shard:
        runtime = EchoRuntime(max_frame_bytes, shard)
        app = EchoApp(runtime, raw=True)
        with BackgroundServer(app, log_level="critical", **how, **options) as url:
            yield url, runtime


def door_of(runtime: EchoRuntime) -> EchoDoor:
    until(lambda: bool(runtime.doors))
    return runtime.doors[-1]


# Signs of life --------------------------------------------------------------------------------------


def test_a_peer_that_answers_pings_lives(loop_and_http: dict[str, Any]) -> None:
    with (
        serving(loop_and_http, ping_interval_s=0.1, ping_timeout_s=0.1) as (url, _),
        RawClient(url) as client,
    ):
        for _ in range(5):
            ping = client.event()
            assert isinstance(ping, ws.Ping)
            client.send(ws.pong_frame(ping.payload, mask=True))
        assert client.ask(b"alive") == b"alive"


def test_a_peer_that_does_not_answer_is_given_up(loop_and_http: dict[str, Any]) -> None:
    with serving(loop_and_http, ping_interval_s=0.1, ping_timeout_s=0.1) as (url, runtime):
        with RawClient(url) as client:
            begin = time.monotonic()
            assert isinstance(client.event(), ws.Ping)
            with pytest.raises(ConnectionError):
                client.event()
            assert 0.15 < time.monotonic() - begin < 2
            until(lambda: door_of(runtime).losses == 1)


def test_any_message_is_a_sign_of_life(loop_and_http: dict[str, Any]) -> None:
    with (
        serving(loop_and_http, ping_interval_s=0.1, ping_timeout_s=0.1) as (url, _),
        RawClient(url) as client,
    ):
        for _ in range(15):
            client.text(b"hello")
            while isinstance(client.event(), ws.Ping):
                pass
            time.sleep(0.04)


def test_pings_can_be_switched_off(loop_and_http: dict[str, Any]) -> None:
    with serving(loop_and_http, ping_interval_s=None) as (url, _), RawClient(url, timeout=0.3) as client:
        with pytest.raises(TimeoutError):
            client.event()
        assert client.ask(b"alive") == b"alive"


def test_a_peer_that_we_do_not_read_is_not_blamed(loop_and_http: dict[str, Any]) -> None:
    with serving(loop_and_http, ping_interval_s=0.3, ping_timeout_s=0.6) as (url, _):
        with RawClient(url, "/ws?threaded") as client:
            client.text(b"sleep 2.0", *[b"x"] * 100)
            assert client.reply() == b"sleep 2.0"
            assert [client.reply() for _ in range(100)] == [b"x"] * 100


def test_a_slow_reader_lives_as_long_as_it_takes_something(loop_and_http: dict[str, Any]) -> None:
    with serving(loop_and_http, 8 << 20, ping_interval_s=0.1, ping_timeout_s=1.5) as (url, _):
        with RawClient(url, receive_buffer=4096) as client:
            client.text(b"big 8000000")
            for _ in range(50):
                time.sleep(0.05)
                client._events += client.frames.feed(client.socket.recv(65536))
            assert client.reply() == b"x" * 8_000_000


def test_a_reader_that_takes_nothing_is_given_up(loop_and_http: dict[str, Any]) -> None:
    with serving(loop_and_http, 8 << 20, ping_interval_s=0.1, ping_timeout_s=0.1) as (url, runtime):
        with RawClient(url, receive_buffer=4096) as client:
            client.text(b"big 8000000")
            until(lambda: door_of(runtime).losses == 1, 30)


# Back-pressure --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/ws", "/ws?threaded"])
def test_requests_of_a_peer_that_does_not_read_stay_with_it(loop_and_http: dict[str, Any], path: str) -> None:
    with serving(loop_and_http, 16 << 20) as (url, runtime):
        with RawClient(url, path, receive_buffer=4096) as client:
            client.socket.settimeout(0.5)
            request = ws.text_frame(b"big 200000", mask=True)
            with contextlib.suppress(TimeoutError):
                client.send(request * 200_000)
            door = door_of(runtime)
            answered = len(door.received)
            assert answered < 300
            assert door.losses == 0
            client.socket.settimeout(10)
            for _ in range(answered + 50):
                assert len(client.reply()) == 200_000
            assert len(door.received) > answered


def test_a_peer_that_leaves_too_much_unread_is_given_up(loop_and_http: dict[str, Any]) -> None:
    with serving(loop_and_http, 1 << 20) as (url, runtime):
        with RawClient(url, "/ws?threaded", receive_buffer=4096) as client:
            client.text(*[b"big 900000"] * 60)
            until(lambda: door_of(runtime).losses == 1)
        with RawClient(url) as client:
            assert client.ask(b"others live") == b"others live"


def test_a_flood_of_one_peer_leaves_turns_to_the_others(loop_and_http: dict[str, Any]) -> None:
    with serving(loop_and_http) as (url, _), RawClient(url) as flooder, RawClient(url) as other:
        other.ask(b"ready")
        flooder.socket.settimeout(0.05)
        flood = ws.text_frame(b"x", mask=True) * 100_000
        with contextlib.suppress(TimeoutError):
            flooder.send(flood)
        begin = time.monotonic()
        assert other.ask(b"me") == b"me"
        assert time.monotonic() - begin < 1


# The end --------------------------------------------------------------------------------------------


def test_a_peer_that_does_not_answer_our_close_is_cut_off(loop_and_http: dict[str, Any]) -> None:
    with serving(loop_and_http, close_timeout_s=0.1) as (url, _), RawClient(url) as client:
        client.text(b"close 1000 bye")
        assert client.event() == ws.Close(1000, "bye")
        with contextlib.suppress(ConnectionResetError):
            assert client.socket.recv(10) == b""


def test_after_an_offence_the_stream_ends_without_a_reset(loop_and_http: dict[str, Any]) -> None:
    with serving(loop_and_http) as (url, runtime), RawClient(url) as client:
        assert client.ask(b"good") == b"good"  # a reply not yet sent would be lost to the offence
        client.send(b"\x83\x80\0\0\0\0" + b"and so on" * 10_000)
        assert client.event().code == 1002  # type: ignore[union-attr]
        client.send(b"and on" * 1000)
        client.ended()
        client.socket.close()
        until(lambda: door_of(runtime).losses == 1)


def test_replies_before_a_close_are_not_lost_to_unread_requests(loop_and_http: dict[str, Any]) -> None:
    with serving(loop_and_http) as (url, _), RawClient(url) as client:
        client.text(b"big 500000", b"close 1000 done", *[b"ignored" * 1000] * 500)
        assert len(client.reply()) == 500_000
        assert client.closing() == ws.Close(1000, "done")


@contextlib.contextmanager
def stopping(server: BackgroundServer) -> Iterator[None]:
    """Ask the server to stop, as a signal would; wait for it at the end."""
    assert server._listener is not None
    server._listener.server.should_exit = True
    yield
    server.stop()


@pytest.fixture
def drained(loop_and_http: dict[str, Any]) -> Iterator[tuple[BackgroundServer, EchoRuntime]]:
    how = dict(loop_and_http)
    with running_shard(how.pop("shard")) as shard:
        runtime = EchoRuntime(shard=shard)
        server = BackgroundServer(
            EchoApp(runtime, raw=True), drain_s=0.5, close_timeout_s=0.2, log_level="critical", **how
        )
        server.start()
        yield server, runtime
        server.stop()


def test_a_call_in_flight_finishes_before_the_server_stops(
    drained: tuple[BackgroundServer, EchoRuntime],
) -> None:
    server, runtime = drained
    with RawClient(server.url, "/ws?threaded") as client, RawClient(server.url) as idle:
        client.text(b"sleep 0.3")
        until(lambda: any(door.received for door in runtime.doors))
        with stopping(server):
            assert idle.closing() == ws.Close(1012, "server shutting down")
            assert client.reply() == b"sleep 0.3"
            assert client.closing() == ws.Close(1012, "server shutting down")
        assert all(door.losses == 1 for door in runtime.doors)


def test_no_call_is_begun_while_the_server_drains(drained: tuple[BackgroundServer, EchoRuntime]) -> None:
    server, runtime = drained
    with RawClient(server.url, "/ws?threaded") as client, RawClient(server.url) as idle:
        client.text(b"sleep 0.3")
        until(lambda: any(door.received for door in runtime.doors))
        with stopping(server):
            idle.closing()
            client.text(b"one more")
            assert client.reply() == b"sleep 0.3"
            assert client.closing().code == 1012


def test_a_call_that_outlasts_the_drain_is_left_behind(drained: tuple[BackgroundServer, EchoRuntime]) -> None:
    server, runtime = drained
    with RawClient(server.url, "/ws?threaded") as client:
        client.text(b"sleep 3")
        until(lambda: any(door.received for door in runtime.doors))
        begin = time.monotonic()
        with stopping(server):
            assert client.closing() == ws.Close(1012, "server shutting down")
        assert time.monotonic() - begin < 2


def test_an_opening_connection_is_closed_at_once(drained: tuple[BackgroundServer, EchoRuntime]) -> None:
    server, runtime = drained
    with RawClient(server.url, "/ws?slow=30") as client:
        until(lambda: bool(runtime.doors))
        with stopping(server):
            assert client.closing() == ws.Close(1012, "server shutting down")
    assert runtime.doors[0].losses == 1


def test_a_peer_that_never_answers_does_not_hold_up_the_drain(
    drained: tuple[BackgroundServer, EchoRuntime],
) -> None:
    server, _ = drained
    with RawClient(server.url) as client:
        client.ask(b"hello")
        begin = time.monotonic()
        with stopping(server):
            pass
        assert time.monotonic() - begin < 2


# Other sockets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/ws", "/ws?threaded", "/own"])
def test_tls(loop_and_http: dict[str, Any], path: str) -> None:
    trust = ssl.create_default_context(cafile=str(CERTIFICATE))
    with serving(loop_and_http, 8 << 20, ssl_certfile=str(CERTIFICATE)) as (url, runtime):
        assert url.startswith("https://")
        with RawClient(url, path, tls=trust) as client:
            if path == "/own":
                assert client.ask(b"hello") == b"own hello"
                return
            assert client.ask(b"hello") == b"hello"
            client.text(*[b"big 100000"] * 30, *[b"%d" % index for index in range(300)])
            assert [client.reply() for _ in range(30)] == [b"x" * 100_000] * 30
            assert [client.reply() for _ in range(300)] == [b"%d" % index for index in range(300)]
            assert client.close().code == 1000
        until(lambda: door_of(runtime).losses == 1)


def test_a_slow_reader_over_tls_is_held_back(loop_and_http: dict[str, Any]) -> None:
    trust = ssl.create_default_context(cafile=str(CERTIFICATE))
    with serving(loop_and_http, 16 << 20, ssl_certfile=str(CERTIFICATE)) as (url, runtime):
        with RawClient(url, "/ws?threaded", tls=trust, receive_buffer=65536) as client:
            client.text(*[b"big 300000"] * 300)
            time.sleep(0.3)
            assert len(door_of(runtime).received) < 200
            assert [len(client.reply()) for _ in range(300)] == [300_000] * 300


@pytest.mark.parametrize("path", ["/ws", "/ws?threaded", "/own"])
def test_unix_sockets(loop_and_http: dict[str, Any], tmp_path: Path, path: str) -> None:
    place = tmp_path / "s"
    with serving(loop_and_http, uds=str(place)) as (url, runtime):
        assert url == f"unix:{place}"
        assert place.stat().st_mode & 0o777 == 0o600
        with RawClient(url, path) as client:
            assert client.ask(b"hello") == (b"own hello" if path == "/own" else b"hello")
            if path != "/own":
                assert runtime.requests[-1] == (path.split("?")[0], path.partition("?")[2], None)
                assert client.ask(b"big 1000000") == b"x" * 1_000_000
    assert not place.exists()


def test_clients_that_vanish_at_once_leave_nothing_behind(loop_and_http: dict[str, Any]) -> None:
    with serving(loop_and_http) as (url, runtime):
        host, _, port = url.partition("://")[2].rpartition(":")
        for path in ["/ws", "/ws?threaded", "/ws?slow=5", "/own"] * 10:
            with socket.create_connection((host, int(port))) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                sock.sendall(client_handshake(host, path)[0])
        until(lambda: len(runtime.doors) == 30 and all(door.losses == 1 for door in runtime.doors))
        with RawClient(url) as client:
            assert client.ask(b"hello") == b"hello"


# The protocol class by itself -----------------------------------------------------------------------


class Wire(asyncio.Transport):
    """A transport without a socket that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.data += bytes(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


class State:
    """What uvicorn shares between connections."""

    def __init__(self) -> None:
        self.connections: set[Any] = set()
        self.tasks: set[asyncio.Task[None]] = set()


def make(runtime: EchoRuntime, state: State) -> Any:
    cls = websocket_protocol_class(runtime, TransportSettings(ping_interval_s=None))
    return cast(Any, cls)(config=None, server_state=state, app_state={})


async def test_a_head_that_is_none_is_refused() -> None:
    protocol, wire = make(EchoRuntime(), State()), Wire()
    protocol.connection_made(wire)
    protocol.data_received(b"nonsense\r\n\r\n")
    assert wire.data.startswith(b"HTTP/1.1 400 ")
    assert wire.closed
    for event in (protocol.eof_received, protocol.pause_writing, protocol.resume_writing):
        event()
    protocol.connection_lost(None)


async def test_what_comes_before_the_successor_is_installed_is_passed_on() -> None:
    state, runtime, wire = State(), EchoRuntime(), Wire()
    protocol = make(runtime, state)
    protocol.connection_made(wire)
    protocol.data_received(client_handshake("h", "/ws")[0])
    assert len(state.connections) == 1
    assert wire.data.startswith(b"HTTP/1.1 101 ")
    protocol.data_received(ws.text_frame(b"early", mask=True))
    protocol.pause_writing()
    protocol.resume_writing()
    assert protocol.eof_received()  # there is a message to answer
    while not runtime.doors[0].received:
        await asyncio.wait(state.tasks)
    assert wire.data.endswith(ws.text_frame(b"early"))
    protocol.connection_lost(None)
    await asyncio.wait(state.tasks)
    assert runtime.doors[0].losses == 1
    assert state.connections == set()


async def test_a_door_that_fails_to_let_go_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Clinging(EchoRuntime):
        def open_door(self, *arguments: Any) -> EchoDoor:
            door = super().open_door(*arguments)

            async def lost() -> None:
                raise ZeroDivisionError("clinging")

            door.lost = lost  # type: ignore[method-assign]
            return door

    state, wire = State(), Wire()
    protocol = make(Clinging(), state)
    protocol.connection_made(wire)
    protocol.data_received(client_handshake("h", "/ws")[0])
    await asyncio.sleep(0)
    protocol.connection_lost(None)
    with caplog.at_level(logging.ERROR):
        await asyncio.wait(state.tasks)
    assert "clinging" in caplog.text
