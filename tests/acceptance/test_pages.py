"""No web page can drive a server on its visitor's machine: what a browser would send, sent by hand."""

from __future__ import annotations

import socket

import pytest

from .conftest import Serve
from .served import Refused, Server, eventually


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve("environments.py:Tools")


def _headers(server: Server, **headers: str) -> dict[str, str]:
    return {name: value.replace("PORT", str(server.port)) for name, value in headers.items()}


FOREIGN_PAGES = [
    {"origin": "https://evil.example"},
    {"origin": "null"},  # a sandboxed frame, a file
    {"origin": "http://127.0.0.1:1"},  # another server of this machine
    {"origin": "http://localhost:PORT"},  # not the name the request was sent to
    {"origin": "http://127.0.0.1.evil.example:PORT"},
    {"origin": "http://evil.example#127.0.0.1:PORT"},
    {"origin": "http://user@127.0.0.1:PORT"},
    {"origin": "file://"},
    {"origin": ""},
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "same-site"},
]
REBOUND = [
    "evil.example",
    "evil.example:PORT",
    "127.0.0.1.evil.example",
    "localhost.evil.example:PORT",
    "127.0.0.1@evil.example",
    "evil.example:127.0.0.1",
    "2130706433",
    "",
]
POSTS = {
    "/reset": b"{}",
    "/step": b'{"action": {"type": "call_tool", "tool_name": "add", "arguments": {"a": 1}}}',
    "/close": b"",
    "/mcp": b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call",'
    b' "params": {"name": "add", "arguments": {"a": 1}}}',
    "/tools/tasks": b'{"split": "train"}',
}


@pytest.mark.parametrize("page", FOREIGN_PAGES, ids=str)
def test_a_foreign_page(server: Server, page: dict[str, str]) -> None:
    sent = _headers(server, **page)
    for path, body in POSTS.items():
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json"):
            assert server.http("POST", path, body, content_type=kind, **sent).status == 403, path
    for path in ("/ws", "/mcp"):
        with pytest.raises(Refused) as refused:
            server.socket(path, **sent)
        assert refused.value.status == 403
    assert server.active() == 0


@pytest.mark.parametrize("host", REBOUND)
def test_a_name_that_was_rebound(server: Server, host: str) -> None:
    sent = _headers(server, host=host, origin=f"http://{host}")
    for path, body in POSTS.items():
        assert server.http("POST", path, body, **sent).status == 421, path
    for path in ("/state", "/health", "/schema", "/metrics", "/docs", "/web", "/openapi.json"):
        assert server.http("GET", path, host=sent["host"]).status == 421, path
    with pytest.raises(Refused) as refused:
        server.socket(**sent)
    assert refused.value.status == 421
    assert server.active() == 0


def test_two_hosts_are_no_way_around(server: Server) -> None:
    request = f"POST /reset HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nHost: evil.example\r\n"
    request += "Origin: http://evil.example\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    with socket.create_connection(("127.0.0.1", server.port)) as tcp:
        tcp.sendall(request.encode())
        assert int(tcp.recv(4096).split(b" ")[1]) in (400, 403, 421)
    request = f"GET http://evil.example/state HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nOrigin: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as tcp:
        tcp.sendall(request.encode())
        assert b"200" not in tcp.recv(4096).split(b"\r\n")[0]


def test_nothing_is_granted_to_a_page_that_asks(server: Server) -> None:
    asked = {"origin": "https://evil.example", "access_control_request_method": "POST"}
    for path in (*POSTS, "/state", "/schema", "/ws"):
        answer = server.http(
            "OPTIONS", path, access_control_request_headers="content-type,x-openenv-session", **asked
        )
        assert answer.status >= 400
        read = server.http("GET", path, origin="https://evil.example")
        for one in (answer, read):
            assert not [name for name in one.headers if name.startswith("access-control-")]


def test_no_get_controls_anything(server: Server) -> None:
    for path in POSTS:
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
            assert server.http(method, path).status in (403, 404, 405), (method, path)
    overridden = server.http("GET", "/reset", x_http_method_override="POST")
    assert overridden.status == 405


def test_the_servers_own_pages_and_programs_are_let_in(server: Server) -> None:
    for sent in (
        {},
        {"origin": "http://127.0.0.1:PORT"},
        {"host": "localhost:PORT", "origin": "http://localhost:PORT", "sec_fetch_site": "same-origin"},
        {"host": "[::1]:PORT"},
    ):
        headers = _headers(server, **sent)
        assert server.http("POST", "/reset", b"{}", **headers).status == 200
        with server.socket(**headers) as ws:
            assert ws.reset()["type"] == "observation"


def test_a_page_that_is_allowed(serve: Serve) -> None:
    server = serve("environments.py:Tools", "--allowed-origin", "https://good.example")
    with server.socket(origin="https://good.example") as ws:
        assert ws.reset()["type"] == "observation"
    for origin in ("https://good.example.evil.example", "http://good.example", "https://good.example:8443"):
        with pytest.raises(Refused):
            server.socket(origin=origin)


def test_a_pages_words_command_no_terminal(server: Server) -> None:
    answer = server.http("GET", "/%1b[2J%0d%c2%9b31m%e2%80%a8", host="evil.example")
    assert answer.status == 421
    eventually(lambda: "\\u001b" in server.output)
    assert not {char for char in server.output if not char.isprintable()} - {"\n"}
