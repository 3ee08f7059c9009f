"""Plain HTTP requests against servers of every kind of manners."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.client.scripted import Peer, ScriptedServer

from openenv.client.endpoint import Endpoint
from openenv.client.http import fetch, fetch_json
from openenv.errors import AuthenticationError, ProtocolError, ServerUnreachableError

Start = Callable[..., ScriptedServer]


def answering(*pieces: bytes) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.head()
        for piece in pieces:
            peer.raw(piece)
            time.sleep(0.005)

    return script


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        (OK + b"Content-Length: 7\r\n\r\n" + b'{"a":1}',),
        (OK + b"Content-Length: 7\r\n\r\n", b'{"a"', b":1}"),
        (OK + b"Content-Length: 7\r\n\r\n" + b'{"a":1}more',),
        (OK + b"\r\n", b'{"a":1}'),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b'3\r\n{"a\r\n4;x=y\r\n":1}\r\n', b"0\r\n\r\n"),
        (OK[:9], OK[9:], b"content-LENGTH: 7\r", b"\n\r\n{", b'"a":1}'),
    ],
)
def test_answers(scripted: Start, pieces: tuple[bytes, ...]) -> None:
    assert fetch_json(Endpoint.at(scripted(answering(*pieces)).url), "/schema") == {"a": 1}


def test_the_request(scripted: Start) -> None:
    server = scripted(answering(OK + b"Content-Length: 2\r\n\r\n{}"))
    fetch_json(Endpoint.at(server.url + "/base", token="t", headers={"X-A": "b"}), "/schema")
    head = server.peers[0].request_head
    assert (head.method, head.path) == ("GET", "/base/schema")
    assert head.headers["authorization"] == "Bearer t"
    assert head.headers["x-a"] == "b"
    assert head.headers["host"] == server.url.removeprefix("http://")


def test_posting(scripted: Start) -> None:
    seen: list[object] = []

    def script(peer: Peer) -> None:
        data = b""
        while not data.endswith(b"}"):
            data += peer.link.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        seen.extend(
            [head.split(b"\r\n")[0], json.loads(body), f"Content-Length: {len(body)}".encode() in head]
        )
        peer.raw(OK + b"Content-Length: 4\r\n\r\nnull")

    assert fetch_json(Endpoint.at(scripted(script).url), "/mcp", {"id": 1}) is None
    assert seen == [b"POST /mcp HTTP/1.1", {"id": 1}, True]


def test_over_a_unix_socket(scripted: Start, tmp_path: Path) -> None:
    server = scripted(answering(OK + b"Content-Length: 2\r\n\r\n[]"), path=tmp_path / "s")
    assert fetch_json(Endpoint.at(server.url), "/schema") == []


@pytest.mark.parametrize(
    ("pieces", "kind", "says"),
    [
        ((b'HTTP/1.1 401 No\r\n\r\n{"detail":"who?"}',), AuthenticationError, "who"),
        ((b"HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\noops",), ServerUnreachableError, "HTTP 500: oops"),
        ((OK + b"Content-Length: 3\r\n\r\nno!",), ProtocolError, "not JSON"),
        ((OK + b"Content-Length: 30\r\n\r\nno!",), ServerUnreachableError, "middle"),
        ((OK + b"Transfer-Encoding: chunked\r\n\r\n99\r\nx",), ServerUnreachableError, "breaks off"),
        ((OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx",), ServerUnreachableError, "breaks off"),
        ((OK + b"Content-Length: 99999999999\r\n\r\n",), ServerUnreachableError, "more than"),
        ((b"220 smtp ready\r\n\r\n",), ServerUnreachableError, "not HTTP"),
        ((OK,), ServerUnreachableError, "middle"),
        ((b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,), ServerUnreachableError, "endless"),
    ],
)
def test_failures_are_typed(
    scripted: Start, pieces: tuple[bytes, ...], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        fetch_json(Endpoint.at(scripted(answering(*pieces)).url), "/schema")


def test_a_silent_server(scripted: Start) -> None:
    server = scripted(lambda peer: time.sleep(0.5))
    with pytest.raises(ServerUnreachableError, match="in time"):
        fetch(Endpoint.at(server.url, connect_timeout_s=0.05), "GET", "/schema")


def test_nothing_there() -> None:
    with pytest.raises(ServerUnreachableError, match="Nothing answers"):
        fetch(Endpoint.at("http://127.0.0.1:1"), "GET", "/schema")
