"""Both faces of a connection against servers that break the protocol, refuse or die."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.client.faces import Face
from tests.client.scripted import Peer, ScriptedServer

from openenv.errors import (
    AuthenticationError,
    ServerUnreachableError,
    SessionCapacityError,
    SessionLost,
)
from openenv.protocol.websocket import encode_frame, text_frame

Start = Callable[..., ScriptedServer]


def _cut(peer: Peer) -> None:
    peer.accept()
    peer.request()


def _cut_mid_frame(peer: Peer) -> None:
    peer.accept()
    request = peer.request()
    frame = text_frame(
        json.dumps({"type": "observation", "data": {"observation": {}}, "r": request}).encode()
    )
    peer.raw(frame[:-3])


def _says_goodbye(peer: Peer) -> None:
    peer.accept()
    peer.request()
    peer.close(1012, "restarting")
    peer.request()


def _garbage_json(peer: Peer) -> None:
    peer.accept()
    peer.request()
    peer.raw(text_frame(b"{nonsense"))
    peer.request()


def _garbage_frame(peer: Peer) -> None:
    peer.accept()
    peer.request()
    peer.raw(b"\xff\xff\xff\xff")
    peer.request()


def _masked_frame(peer: Peer) -> None:
    peer.accept()
    peer.request()
    peer.raw(encode_frame(1, b"{}", mask=True))
    peer.request()


def _wrong_kind(peer: Peer) -> None:
    peer.accept()
    peer.request()
    peer.send({"type": "state", "data": {}})
    peer.request()


def _wrong_shape(peer: Peer) -> None:
    peer.accept()
    peer.request()
    peer.send({"type": "observation", "data": [1, 2]})
    peer.request()


def _unknown_id(peer: Peer) -> None:
    peer.accept(extended=True)
    peer.request()
    peer.send({"type": "observation", "data": {"observation": {}}, "id": 77})
    peer.request()


def _not_text(peer: Peer) -> None:
    peer.accept()
    peer.request()
    peer.raw(text_frame(b"\xff\xfe"))
    peer.request()


def _too_big(peer: Peer) -> None:
    peer.accept()
    peer.request()
    peer.raw(b"\x81\x7f" + (1 << 40).to_bytes(8, "big"))
    peer.request()


def _deeply_nested(peer: Peer) -> None:
    peer.accept()
    peer.request()
    peer.raw(text_frame(b'{"type":' + b"[" * 100_000))
    peer.request()


BREAKS = {
    _cut: "without a word",
    _cut_mid_frame: "without a word",
    _says_goodbye: "code 1012, restarting",
    _garbage_json: "not of the protocol",
    _garbage_frame: "cannot be read",
    _masked_frame: "cannot be read",
    _wrong_kind: "type 'state' to 'step'",
    _wrong_shape: "without data",
    _unknown_id: "unknown id 77",
    _not_text: "cannot be read",
    _too_big: "cannot be read.*limit",
    _deeply_nested: "not of the protocol",
}


@pytest.mark.parametrize(("script", "says"), BREAKS.items(), ids=[script.__name__ for script in BREAKS])
async def test_a_broken_connection_is_session_lost_now_and_later(
    face: Face, scripted: Start, script: Callable[[Peer], None], says: str
) -> None:
    server = scripted(script)
    connection = await face.open(server.url)
    with pytest.raises(SessionLost, match=says):
        await connection.call("step", {})
    assert not connection.it.alive
    for _ in range(2):
        with pytest.raises(SessionLost, match=says):
            await connection.call("step", {})
    await connection.close()
    assert len(server.peers) == 1, "a step was sent to a fresh session"


async def test_a_reply_that_came_before_the_end_counts(face: Face, scripted: Start) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        request = peer.request()
        reply = json.dumps({"type": "observation", "data": {"observation": {"last": True}}}).encode()
        assert request
        peer.raw(text_frame(reply) + b"\xff\xff")

    connection = await face.open(scripted(script).url)
    assert (await connection.call("step", {})).data["observation"] == {"last": True}
    with pytest.raises(SessionLost, match="cannot be read"):
        await connection.call("step", {})
    await connection.close()


async def test_a_server_that_left_while_the_client_was_idle(face: Face, scripted: Start) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.observe(peer.request())
        peer.close(1001, "going away")

    server = scripted(script)
    connection = await face.open(server.url)
    await connection.call("reset", {})
    await asyncio.sleep(0.1)
    with pytest.raises(SessionLost, match="1001, going away"):
        await connection.call("step", {})
    await connection.close()
    assert len(server.peers) == 1


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("pause", [0.0, 0.1])
async def test_a_session_refused_after_the_handshake(
    face: Face, scripted: Start, extended: bool, pause: float
) -> None:
    def script(peer: Peer) -> None:
        peer.accept(extended=extended)
        data = {"message": "full", "code": "CAPACITY_REACHED", "active_sessions": 1, "max_sessions": 1}
        peer.send({"type": "error", "data": data})
        peer.close()
        time.sleep(0.05)

    server = scripted(script)

    async def use() -> None:
        connection = await face.open(server.url)
        try:
            await asyncio.sleep(pause)
            await connection.call("reset", {})
        finally:
            await connection.close()

    with pytest.raises(SessionCapacityError, match="full") as caught:
        await use()
    assert caught.value.max_sessions == 1


def _answer_http(status: str, body: bytes = b"", headers: str = "") -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.head()
        peer.raw(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode())
        time.sleep(0.02)
        peer.raw(body)

    return script


REFUSALS = [
    ("401 Unauthorized", b'{"detail":"no token"}', "", AuthenticationError, "no token.*OPENENV_TOKEN"),
    ("403 Forbidden", b"", "", AuthenticationError, "HTTP 403"),
    ("404 Not Found", b'{"detail":"Not Found"}', "", ServerUnreachableError, "not as an OpenEnv server"),
    ("503 Service Unavailable", b"", "Retry-After: 7\r\n", SessionCapacityError, "retry after 7 s"),
    ("307 Temporary Redirect", b"", "Location: /web/\r\n", ServerUnreachableError, "HTTP 307 to /web/"),
    ("500 Oops", b"<html>", "", ServerUnreachableError, "HTTP 500$"),
]


@pytest.mark.parametrize(
    ("status", "body", "headers", "kind", "says"), REFUSALS, ids=[r[0] for r in REFUSALS]
)
async def test_a_refused_handshake_is_typed(
    face: Face, scripted: Start, status: str, body: bytes, headers: str, kind: type[Exception], says: str
) -> None:
    server = scripted(_answer_http(status, body, headers))
    with pytest.raises(kind, match=says) as caught:
        await face.open(server.url)
    if isinstance(caught.value, SessionCapacityError):
        assert caught.value.retry_after == 7


def _not_http(peer: Peer) -> None:
    peer.raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


def _wrong_accept(peer: Peer) -> None:
    peer.head()
    peer.raw(
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Sec-WebSocket-Accept: no\r\n\r\n"
    )


def _hangs_up(peer: Peer) -> None:
    peer.head()


def _endless_head(peer: Peer) -> None:
    peer.raw(b"HTTP/1.1 101 Switching\r\n")
    while True:
        peer.raw(b"X: " + b"y" * 1000 + b"\r\n")


@pytest.mark.parametrize("script", [_not_http, _wrong_accept, _hangs_up, _endless_head])
async def test_a_server_that_is_no_websocket_server(
    face: Face, scripted: Start, script: Callable[[Peer], None]
) -> None:
    with pytest.raises(ServerUnreachableError):
        await face.open(scripted(script).url)


async def test_a_silent_server_is_given_up(face: Face, scripted: Start) -> None:
    server = scripted(lambda peer: time.sleep(0.5))
    began = time.monotonic()
    with pytest.raises(ServerUnreachableError, match="no answer in time"):
        await face.open(server.url, connect_timeout_s=0.1)
    assert time.monotonic() - began < 0.4


async def test_nothing_listens(face: Face) -> None:
    with pytest.raises(ServerUnreachableError, match=r"Nothing answers at http://127.0.0.1:1.*openenv serve"):
        await face.open("http://127.0.0.1:1")


async def test_nothing_listens_on_a_unix_socket(face: Face, tmp_path: Path) -> None:
    with pytest.raises(ServerUnreachableError, match="openenv serve TARGET --uds"):
        await face.open(f"unix:{tmp_path}/missing")
