"""Actions and messages that do not fit, on every door: a typed answer, and the session goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import openenv
from openenv.errors import InvalidActionError

from .conftest import Serve
from .served import Server, Socket

Call = Callable[..., Any]
GOOD = {"order": {"item": "tea", "amount": 2}}
INVALID: dict[str, Any] = {
    "wrong type": {"order": {"item": "tea", "amount": "many"}},
    "null": {"order": None},
    "missing": {},
    "missing inside": {"order": {"item": "tea"}},
    "extra": {**GOOD, "surprise": 1},
    "out of bounds": {"order": {"item": "tea", "amount": 10}},
    "a validator that raises ValueError": {**GOOD, "note": "damn"},
    "a validator with a mistake": {**GOOD, "note": "bug"},
    "metadata of a wrong type": {**GOOD, "metadata": 3},
    "NaN": {"order": {"item": "tea", "amount": float("nan")}},
    "infinity": {"order": {"item": "tea", "amount": float("-inf")}},
    "a huge integer": {"order": {"item": "tea", "amount": 10**400}},
    "half a surrogate pair": {"order": {"item": "\ud800", "amount": 1}},
    "deep": {"order": json.loads("[" * 200 + "]" * 200)},
    "a dunder": {**GOOD, "__class__": "Environment"},
}
MESSAGES: dict[str, tuple[bytes, int]] = {
    "list": (b"[1, 2]", 1),
    "number": (b"42", 1),
    "null": (b"null", 1),
    "string": (b'"step"', 1),
    "NaN": (b"NaN", 1),
    "no JSON": (b"{", 1),
    "empty": (b"", 1),
    "too deep": (b'{"type":"step","data":{"order":' + b"[" * 50_000, 1),
    "no type": (b"{}", 1),
    "unknown type": (b'{"type": "destroy"}', 1),
    "type of a wrong type": (b'{"type": ["step"]}', 1),
    "step without data": (b'{"type": "step"}', 1),
    "data is a list": (b'{"type": "step", "data": []}', 1),
    "stray key": (b'{"type": "state", "token": 1}', 1),
    "seed is text": (b'{"type": "reset", "data": {"seed": "one"}}', 1),
    "mcp without data": (b'{"type": "mcp"}', 1),
    "binary": (b'{"type": "state"}', 2),
    "binary rubbish": (b"\xff\xfe\x00", 2),
}


@pytest.fixture(scope="module")
def strict(serve: Serve) -> Server:
    return serve("environments.py:Strict")


def _is_typed(data: dict[str, Any]) -> None:
    assert data["code"] in ("VALIDATION_ERROR", "INVALID_JSON", "UNKNOWN_TYPE"), data
    assert data["outcome"] == "invalid_action"
    assert data["session_fate"] == "alive"
    assert data["message"]
    if data["code"] == "VALIDATION_ERROR":
        assert data["errors"]
        assert all({"type", "loc", "msg"} <= set(issue) for issue in data["errors"])


def _goes_on(ws: Socket) -> None:
    stepped = ws.step(**GOOD)
    assert stepped["data"]["observation"]["total"] == 2, "an invalid message changed something"
    assert ws.state()["step_count"] == 1


@pytest.mark.parametrize("protocol", ["plain", "openenv.2.json"])
def test_actions_on_a_websocket(strict: Server, protocol: str) -> None:
    headers = {} if protocol == "plain" else {"sec_websocket_protocol": protocol}
    with strict.socket(**headers) as ws:
        for name, action in INVALID.items():
            ws.reset()
            refused = ws.step(**action)
            assert refused["type"] == "error", name
            _is_typed(refused["data"])
            assert refused["data"]["code"] == "VALIDATION_ERROR", name
            _goes_on(ws)


def test_messages_on_a_websocket(strict: Server) -> None:
    with strict.socket() as ws:
        ws.reset()
        for name, (payload, opcode) in MESSAGES.items():
            refused = ws.ask(payload, opcode=opcode)
            assert refused["type"] == "error", name
            _is_typed(refused["data"])
        _goes_on(ws)


def test_a_frame_of_64_mib(strict: Server) -> None:
    with strict.socket() as ws:
        ws.reset()
        refused = ws.step(order={"item": "x" * (64 << 20), "amount": 1})
        _is_typed(refused["data"])
        assert len(json.dumps(refused)) < 10_000, "the whole frame comes back"
        _goes_on(ws)


def test_actions_over_http(strict: Server) -> None:
    for name, action in INVALID.items():
        begun = strict.http("POST", "/reset", {})
        refused = strict.http("POST", "/step", {"action": action}, x_openenv_session=begun.session)
        assert refused.status == 422, name
        assert refused.json["detail"], name
        assert "x-openenv-session" in refused.headers, name
        stepped = strict.http("POST", "/step", {"action": GOOD}, x_openenv_session=begun.session)
        assert stepped.json["observation"]["total"] == 2, name
        assert stepped.headers["x-openenv-step"] == "1", name
        strict.http("POST", "/close", x_openenv_session=begun.session)


@pytest.mark.parametrize(
    "body", [b"[1]", b"3", b"null", b"{", b"\xff", b"NaN", b"[" * 50_000, b'{"action": []}']
)
def test_bodies_over_http(strict: Server, body: bytes) -> None:
    begun = strict.http("POST", "/reset", {})
    for path in ("/step", "/reset") if b"action" not in body else ("/step",):
        refused = strict.http("POST", path, body, x_openenv_session=begun.session)
        assert refused.status == 422
        assert isinstance(refused.json["detail"], list)
    stepped = strict.http("POST", "/step", {"action": GOOD}, x_openenv_session=begun.session)
    assert stepped.headers["x-openenv-step"] == "1"
    strict.http("POST", "/close", x_openenv_session=begun.session)


def test_a_body_that_is_too_long_is_refused_before_it_is_read(strict: Server) -> None:
    refused = strict.http("POST", "/step", b"", content_length=str(10**12))
    assert refused.status == 413


@pytest.mark.parametrize("where", ["inline", "thread", "remote", "async"])
async def test_actions_from_a_client(strict: Server, folder: Path, where: str) -> None:
    async def settled(value: Any) -> Any:
        return await value if hasattr(value, "__await__") else value

    async def refuse_all(reset: Call, step: Call, state: Call) -> None:
        for name, action in INVALID.items():
            if name == "half a surrogate pair":
                continue  # a client sends the JSON form of a value, which is valid text here
            await settled(reset())
            with pytest.raises(InvalidActionError) as refused:
                await settled(step(action))
            assert refused.value.errors, name
            json.dumps(refused.value.errors, allow_nan=False)
            _, reward, done, info = await settled(step(GOOD))
            assert (reward, done, info["step"]) == (1.0, False, 1), name
            assert (await settled(state())).step_count == 1

    if where == "async":
        async with openenv.connect(strict.url) as env:
            await refuse_all(env.reset, env.step, env.state)
        return
    target = strict.url if where == "remote" else f"{folder}/environments.py:Strict"
    options: Any = {} if where == "remote" else {"host": where}
    with openenv.make(target, **options) as env:
        await refuse_all(env.reset, env.step, env.state)


def test_tools_with_wrong_arguments(serve: Serve) -> None:
    server = serve("environments.py:Tools")

    def rpc(body: Any) -> Any:
        return server.http("POST", "/mcp", body).json

    created = rpc({"jsonrpc": "2.0", "id": 1, "method": "openenv/session/create"})
    session = created["result"]["session_id"]

    def call(**params: Any) -> Any:
        return rpc(
            {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"session_id": session, **params}}
        )

    for params in (
        {},
        {"name": 3},
        {"name": "nothing"},
        {"name": "__init__"},
        {"name": "reset"},
        {"name": "add", "arguments": []},
        {"name": "add", "arguments": {}},
        {"name": "add", "arguments": {"a": "x"}},
        {"name": "add", "arguments": {"a": 1, "c": 1}},
        {"name": "add", "arguments": {"a": float("nan")}},
    ):
        answer = call(**params)
        assert "error" in answer or answer["result"]["is_error"], (params, answer)
    for body in (
        b"[]",
        b"3",
        b"{",
        b"\xff",
        {"jsonrpc": "1.0"},
        {"method": 3},
        {"id": {}, "method": "tools/list"},
    ):
        assert rpc(body)["error"]["code"] in (-32700, -32600, -32601), body
    assert call(name="add", arguments={"a": 1})["result"]["data"] == 3
    state = server.http("GET", "/state", x_openenv_session=session).json
    assert state["calls"] == 1, "a refused call reached the environment"


ODD = {
    "nan": None,
    "infinities": [None, None],
    "bytes": "text",
    "binary": {"$bytes": "/wA="},
    "array": [[1.5, None]],
    "integers": [0, 1, 2],
    "scalar": 0.5,
    "numpy bool": True,
    "enum": "red",
    "date": "2024-01-02",
    "set": [1],
    "keys": {"1": "one", "2,3": "two"},
    "surrogate": "?",
    "big": 2**70,
    "model": {"item": "x", "amount": 1},
}


def test_observations_that_json_does_not_have(serve: Serve) -> None:
    odd = serve("environments.py:Odd")
    session = odd.http("POST", "/reset", {}).session
    with odd.socket() as ws:
        ws.reset()
        for number, (kind, expected) in enumerate(ODD.items(), 1):
            told = ws.step(kind=kind)
            assert told["data"]["observation"]["value"] == expected, kind
            assert told["data"]["reward"] == (None if kind == "nan" else 1.0)
            assert ws.state()["step_count"] == number
            posted = odd.http("POST", "/step", {"action": {"kind": kind}}, x_openenv_session=session)
            assert posted.json["observation"]["value"] == expected, kind
            assert b"NaN" not in posted.body
            assert b"Infinity" not in posted.body
        assert "object" in ws.step(kind="object")["data"]["observation"]["value"]
        failed = ws.step(kind="unknown")["data"]
        assert (failed["outcome"], failed["session_fate"]) == ("env_error", "alive")
        assert ws.step(kind="bytes")["data"]["observation"]["value"] == "text"
