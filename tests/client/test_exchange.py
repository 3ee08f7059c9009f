"""The sans-I/O core, fed with anything."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openenv.client.endpoint import Endpoint
from openenv.client.exchange import Exchange, Link
from openenv.client.members import MOST_TAKEOVERS
from openenv.errors import OpenEnvError, SessionLost
from openenv.protocol.handshake import accept_response, check_request, parse_request_head
from openenv.protocol.websocket import Frames, Text, close_frame, ping_frame, text_frame


def opened(*, extended: bool = False) -> Exchange:
    exchange = Exchange(Endpoint.at("http://host"))
    key = check_request(parse_request_head(exchange.hello()))
    exchange.receive(accept_response(key, "openenv.2.json" if extended else None))
    assert exchange.link is Link.OPEN
    return exchange


def sent(frame: bytes) -> Any:
    [event] = Frames("server").feed(frame)
    assert isinstance(event, Text)
    return json.loads(event.payload)


def reply(**message: Any) -> bytes:
    return text_frame(json.dumps({"type": "state", "data": {}, **message}).encode())


def test_the_hello_asks_for_the_extended_protocol() -> None:
    head = parse_request_head(Exchange(Endpoint.at("http://host/env", token="t"), "/ws?a=b").hello())
    assert (head.path, head.query) == ("/env/ws", "a=b")
    assert head.headers["sec-websocket-protocol"] == "openenv.2.json"
    assert head.headers["authorization"] == "Bearer t"


def test_a_handshake_in_single_bytes_with_the_first_frame_behind_it() -> None:
    exchange = Exchange(Endpoint.at("http://host"))
    key = check_request(parse_request_head(exchange.hello()))
    for byte in accept_response(key) + ping_frame(b"x"):
        exchange.receive(bytes([byte]))
    assert exchange.link is Link.OPEN
    assert exchange.outgoing()
    assert exchange.outgoing() == b""


def test_requests() -> None:
    plain, extended = opened(), opened(extended=True)
    assert sent(plain.request("state")[1]) == {"type": "state"}
    assert sent(plain.request("step", {"a": 1}, 3.0)[1]) == {"type": "step", "data": {"a": 1}}
    first, second = Frames("server").feed(extended.request("state")[1])
    assert isinstance(first, Text)
    assert isinstance(second, Text)
    assert json.loads(first.payload) == {"type": "token", "id": 1}
    assert json.loads(second.payload) == {"type": "state", "id": 2}
    message = sent(extended.request("step", {"a": 1}, 3.0)[1])
    assert message == {"type": "step", "data": {"a": 1}, "id": 3, "timeout_s": 3.0}
    assert (extended.owing, extended.calls) == (3, 2)


def test_notices_are_not_replies() -> None:
    exchange = opened(extended=True)
    ticket, _ = exchange.request("state")
    assert exchange.receive(reply(type="error", id=1)) == []
    assert exchange.receive(reply(type="notify", data={"progress": 1})) == []
    assert exchange.receive(reply(id=2)) == [ticket]


def test_goodbye() -> None:
    idle, busy = opened(), opened()
    assert sent(idle.goodbye()) == {"type": "close"}
    assert idle.goodbye() == b""
    idle.receive(close_frame(1000))
    assert (idle.link, idle.failure) == (Link.CLOSED, None)
    busy.request("state")
    [event] = Frames("server").feed(busy.goodbye())
    assert not isinstance(event, Text)
    busy.ended()
    assert busy.failure is None


def test_the_first_reason_counts() -> None:
    exchange = opened()
    data = {"message": "full", "code": "CAPACITY_REACHED", "active_sessions": 1, "max_sessions": 1}
    exchange.receive(reply(type="error", data=data) + close_frame(1000))
    exchange.ended()
    assert "full" in str(exchange.failure)


def test_a_refusal_that_crosses_the_first_request_ends_the_connection() -> None:
    full = {"message": "full", "code": "CAPACITY_REACHED", "active_sessions": 1, "max_sessions": 1}
    exchange = opened()
    ticket, _ = exchange.request("reset", {})
    assert exchange.receive(reply(type="error", data=full)) == [ticket]
    assert not exchange.usable
    assert "full" in str(exchange.failure)


def test_other_errors_and_later_ones_do_not() -> None:
    exchange = opened()
    for code in ("VALIDATION_ERROR", "FACTORY_ERROR"):
        exchange.request("reset", {})
        assert exchange.receive(reply(type="error", data={"message": "no", "code": code}))
        assert exchange.usable


@pytest.mark.parametrize("extended", [False, True])
@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(st.binary(max_size=40), max_size=6))
def test_any_bytes(extended: bool, pieces: list[bytes]) -> None:
    exchange = opened(extended=extended)
    exchange.request("step", {})
    for piece in pieces:
        exchange.receive(piece)
        exchange.outgoing()
    exchange.ended()
    assert exchange.link is Link.CLOSED
    assert isinstance(exchange.failure, SessionLost)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
kinds = st.sampled_from(["observation", "state", "error", "mcp", "notify", "", "other"]) | values
messages = st.fixed_dictionaries({}, optional={"type": kinds, "data": values, "id": values, "result": values})


@pytest.mark.parametrize("extended", [False, True])
@settings(max_examples=200, deadline=None)
@given(said=st.lists(messages | values, max_size=4))
def test_any_messages(extended: bool, said: list[Any]) -> None:
    exchange = opened(extended=extended)
    ticket, _ = exchange.request("state")
    for message in said:
        answered = exchange.receive(text_frame(json.dumps(message).encode()))
        assert answered in ([], [ticket])
    if ticket.reply is not None:
        assert ticket.reply.type in ("state", "error")
    assert exchange.failure is None or isinstance(exchange.failure, OpenEnvError)


@settings(max_examples=100, deadline=None)
@given(
    calls=st.lists(st.booleans(), min_size=1, max_size=12),
    cuts=st.lists(st.integers(min_value=1, max_value=30), max_size=30),
)
def test_replies_find_their_callers_however_they_are_cut(calls: list[bool], cuts: list[int]) -> None:
    """`calls` says who still waits; on the plain protocol each reply belongs to the next request."""
    exchange, tickets, stream = opened(), [], b""
    for number, waits in enumerate(calls):
        ticket, _ = exchange.request("state")
        tickets.append(ticket)
        if not waits:
            exchange.abandon(ticket)
        stream += reply(data={"n": number})
    answered = []
    for size in [*cuts, len(stream)]:
        piece, stream = stream[:size], stream[size:]
        answered += exchange.receive(piece)
    assert answered == [ticket for ticket, waits in zip(tickets, calls, strict=True) if waits]
    assert [t.reply.data["n"] for t in tickets if t.reply] == list(range(len(calls)))
    assert exchange.dropped == calls.count(False)
    assert exchange.owing == 0


def resumable() -> Exchange:
    """An exchange with a session that has a token, and a request under way."""
    exchange = opened(extended=True)
    exchange.request("reset", {})
    exchange.receive(reply(type="opened", id=1, data={"session": "s", "token": "t", "lease_s": 9}))
    exchange.receive(reply(type="observation", id=2, data={"observation": {}}))
    exchange.request("step", {})
    return exchange


def notice(kind: str, session: str = "s") -> bytes:
    return text_frame(json.dumps({"type": "notify", "session": session, "data": {"kind": kind}}).encode())


def test_a_session_that_another_connection_took_is_taken_back_but_not_for_ever() -> None:
    exchange = resumable()
    for _ in range(MOST_TAKEOVERS):
        assert exchange.receive(notice("taken_over")) == []
        assert exchange.resumable
        key = check_request(parse_request_head(exchange.again()))
        exchange.receive(accept_response(key, "openenv.2.json"))
        resume = sent(exchange.outgoing())
        assert (resume["type"], resume["data"]["token"]) == ("resume", "t")
        facts = {"session": "s", "token": "t", "lease_s": 9, "last_id": 2}
        exchange.receive(reply(type="resumed", id=resume["id"], data=facts))
        assert sent(exchange.outgoing()) == {"type": "step", "data": {}, "id": 3, "session": "s"}
    [ticket] = exchange.receive(notice("taken_over"))
    assert ticket.reply is not None
    assert ticket.reply.data["code"] == "SESSION_LOST"
    assert not exchange.usable


def test_a_session_that_the_operator_ended() -> None:
    exchange = resumable()
    assert exchange.receive(notice("lost", "another")) == []
    assert exchange.receive(notice("drain")) == []
    [ticket] = exchange.receive(notice("lost"))
    assert ticket.reply is not None
    assert "was lost" in ticket.reply.data["message"]
    assert not exchange.usable


def test_a_session_that_was_opened_twice_is_closed() -> None:
    exchange = Exchange(Endpoint.at("http://host"), own=False)
    key = check_request(parse_request_head(exchange.hello()))
    exchange.receive(accept_response(key, "openenv.2.json"))
    exchange.request("open")
    for name in ("a", "b"):
        exchange.receive(reply(type="opened", id=1, data={"session": name, "token": name, "lease_s": 9}))
    closing = sent(exchange.outgoing())
    assert (closing["type"], closing["session"]) == ("close", "b")
    exchange.receive(reply(type="closed", id=closing["id"]))
    assert (list(exchange.members), exchange.owing) == (["a"], 0)
