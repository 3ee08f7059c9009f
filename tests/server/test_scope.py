from __future__ import annotations

from openenv.server.scope import client_of, headers_of, path_of, query_of


def test_the_path_below_a_mount() -> None:
    assert path_of({"path": "/env/ws", "root_path": "/env"}) == "/ws"
    assert path_of({"path": "/env/ws", "root_path": "/env/"}) == "/ws"
    assert path_of({"path": "/environment", "root_path": "/env"}) == "/environment"
    assert path_of({"path": "/ws"}) == "/ws"


def test_repeated_headers_are_joined() -> None:
    raw = [(b"X-A", b"1"), (b"x-a", b"2"), (b"Cookie", b"a=1"), (b"cookie", b"b=2")]
    assert headers_of({"headers": raw}) == {"x-a": "1, 2", "cookie": "a=1; b=2"}
    assert headers_of({}) == {}


def test_query_and_client() -> None:
    assert query_of({"query_string": b"a=1"}) == "a=1"
    assert query_of({}) == ""
    assert client_of({"client": ("1.1.1.1", 5)}) == ("1.1.1.1", 5)
    assert client_of({"client": ("/socket", None)}) == ("/socket", 0)
    assert client_of({"client": None}) is None
