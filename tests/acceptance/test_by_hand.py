"""A served `echo`, used with curl's means and with a WebSocket written by hand."""

from __future__ import annotations

import json

import pytest

from .conftest import Serve
from .served import Closed, Server

HELLO = {"type": "call_tool", "tool_name": "echo_message", "arguments": {"message": "hello"}}


@pytest.fixture(scope="module")
def echo(serve: Serve) -> Server:
    return serve("echo")


def _told(observation: dict[str, object]) -> object:
    result = observation["result"]
    assert isinstance(result, dict)
    return result["data"]


@pytest.mark.parametrize("named_by", ["header", "cookie", "query"])
def test_http_keeps_the_session_however_it_is_named(echo: Server, named_by: str) -> None:
    begun = echo.http("POST", "/reset", {"seed": 5, "episode_id": "mine"})
    assert begun.status == 200
    assert begun.headers["x-openenv-seed"] == "5"
    name = {"header": {"x_openenv_session": begun.session}, "cookie": {"cookie": begun.cookie}}.get(
        named_by, {}
    )
    query = f"?session_id={begun.session}" if named_by == "query" else ""
    for _ in range(2):
        told = echo.http("POST", "/step" + query, {"action": HELLO}, **name)
        assert told.status == 200
        assert _told(told.json["observation"]) == "hello"
        assert told.session == begun.session
    state = echo.http("GET", "/state" + query, **name).json
    assert (state["episode_id"], state["step_count"]) == ("mine", 2)
    assert echo.http("POST", "/close" + query, **name).json["closed"] is True
    assert echo.http("GET", "/state" + query, x_openenv_session=begun.session).status == 404


def test_a_websocket_by_hand(echo: Server) -> None:
    with echo.socket() as ws:
        assert b"sec-websocket-protocol" not in ws.head.lower()
        assert ws.reset(seed=1)["type"] == "observation"
        told = ws.step(**HELLO)
        assert set(told) == {"type", "data"}
        assert _told(told["data"]["observation"]) == "hello"
        assert ws.state()["step_count"] == 1
        listed = ws.step(type="list_tools")
        names = {tool["name"] for tool in listed["data"]["observation"]["tools"]}
        assert names == {"echo_message", "echo_with_length"}
        ws.send({"type": "close"})
        with pytest.raises(Closed) as closed:
            ws.reply()
        assert closed.value.code == 1000


def test_fragments_and_pings_by_hand(echo: Server) -> None:
    raw = json.dumps({"type": "reset"}).encode()
    with echo.socket() as ws:
        ws.tcp.sendall(b"\x01\x84\0\0\0\0" + raw[:4])  # a first fragment
        ws.send(b"are you there", opcode=9)
        assert ws.frame() == (10, b"are you there")
        for byte in raw[4:-1]:
            ws.tcp.sendall(b"\x00\x81\0\0\0\0" + bytes([byte]))
        ws.tcp.sendall(b"\x80\x81\0\0\0\0" + raw[-1:])
        assert ws.reply()["type"] == "observation"


@pytest.mark.parametrize(
    ("violation", "code"),
    [
        (b"\x81\x02{}", 1002),  # no mask
        (b"\xf1\x80\0\0\0\0", 1002),  # reserved bits
        (b"\x83\x80\0\0\0\0", 1002),  # a reserved opcode
        (b"\x80\x80\0\0\0\0", 1002),  # a continuation of nothing
        (b"\x89\xfe\x00\x7e\0\0\0\0" + b"x" * 126, 1002),  # a ping that is too long
        (b"\x81\x81\0\0\0\0\xff", 1007),  # no UTF-8
        (b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 1009),  # 2**63 bytes to come
    ],
)
def test_a_breach_of_the_framing_ends_only_its_own_connection(
    echo: Server, violation: bytes, code: int
) -> None:
    with echo.socket() as other, echo.socket() as ws:
        other.reset()
        ws.reset()
        ws.tcp.sendall(violation)
        with pytest.raises(Closed) as closed:
            ws.reply()
        assert closed.value.code == code
        assert _told(other.step(**HELLO)["data"]["observation"]) == "hello"


def test_pipelined_requests_are_answered_in_order(echo: Server) -> None:
    with echo.socket(sec_websocket_protocol="openenv.2.json") as ws:
        ws.send({"type": "reset", "id": 0})
        for number in range(1, 200):
            ws.send({"type": "step", "data": HELLO, "id": number})
        assert [ws.reply()["id"] for _ in range(200)] == list(range(200))
        assert ws.state()["step_count"] == 199
