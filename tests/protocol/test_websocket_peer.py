"""The `websockets` library as the other side, in both roles."""

from __future__ import annotations

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from openenv.protocol import handshake as hs
from openenv.protocol import websocket as ws
from openenv.protocol.websocket import Binary, Close, Event, Frames, Ping, Pong, Text

PAYLOADS = [b"", b"x", "κόσμε".encode(), b"a" * 126, b"b" * 65535, b"c" * 65536, b"d" * 300_000]


def sent(peer: ClientProtocol | ServerProtocol) -> bytes:
    return b"".join(peer.data_to_send())


def connect_their_client() -> tuple[ClientProtocol, Frames]:
    client = ClientProtocol(
        parse_uri("ws://example.test/ws?session_id=7"),
        subprotocols=[Subprotocol(hs.EXTENDED_SUBPROTOCOL)],
        max_size=None,
    )
    client.send_request(client.connect())
    request = hs.parse_request_head(sent(client))
    assert (request.method, request.path, request.query) == ("GET", "/ws", "session_id=7")
    key = hs.check_request(request)
    assert hs.offered_subprotocols(request.headers) == [hs.EXTENDED_SUBPROTOCOL]
    client.receive_data(hs.accept_response(key, hs.EXTENDED_SUBPROTOCOL))
    client.events_received()
    assert client.handshake_exc is None
    assert client.state is State.OPEN
    assert client.subprotocol == hs.EXTENDED_SUBPROTOCOL
    return client, Frames("server")


def connect_their_server() -> tuple[ServerProtocol, Frames]:
    server = ServerProtocol(subprotocols=[Subprotocol(hs.EXTENDED_SUBPROTOCOL)], max_size=None)
    request, key = hs.client_handshake("example.test", "/ws?a=b", {"X-Token": "t"}, [hs.EXTENDED_SUBPROTOCOL])
    server.receive_data(request)
    (event,) = server.events_received()
    server.send_response(server.accept(event))  # type: ignore[arg-type]
    assert event.headers["X-Token"] == "t"  # type: ignore[union-attr]
    answer = hs.parse_response_head(sent(server))
    assert hs.check_response(answer, key, [hs.EXTENDED_SUBPROTOCOL]) == hs.EXTENDED_SUBPROTOCOL
    return server, Frames("client")


def connect(role: str) -> tuple[ClientProtocol | ServerProtocol, Frames]:
    return connect_their_client() if role == "server" else connect_their_server()


@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: str(len(payload)))
def test_we_read_what_they_send(role: str, payload: bytes) -> None:
    peer, frames = connect(role)
    peer.send_text(payload)
    peer.send_binary(payload)
    peer.send_text(payload[: len(payload) // 2], fin=False)
    peer.send_ping(b"ping")
    peer.send_continuation(payload[len(payload) // 2 :], fin=True)
    peer.send_pong(b"pong")
    peer.send_close(1001, "going")
    data, events = sent(peer), list[Event]()
    for index in range(0, len(data), 1000):
        events += frames.feed(data[index : index + 1000])
    assert events == [
        Text(payload), Binary(payload), Ping(b"ping"), Text(payload), Pong(b"pong"), Close(1001, "going"),
    ]  # fmt: skip


@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: str(len(payload)))
def test_they_read_what_we_send(role: str, payload: bytes) -> None:
    peer, _ = connect(role)
    mask = role == "client"
    for data in (
        ws.text_frame(payload, mask),
        ws.binary_frame(payload, mask),
        ws.ping_frame(b"ping", mask),
        ws.encode_frame(ws.TEXT, payload[:2], fin=False, mask=mask),
        ws.encode_frame(ws.CONTINUATION, payload[2:], mask=mask),
        ws.close_frame(1011, "broken", mask),
    ):
        peer.receive_data(data)
    assert peer.parser_exc is None
    received = [event for event in peer.events_received() if isinstance(event, Frame)]
    assert [(event.opcode, bytes(event.data)) for event in received[:5]] == [
        (Opcode.TEXT, payload),
        (Opcode.BINARY, payload),
        (Opcode.PING, b"ping"),
        (Opcode.TEXT, payload[:2]),
        (Opcode.CONT, payload[2:]),
    ]
    assert peer.close_rcvd is not None
    assert (peer.close_rcvd.code, peer.close_rcvd.reason) == (1011, "broken")


def test_they_are_refused_as_we_say() -> None:
    client = ClientProtocol(parse_uri("ws://example.test/ws"))
    client.send_request(client.connect())
    client.receive_data(hs.reject_response(401, "a token is needed", {"WWW-Authenticate": "Bearer"}))
    client.receive_eof()
    (response,) = client.events_received()
    assert response.status_code == 401  # type: ignore[union-attr]
    assert response.body == b'{"detail": "a token is needed"}'  # type: ignore[union-attr]
    assert response.headers["WWW-Authenticate"] == "Bearer"  # type: ignore[union-attr]


def test_an_offered_extension_is_declined() -> None:
    from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

    client = ClientProtocol(parse_uri("ws://example.test/ws"), extensions=[ClientPerMessageDeflateFactory()])
    client.send_request(client.connect())
    request = hs.parse_request_head(sent(client))
    assert "permessage-deflate" in request.headers["sec-websocket-extensions"]
    client.receive_data(hs.accept_response(hs.check_request(request)))
    assert client.handshake_exc is None
    assert client.extensions == []
