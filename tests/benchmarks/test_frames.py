"""The measuring instrument itself: its frames follow RFC 6455 and RFC 7692, as `websockets` does."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from benchmarks.frames import CLOSE, PING, TEXT, Refused, Socket, client_frame, masked
from websockets.sync.server import ServerConnection, serve


@pytest.fixture(params=["deflate", None])
def echo_port(request: pytest.FixtureRequest) -> Iterator[int]:
    def echo(socket: ServerConnection) -> None:
        for message in socket:
            socket.send(message)

    with serve(echo, "127.0.0.1", 0, compression=request.param) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_messages_of_every_length_come_back(echo_port: int, size: int) -> None:
    socket = Socket(echo_port, offer_deflate=True)
    payload = b"x" * size
    assert socket.call(payload) == payload
    assert socket.call(b"again") == b"again"
    socket.close()


def test_compression_is_used_only_if_offered_and_accepted(echo_port: int) -> None:
    socket = Socket(echo_port, offer_deflate=False)
    assert not socket.compressing
    socket.close()


def test_a_server_that_does_not_upgrade_is_refused(echo_port: int) -> None:
    with pytest.raises((Refused, ConnectionError)):
        Socket(echo_port, path="no path", offer_deflate=False)


def test_masking_is_its_own_inverse() -> None:
    assert masked(masked(b"payload")) == b"payload"
    assert masked(b"") == b""
    assert client_frame(b"", opcode=CLOSE)[:2] == bytes((0x88, 0x80))


def test_frames_are_taken_apart_at_any_boundary(echo_port: int) -> None:
    socket = Socket(echo_port, offer_deflate=False)
    stream = bytes((0x01, 2)) + b"ab" + bytes((0x89, 1)) + b"!" + bytes((0x80, 1)) + b"c"
    seen = [event for byte in stream for event in socket.feed(bytes((byte,)))]
    assert seen == [(PING, b"!"), (TEXT, b"abc")]
    socket.close()
