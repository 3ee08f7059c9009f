"""URLs in every spelling, and the headers that go with them."""

from __future__ import annotations

import pytest

from openenv.client.address import Address, request_headers, session_in, websocket_url
from openenv.client.endpoint import Endpoint, grace_s
from openenv.errors import TargetError, UsageError


@pytest.mark.parametrize(
    ("url", "expected", "ws_url"),
    [
        ("http://host:8000", Address("host", 8000), "ws://host:8000/ws"),
        ("ws://host:8000/ws", Address("host", 8000), "ws://host:8000/ws"),
        ("host:8000", Address("host", 8000), "ws://host:8000/ws"),
        ("localhost", Address("localhost", 80), "ws://localhost/ws"),
        ("https://host/env/", Address("host", 443, "/env", True), "wss://host/env/ws"),
        ("wss://HOST:444/env/ws/", Address("host", 444, "/env", True), "wss://host:444/env/ws"),
        ("http://[::1]:9", Address("::1", 9), "ws://[::1]:9/ws"),
        ("unix:/run/env.sock", Address("localhost", 0, unix="/run/env.sock"), "unix:/run/env.sock"),
        ("unix:///run/env.sock", Address("localhost", 0, unix="/run/env.sock"), "unix:/run/env.sock"),
        ("  http://host  ", Address("host", 80), "ws://host/ws"),
    ],
)
def test_parse(url: str, expected: Address, ws_url: str) -> None:
    assert Address.parse(url) == expected
    assert Address.parse(url).ws_url == ws_url
    assert Address.parse(Address.parse(url).url) == expected


@pytest.mark.parametrize(
    "url", ["ftp://host", "unix:", "", "http://", "http://host:port", "http://me:pw@host"]
)
def test_what_is_no_server(url: str) -> None:
    with pytest.raises(TargetError):
        Address.parse(url)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:1", True),
        ("http://127.0.0.2", True),
        ("http://[::1]", True),
        ("unix:/x", True),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://10.0.0.1", False),
    ],
)
def test_is_local(url: str, local: bool) -> None:
    assert Address.parse(url).is_local is local


def test_a_host_header_has_the_port_only_where_it_is_not_the_schemes_own() -> None:
    assert Address.parse("http://host").authority == "host"
    assert Address.parse("https://host:443").authority == "host"
    assert Address.parse("https://host:80").authority == "host:80"
    assert Address.parse("http://[::1]:9").authority == "[::1]:9"


def test_the_token_comes_from_the_argument_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENENV_TOKEN", raising=False)
    assert request_headers(None, None) == {}
    assert request_headers("t", {"X": "1"}) == {"X": "1", "Authorization": "Bearer t"}
    monkeypatch.setenv("OPENENV_TOKEN", "e")
    assert request_headers(None, None) == {"Authorization": "Bearer e"}
    assert request_headers("", None) == {}
    assert request_headers("t", {"AUTHORIZATION": "Basic x"}) == {"AUTHORIZATION": "Basic x"}


@pytest.mark.parametrize(
    ("token", "headers"), [("a b", {}), ("a\nb", {}), ("ä", {}), ("", {"X": "1\r\nY: 2"})]
)
def test_headers_that_would_break_a_request(token: str, headers: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        request_headers(token, headers)


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("http://h:1/", "ws://h:1/ws"),
        ("https://h", "wss://h/ws"),
        ("ws://h/a", "ws://h/a/ws"),
        ("wss://h", "wss://h/ws"),
        ("h:1", "ws://h:1/ws"),
        ("unix:/s", "unix:/s"),
    ],
)
def test_websocket_url(base_url: str, expected: str) -> None:
    assert websocket_url(base_url) == expected


def test_session_in() -> None:
    assert session_in("ws://h/ws?session_id=a%2Fb") == "a/b"
    assert session_in("ws://h/ws") is None
    assert session_in("ws://h/ws?other=1") is None
    assert session_in(None) is None


@pytest.mark.parametrize("option", ["connect_timeout_s", "timeout_s", "ping_interval_s", "max_message_bytes"])
def test_options_that_make_no_sense(option: str) -> None:
    with pytest.raises(UsageError, match=option):
        Endpoint.at("http://host", **{option: 0})  # type: ignore[arg-type]


def test_an_endpoint_does_not_show_its_secrets() -> None:
    assert "secret" not in repr(Endpoint.at("http://host", token="secret"))


def test_grace_is_short_and_bounded() -> None:
    assert grace_s(0.2) < 0.25
    assert grace_s(1000.0) == 5.0
