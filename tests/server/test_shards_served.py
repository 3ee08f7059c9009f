"""A served environment whose sessions live on shards: what a client sees when one of them is slow or ends."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
from tests.server.echo import RawClient, until
from tests.server.environments import Napping

from openenv.protocol import websocket as ws
from openenv.server.app import make_app
from openenv.server.contract import MAX_PENDING
from openenv.server.run import BackgroundServer
from openenv.server.settings import ServerSettings
from openenv.server.shard_reader import ShardReader
from openenv.session.quarantine import Quarantine
from openenv.session.shards import Shard, ShardHost


class Shared(Napping, host="shard"):
    """Naps on a thread that it shares."""

    SUPPORTS_CONCURRENT_SESSIONS = True


@pytest.fixture
def app() -> Any:
    return make_app(Shared, ServerSettings(max_sessions=16))


@pytest.fixture(params=["asyncio", "uvloop"])
def url(app: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    with BackgroundServer(app, log_level="critical", loop=request.param) as address:
        yield address


def ask(client: RawClient, message: dict[str, Any]) -> dict[str, Any]:
    reply: dict[str, Any] = json.loads(client.ask(json.dumps(message).encode()))
    return reply


def step(client: RawClient, seconds: float) -> dict[str, Any]:
    return ask(client, {"type": "step", "data": {"seconds": seconds}})


def begin(client: RawClient, seconds: float) -> None:
    client.text(json.dumps({"type": "step", "data": {"seconds": seconds}}).encode())


def readers(app: Any) -> int:
    shards = app.state.openenv.manager._shards._shards
    return sum(len(shard._readers) for shard in shards)


def shard_of(app: Any) -> Shard:
    (hosted,) = app.state.openenv.manager.sessions()
    assert isinstance(hosted.host, ShardHost)
    return hosted.host.shard


def test_a_shard_reads_its_sessions_sockets(app: Any, url: str) -> None:
    with RawClient(url) as one, RawClient(url) as two:
        for client in (one, two):
            assert ask(client, {"type": "reset"})["type"] == "observation"
            assert step(client, 0)["type"] == "observation"
        assert readers(app) == 2
        assert one.close() == ws.Close(1000, "")
        until(lambda: readers(app) == 1)
        assert step(two, 0)["type"] == "observation"
    until(lambda: app.state.openenv.manager.active == 0)


def test_pings_are_answered_during_a_long_step_and_reading_returns_to_the_shard(app: Any, url: str) -> None:
    with RawClient(url) as client:
        ask(client, {"type": "reset"})
        until(lambda: readers(app) == 1)
        began = time.monotonic()
        begin(client, 3.0)
        until(lambda: readers(app) == 0)
        client.send(ws.encode_frame(ws.PING, b"there?", mask=True))
        assert client.event() == ws.Pong(b"there?")
        assert time.monotonic() - began < 2.9
        begin(client, 0.0)  # waits for the one that runs
        assert json.loads(client.reply())["type"] == "observation"
        assert json.loads(client.reply())["type"] == "observation"
        until(lambda: readers(app) == 1)
        assert step(client, 0)["type"] == "observation"


def test_a_connection_that_ends_during_a_long_step_frees_its_slot(app: Any, url: str) -> None:
    with RawClient(url) as client:
        ask(client, {"type": "reset"})
        begin(client, 0.6)
        until(lambda: shard_of(app).turn_since > 0)
    until(lambda: app.state.openenv.manager.active == 0)


def test_many_messages_at_once_are_answered_in_order(app: Any, url: str) -> None:
    with RawClient(url) as client:
        ask(client, {"type": "reset"})
        message = json.dumps({"type": "step", "data": {"seconds": 0}}).encode()
        client.text(*[message] * 500)
        assert {json.loads(client.reply())["type"] for _ in range(500)} == {"observation"}
        until(lambda: readers(app) == 1)
        assert step(client, 0)["type"] == "observation"


def test_ten_clients_and_a_peer_that_reads_late(app: Any, url: str) -> None:
    clients = [RawClient(url) for _ in range(10)]
    try:
        for client in clients:
            ask(client, {"type": "reset"})
        for _ in range(20):
            for client in clients:
                begin(client, 0)
            for client in clients:
                assert json.loads(client.reply())["type"] == "observation"
    finally:
        for client in clients:
            client.socket.close()
    until(lambda: app.state.openenv.manager.active == 0)


class Parts:
    """A shard reader over one end of a socket pair, and what it was told."""

    def __init__(self) -> None:
        self.shard = Shard("test-parts", Quarantine())
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.messages: list[bytes] = []
        self.written: list[bytes] = []
        self.back = threading.Event()
        self.pending = self.buffered = 0
        self.reader = ShardReader(
            self.shard,
            self.ours.fileno(),
            ws.Frames("server", 1000),
            lambda event: self.messages.append(event.payload),
            cast(Any, self),
            cast(Any, self),
            hand_back=self.back.set,
            part=self.back.set,
        )
        self.reader.start()

    def write(self, frame: bytes) -> None:
        self.written.append(frame)

    def close(self) -> None:
        self.reader.stop()
        self.shard.stop()
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def parts() -> Iterator[Parts]:
    parts = Parts()
    yield parts
    parts.close()


def masked(*payloads: bytes) -> bytes:
    return b"".join(ws.text_frame(payload, mask=True) for payload in payloads)


def test_messages_before_an_offence_are_handed_over_and_the_offence_is_left(parts: Parts) -> None:
    parts.theirs.send(masked(b"one") + ws.text_frame(b"not masked"))
    assert parts.back.wait(10)
    assert parts.messages == [b"one"]
    left, error = parts.reader.stop()
    assert left == []
    assert error is not None
    assert error.close_code == ws.PROTOCOL_ERROR
    assert error.events == []
    assert parts.reader.heard


def test_a_close_frame_and_what_exceeds_a_fair_share_are_left(parts: Parts) -> None:
    parts.theirs.send(masked(*[b"x"] * (MAX_PENDING + 5)))
    assert parts.back.wait(10)
    assert len(parts.messages) == MAX_PENDING
    left, error = parts.reader.stop()
    assert [type(event) for event in left] == [ws.Text] * 5
    assert error is None


def test_pings_are_answered_pongs_ignored_and_a_close_left(parts: Parts) -> None:
    frames = [(ws.PING, b"a"), (ws.PONG, b""), (ws.PING, b"b"), (ws.CLOSE, b"\x03\xe8")]
    parts.theirs.send(b"".join(ws.encode_frame(code, payload, mask=True) for code, payload in frames))
    assert parts.back.wait(10)
    assert parts.written == [ws.pong_frame(b"a"), ws.pong_frame(b"b")]
    assert parts.reader.stop() == ([ws.Close(1000, "")], None)


@pytest.mark.parametrize("behind", ["pending", "buffered"])
def test_a_door_or_a_peer_that_is_behind_ends_the_reading(parts: Parts, behind: str) -> None:
    setattr(parts, behind, 1 << 30)
    parts.theirs.send(masked(b"one"))
    assert parts.back.wait(10)
    assert parts.messages == [b"one"]
    parts.reader.readable()  # stopped: reads nothing


def test_the_end_of_the_stream_is_for_the_loop(parts: Parts) -> None:
    parts.theirs.close()
    assert parts.back.wait(10)
    assert parts.reader.stop() == ([], None)


def test_a_reset_connection_is_for_the_loop() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        parts = Parts()
        parts.reader.stop()
        ours, _ = listener.accept()
        reset = ShardReader(
            parts.shard,
            ours.fileno(),
            ws.Frames("server", 1000),
            lambda event: None,
            cast(Any, parts),
            cast(Any, parts),
            hand_back=parts.back.set,
            part=parts.back.set,
        )
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        reset.start()
        peer.close()
        assert parts.back.wait(10)
        reset.stop()
        ours.close()
        parts.close()


def test_nothing_to_read_after_all_changes_nothing(parts: Parts) -> None:
    parts.reader.readable()
    parts.theirs.send(masked(b"one"))
    until(lambda: parts.messages == [b"one"])
    assert not parts.back.is_set()
