"""One behaviour, whoever owns the socket: our protocol under `run.serve`, ASGI under uvicorn as it comes."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.server.echo import EchoApp, EchoRuntime, RawClient, Refused, running_shard, until
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from websockets.sync.client import connect

from openenv.protocol import websocket as ws
from openenv.protocol.extended import codec_of
from openenv.protocol.handshake import EXTENDED_SUBPROTOCOL, MSGPACK_SUBPROTOCOL
from openenv.server.run import BackgroundServer

TRANSPORTS = [
    f"{transport}-{loop}"
    for transport in ("raw", "shard", "asgi")
    for loop in ("uvloop-httptools", "asyncio-h11")
]
LIMIT = 256 * 1024


@pytest.fixture(scope="module", params=TRANSPORTS)
def served(request: pytest.FixtureRequest) -> Iterator[tuple[str, EchoRuntime]]:
    transport, loop, http = request.param.split("-")
    with running_shard(transport == "shard") as shard:
        runtime = EchoRuntime(max_frame_bytes=LIMIT, shard=shard)
        app = EchoApp(runtime, raw=transport != "asgi")
        with BackgroundServer(app, loop=loop, http=http, log_level="critical") as url:
            yield url, runtime


@pytest.fixture
def url(served: tuple[str, EchoRuntime]) -> str:
    return served[0]


@pytest.fixture
def runtime(served: tuple[str, EchoRuntime]) -> EchoRuntime:
    return served[1]


@pytest.fixture(params=["/ws", "/ws?threaded"])
def path(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_messages_are_answered_in_order(url: str, path: str) -> None:
    with RawClient(url, path) as client:
        assert client.ask(b"hello") == b"hello"
        payloads = [b"%d" % index for index in range(300)]
        client.text(*payloads)
        assert [client.reply() for _ in payloads] == payloads
        assert client.close() == ws.Close(1000, "")


def test_a_message_may_come_in_pieces_and_fragments(url: str, path: str) -> None:
    with RawClient(url, path) as client:
        data = ws.encode_frame(ws.TEXT, "κόσ".encode(), fin=False, mask=True)
        data += ws.ping_frame(b"now", mask=True) + ws.encode_frame(ws.CONTINUATION, "με".encode(), mask=True)
        for index in range(len(data)):
            client.send(data[index : index + 1])
        assert client.event() == ws.Pong(b"now")
        assert client.reply() == "κόσμε".encode()


@pytest.mark.parametrize("size", [125, 126, 65535, 65536, LIMIT])
def test_every_size_up_to_the_limit_passes_both_ways(url: str, path: str, size: int) -> None:
    with RawClient(url, path) as client:
        assert client.ask(b"y" * size) == b"y" * size
        client.send(ws.binary_frame(bytes(size), mask=True))
        assert client.reply() == b"binary %d" % size


def test_replies_may_be_longer_than_the_limit_on_messages(url: str, path: str) -> None:
    with RawClient(url, path) as client:
        assert client.ask(b"big %d" % (2 * LIMIT - 100)) == b"x" * (2 * LIMIT - 100)


def test_a_message_over_the_limit_closes_with_1009(url: str, path: str) -> None:
    with RawClient(url, path) as client:
        client.text(bytes(LIMIT + 1))
        assert client.closing(cleanly=False).code == 1009


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x01A", 1002),
        (b"\xc1\x80\0\0\0\0", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\x80\x80\0\0\0\0", 1002),
        (ws.text_frame(b"\xff\xfe", mask=True), 1007),
        (ws.encode_frame(ws.CLOSE, b"\x03\xee", mask=True), 1002),
    ],
    ids=["unmasked", "reserved bit", "reserved opcode", "stray continuation", "no UTF-8", "close code"],
)
def test_offences_close_with_the_code_of_the_rfc(url: str, path: str, data: bytes, code: int) -> None:
    with RawClient(url, path) as client:
        assert client.ask(b"fine") == b"fine"
        client.send(data)
        assert client.closing(cleanly=False).code == code


def test_pings_are_answered_while_a_call_runs(url: str) -> None:
    with RawClient(url, "/ws?threaded") as client:
        client.text(b"sleep 0.3")
        client.send(ws.ping_frame(b"there?", mask=True))
        assert client.event() == ws.Pong(b"there?")
        assert client.reply() == b"sleep 0.3"


def test_the_door_closes_with_code_and_reason_after_its_replies(url: str, path: str) -> None:
    with RawClient(url, path) as client:
        client.text(b"last words", b"close 4001 enough")
        assert client.reply() == b"last words"
        event = client.event()
        assert event == ws.Close(4001, "enough")
        client.send(ws.close_frame(4001, mask=True))
        client.ended()


def test_the_client_closes_and_the_door_is_released_once(url: str, runtime: EchoRuntime, path: str) -> None:
    with RawClient(url, path) as client:
        client.ask(b"hello")
        door = runtime.doors[-1]
        assert client.close(4321).code == 4321
        until(lambda: door.losses == 1)


def test_a_message_right_before_the_close_frame_counts(url: str, runtime: EchoRuntime, path: str) -> None:
    with RawClient(url, path) as client:
        client.ask(b"hello")
        door = runtime.doors[-1]
        client.send(ws.text_frame(b"last words", mask=True) + ws.close_frame(1000, mask=True))
        until(lambda: door.losses == 1)
        assert door.received == [b"hello", b"last words"]


def test_a_client_that_vanishes_releases_the_door(url: str, runtime: EchoRuntime, path: str) -> None:
    with RawClient(url, path) as client:
        client.ask(b"hello")
        door = runtime.doors[-1]
    until(lambda: door.losses == 1)


def test_a_client_that_vanishes_during_a_call_releases_the_door(url: str, runtime: EchoRuntime) -> None:
    with RawClient(url, "/ws?threaded") as client:
        client.text(b"sleep 0.2", b"big 100000")
        until(lambda: bool(runtime.doors[-1].received))
        door = runtime.doors[-1]
    until(lambda: door.losses == 1)
    with RawClient(url) as client:
        assert client.ask(b"still here") == b"still here"


@pytest.mark.parametrize(
    ("refusal", "wire_code", "close_code"),
    [("capacity", "CAPACITY_REACHED", 1013), ("factory", "FACTORY_ERROR", 1000)],
)
def test_a_door_that_does_not_open_says_why(
    url: str, runtime: EchoRuntime, refusal: str, wire_code: str, close_code: int
) -> None:
    with RawClient(url, f"/ws?refuse={refusal}") as client:
        client.text(b"too early")
        message = json.loads(client.reply())
        assert (message["type"], message["data"]["code"]) == ("error", wire_code)
        assert client.closing().code == close_code
        door = runtime.doors[-1]
        assert door.received == []
    until(lambda: door.losses == 1)


def test_a_door_that_crashes_closes_with_1011(url: str, path: str) -> None:
    with RawClient(url, "/ws?refuse=crash") as client:
        assert client.closing().code == 1011
    with RawClient(url, path) as client:
        client.text(b"raise")
        assert client.closing().code == 1011


def test_messages_wait_for_the_door_to_open(url: str, runtime: EchoRuntime) -> None:
    with RawClient(url, "/ws?threaded&slow=0.2") as client:
        payloads = [b"%d" % index for index in range(200)]
        client.text(*payloads)
        assert [client.reply() for _ in payloads] == payloads


def test_a_client_that_vanishes_while_the_door_opens_releases_it(url: str, runtime: EchoRuntime) -> None:
    with RawClient(url, "/ws?slow=30"):
        until(lambda: bool(runtime.doors) and "slow" in runtime.doors[-1].query)
        door = runtime.doors[-1]
    until(lambda: door.losses == 1)


def test_a_flood_of_requests_is_held_back(url: str, runtime: EchoRuntime) -> None:
    with RawClient(url, "/ws?threaded") as client:
        client.text(b"sleep 0.2", *(b"%d" % index for index in range(2000)))
        assert client.reply() == b"sleep 0.2"
        assert [client.reply() for _ in range(2000)] == [b"%d" % index for index in range(2000)]
        assert runtime.doors[-1].most_pending <= 66


def test_the_extended_protocol_is_negotiated(url: str, path: str) -> None:
    with RawClient(url, path, subprotocols=("other", EXTENDED_SUBPROTOCOL)) as client:
        assert client.subprotocol == EXTENDED_SUBPROTOCOL
        assert client.ask(b"extended?") == b"yes"
    with RawClient(url, path, subprotocols=("other",)) as client:
        assert client.subprotocol is None
        assert client.ask(b"extended?") == b"no"
    with RawClient(url, path, subprotocols=("openenv.bearer.token",)) as client:
        assert client.subprotocol == "openenv.bearer.token"
        assert client.ask(b"extended?") == b"no"


def test_msgpack_is_preferred_and_travels_in_binary_frames(url: str, path: str) -> None:
    offer = (EXTENDED_SUBPROTOCOL, MSGPACK_SUBPROTOCOL)
    with RawClient(url, path, subprotocols=offer) as client:
        assert client.subprotocol == MSGPACK_SUBPROTOCOL
        client.text(b"hello")
        assert client.event() == ws.Binary(b"hello")
    with RawClient(url, "/mcp", subprotocols=offer) as client:
        assert client.subprotocol is None


@pytest.mark.parametrize("why", ["capacity", "factory"])
def test_a_refusal_is_written_as_agreed(url: str, why: str) -> None:
    for subprotocol in (EXTENDED_SUBPROTOCOL, MSGPACK_SUBPROTOCOL):
        codec = codec_of(subprotocol)
        assert codec is not None
        with RawClient(url, f"/ws?refuse={why}", subprotocols=[subprotocol]) as client:
            event = client.event()
            assert type(event) is (ws.Binary if codec.binary else ws.Text)
            assert codec.values(event.payload)["type"] == "error"


def test_the_policy_is_asked_and_its_rejection_is_the_answer(url: str, runtime: EchoRuntime) -> None:
    with pytest.raises(Refused) as caught:
        RawClient(url, "/mcp?a=b", headers={"Authorization": "Bearer wrong"})
    assert caught.value.response.status == 401
    assert caught.value.response.headers["www-authenticate"] == "Bearer"
    assert json.loads(caught.value.body) == {"detail": "The token is not the right one."}
    assert runtime.requests[-1] == ("/mcp", "a=b", "127.0.0.1")


def test_routes_of_the_author_are_served_as_ever(url: str) -> None:
    with RawClient(url, "/own/route") as client:
        assert client.ask(b"hello") == b"own hello"
        assert client.close().code == 1000


def test_http_is_served_beside(url: str) -> None:
    import httpx

    assert httpx.get(url + "/anything", trust_env=False).text == "hello"


def test_a_handshake_without_a_key_is_refused(url: str) -> None:
    import httpx

    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    assert httpx.get(url + "/ws", headers=headers, trust_env=False).status_code == 400


def test_the_websockets_library_is_served(url: str, path: str) -> None:
    """With permessage-deflate offered, which is declined."""
    address = url.replace("http", "ws") + path
    with connect(address, max_size=None, proxy=None) as client:
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers
        for size in (0, 10, 1000, LIMIT):
            client.send("z" * size)
            assert client.recv() == "z" * size
        client.send(["frag", "ment"])
        assert client.recv() == "fragment"
        assert client.ping().wait(5)
        client.send("close 1000 bye")
        with pytest.raises(ConnectionClosedOK, match="bye"):
            client.recv()
    with connect(address, proxy=None) as client:
        client.send("raise")
        with pytest.raises(ConnectionClosedError, match="1011"):
            client.recv()
