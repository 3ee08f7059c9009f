"""Whoever does not hold a session's id gets nowhere near its episode, and one that ended stays ended."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Serve
from .served import Answer, Closed, Server, eventually

STEP = {"action": {"word": "mine"}}


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve("environments.py:Word")


@pytest.fixture
def victim(server: Server) -> Answer:
    """A session with an episode underway, besides another one of the same address."""
    server.http("POST", "/reset", {}, cookie="other=1")
    begun = server.http("POST", "/reset", {})
    server.http("POST", "/step", STEP, x_openenv_session=begun.session)
    return begun


def _untouched(server: Server, victim: Answer) -> None:
    state = server.http("GET", "/state", x_openenv_session=victim.session).json
    assert (state["count"], state["step_count"]) == (1, 1)


def _guessed(guess: str, victim: Answer) -> str:
    known = victim.session
    return guess.format(id=known, start=known[:8], upper=known.upper())


def _rpc(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


@pytest.mark.parametrize(
    "guess", ["", "{start}", "{upper}", "{id}x", "*", "%", "../{id}", "0", "null", "' OR 1=1"]
)
def test_guesses_reach_nobody(server: Server, victim: Answer, guess: str) -> None:
    said = _guessed(guess, victim)
    cookie = victim.cookie.partition("=")[0]
    for headers in (
        {"x_openenv_session": said},
        {"cookie": f"{cookie}={said}"},
        {"cookie": f"openenv_00000000={victim.session}"},
        {"cookie": f"session_id={victim.session}"},
    ):
        for method, path in (("POST", "/step"), ("GET", "/state"), ("POST", "/close")):
            answer = server.http(method, path, STEP if method == "POST" else None, **headers)
            assert answer.status in (404, 409), (headers, path)
            assert victim.session.encode() not in answer.all_bytes() or victim.session in said
    for method in ("openenv/session/close", "tools/call"):
        answer = server.http("POST", "/mcp", _rpc(method, session_id=said, name="x"))
        assert "error" in answer.json
    _untouched(server, victim)


def test_no_answer_names_another_session(server: Server, victim: Answer) -> None:
    surfaces = [
        "/state",
        "/metrics",
        "/health",
        "/ready",
        "/schema",
        "/metadata",
        "/openapi.json",
        "/docs",
        "/web",
    ]
    for path in surfaces:
        assert victim.session.encode() not in server.http("GET", path).all_bytes(), path
    with server.socket() as ws:
        ws.reset()
        ws.step(nonsense=1)
        ws.state()
        assert victim.session.encode() not in ws.received
    assert victim.session not in server.output, "a session's id is a secret, its log has the beginning of it"


def test_a_session_is_attached_once(server: Server, victim: Answer) -> None:
    with server.socket(f"/ws?session_id={victim.session}") as ws:
        for _ in range(3):
            with server.socket(f"/ws?session_id={victim.session}") as thief:
                assert thief.reply()["data"]["code"] == "SESSION_ERROR"
                with pytest.raises(Closed):
                    thief.reply()
        _untouched(server, victim)
        assert ws.step(word="again")["data"]["reward"] == 2.0

    def attached_again() -> bool:
        with server.socket(f"/ws?session_id={victim.session}") as ws:
            return bool(ws.state().get("count") == 2)

    eventually(attached_again)


@pytest.mark.parametrize("guess", ["nope", "%00", "{start}", "{id}%20"])
def test_attaching_to_a_guess(server: Server, victim: Answer, guess: str) -> None:
    said = _guessed(guess, victim)
    before = server.active()
    with server.socket(f"/ws?session_id={said}") as ws:
        assert ws.reply()["data"]["code"] == "SESSION_ERROR"
        with pytest.raises(Closed):
            ws.reply()
    assert server.active() == before, "a guess got a session of its own"


def test_a_closed_session_stays_closed(server: Server, victim: Answer) -> None:
    name = {"x_openenv_session": victim.session}
    assert server.http("POST", "/close", **name).json["closed"] is True
    for method, path in (("POST", "/step"), ("GET", "/state"), ("POST", "/close"), ("POST", "/reset")):
        assert server.http(method, path, STEP if path == "/step" else None, **name).status == 404, path
    with server.socket(f"/ws?session_id={victim.session}") as ws:
        assert ws.reply()["data"]["error"] == "SessionNotFoundError"
    again = server.http("POST", "/reset", {}, cookie=victim.cookie)
    assert again.session != victim.session


def test_a_sockets_session_ends_with_its_socket(server: Server) -> None:
    with server.socket() as ws:
        ws.reset()
        told = ws.ask({"type": "mcp", "data": _rpc("openenv/session/create")})
        session = told["data"]["result"]["session_id"]
    name = {"x_openenv_session": session}
    eventually(lambda: server.http("GET", "/state", **name).status == 404)
    with server.socket(f"/ws?session_id={session}") as ws:
        assert ws.reply()["data"]["error"] == "SessionNotFoundError"


def test_sessions_do_not_see_each_others_fields(server: Server) -> None:
    with server.socket() as one, server.socket() as two:
        one.reset()
        two.reset()
        for _ in range(5):
            one.step(word="a")
        assert two.step(word="b")["data"]["reward"] == 1.0
        assert (one.state()["count"], two.state()["count"]) == (5, 1)
        assert one.state()["episode_id"] != two.state()["episode_id"]
