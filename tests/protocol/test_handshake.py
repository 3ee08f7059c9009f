"""The opening handshake, by the RFC's own example and by everything that may be wrong with it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openenv.errors import UsageError
from openenv.protocol import handshake as hs
from openenv.protocol.handshake import HandshakeError

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GOOD = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def request(headers: dict[str, str], first: str = "GET /ws?x=1 HTTP/1.1") -> hs.RequestHead:
    rows = [first, *(f"{name}: {value}" for name, value in headers.items())]
    return hs.parse_request_head("\r\n".join(rows).encode() + b"\r\n\r\n")


def test_the_example_of_the_rfc() -> None:
    assert hs.accept_key(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert hs.check_request(request(GOOD)) == KEY


def test_a_request_head_is_parsed() -> None:
    data = b"GET /a%20b/ws?q=%41 HTTP/1.1\r\nHost:h\r\nX-A:  1\t\r\nx-a: 2\r\n"
    data += b"Cookie: a=1\r\nCookie: b=2\r\n\r\nrest"
    head = hs.parse_request_head(data)
    assert (head.method, head.path, head.query) == ("GET", "/a b/ws", "q=%41")
    assert head.headers == {"host": "h", "x-a": "1, 2", "cookie": "a=1; b=2"}


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [("http://h:1/ws?a=b", "/ws", "a=b"), ("http://h", "/", ""), ("*", "*", ""), ("/ws?", "/ws", "")],
)
def test_every_form_of_target_is_parsed(target: str, path: str, query: str) -> None:
    head = request(GOOD, f"GET {target} HTTP/1.1")
    assert (head.path, head.query) == (path, query)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Upgrade": "h2c"}, 426),
        ({"Connection": "close"}, 426),
        ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Sec-WebSocket-Key": ""}, 400),
        ({"Sec-WebSocket-Key": "c2hvcnQ="}, 400),
        ({"Sec-WebSocket-Key": "not base64 at all!"}, 400),
    ],
)
def test_requests_that_open_no_websocket_are_refused(change: dict[str, str], status: int) -> None:
    with pytest.raises(HandshakeError) as caught:
        hs.check_request(request({**GOOD, **change}))
    assert caught.value.status == status


def test_the_refusal_names_the_version_spoken() -> None:
    with pytest.raises(HandshakeError) as caught:
        hs.check_request(request({**GOOD, "Sec-WebSocket-Version": "8"}))
    assert caught.value.headers == {"sec-websocket-version": "13"}


def test_only_get_opens_a_websocket() -> None:
    with pytest.raises(HandshakeError) as caught:
        hs.check_request(request(GOOD, "POST /ws HTTP/1.1"))
    assert caught.value.status == 405


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET /\r\n\r\n",
        b"GET / SPDY/3\r\n\r\n",
        b"GET / HTTP/1.1\r\nnocolon\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: x\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(HandshakeError) as caught:
        hs.parse_request_head(data)
    assert caught.value.status == 400


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parsers(data: bytes) -> None:
    for parse in (hs.parse_request_head, hs.parse_response_head):
        with contextlib.suppress(HandshakeError):
            assert parse(data).headers is not None


def respond(first: str = "HTTP/1.1 101 Switching Protocols", **change: str) -> hs.ResponseHead:
    headers = {"upgrade": "WebSocket", "connection": "upgrade", "sec-websocket-accept": hs.accept_key(KEY)}
    headers |= {name.replace("_", "-"): value for name, value in change.items()}
    rows = [first, *(f"{name}: {value}" for name, value in headers.items() if value)]
    return hs.parse_response_head("\r\n".join(rows).encode())


def test_a_good_answer_is_accepted() -> None:
    assert hs.check_response(respond(), KEY) is None
    assert hs.check_response(respond(sec_websocket_protocol="b"), KEY, ["a", "b"]) == "b"


@pytest.mark.parametrize(
    ("response", "complaint"),
    [
        (respond("HTTP/1.1 403 Forbidden"), "403 Forbidden"),
        (respond("HTTP/1.1 503"), "503"),
        (respond(upgrade="h2c"), "not WebSocket"),
        (respond(connection=""), "not WebSocket"),
        (respond(sec_websocket_accept="AAAA"), "does not fit"),
        (respond(sec_websocket_accept=""), "does not fit"),
        (respond(sec_websocket_extensions="permessage-deflate"), "not offered"),
        (respond(sec_websocket_protocol="other"), "not offered"),
    ],
)
def test_answers_that_do_not_fit_are_refused(response: hs.ResponseHead, complaint: str) -> None:
    with pytest.raises(HandshakeError, match=complaint) as caught:
        hs.check_response(response, KEY, ["offered"])
    assert caught.value.status == response.status


@pytest.mark.parametrize(
    "data", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 1010 x\r\n\r\n"]
)
def test_what_is_no_response_is_refused(data: bytes) -> None:
    with pytest.raises(HandshakeError) as caught:
        hs.parse_response_head(data)
    assert caught.value.status == 0 or caught.value.status == 400


def test_offers_are_listed() -> None:
    assert hs.offered_subprotocols({"sec-websocket-protocol": "x, b ,,a"}) == ["x", "b", "a"]
    assert hs.offered_subprotocols({}) == []


@pytest.mark.parametrize("value", ["a\r\nEvil: 1", "a\nb", "a\0"])
def test_headers_cannot_break_out_of_their_line(value: str) -> None:
    with pytest.raises(UsageError, match="line break"):
        hs.client_handshake("h", "/", {"X": value})


def test_targets_and_headers_must_be_encoded() -> None:
    with pytest.raises(UsageError, match="white space"):
        hs.client_handshake("h", "/a b")
    with pytest.raises(UsageError, match="Latin-1"):
        hs.client_handshake("h", "/", [("X", "€")])


def test_a_client_asks_for_what_it_was_told() -> None:
    data, key = hs.client_handshake("h:80", "", [("Authorization", "Bearer t")], ["a", "b"])
    head = hs.parse_request_head(data)
    assert hs.check_request(head) == key
    assert head.headers["authorization"] == "Bearer t"
    assert head.headers["sec-websocket-protocol"] == "a, b"
    assert head.path == "/"


def test_an_unknown_status_is_still_an_answer() -> None:
    assert hs.parse_response_head(hs.reject_response(499, "no")).status == 499
