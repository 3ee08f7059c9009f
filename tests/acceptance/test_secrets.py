"""What is hidden stays on the server: a canary in every secret is looked for in every byte that leaves it."""

from __future__ import annotations

import json
from typing import Any

import pytest

import openenv

from .conftest import Serve
from .served import Server

CANARY = b"CANARY"
PAGES = (
    "/",
    "/web",
    "/docs",
    "/redoc",
    "/openapi.json",
    "/schema",
    "/metadata",
    "/metrics",
    "/ready",
    "/health",
    "/state",
    "/list_environments",
)
VAULT: list[Any] = [
    {"guess": guess} for guess in ("x", "raise", "self", "assert", "recurse", "wrong type", "sleep")
] + [{}, {"guess": 3}, {"guess": "x", "code": 1}, {"code": None}, {"_underscored": None}]
QUIZ: list[Any] = [{"answer": answer} for answer in ("x", "the task", "all", "raise")] + [{}, {"answers": 1}]
GOOD = {"order": {"item": "tea", "amount": 1}}
PUBLISHED: list[Any] = [GOOD, {}, {**GOOD, "note": "raise"}, {**GOOD, "note": "self"}, {**GOOD, "_answer": 1}]
RESETS: list[Any] = [
    {},
    {"seed": 1},
    {"seed": "x"},
    {"level": 2},
    {"level": "x"},
    {"code": 1},
    {"split": "test"},
    {"split": "tset"},
    {"task": "lost"},
    {"task": 99},
    {"task": "last", "split": "test"},
    {"split": 1, "task": []},
]


def _everything(server: Server, name: str, actions: list[Any]) -> bytes:
    """Every byte the server sends in sessions that try everything, its log included."""
    out = bytearray()
    session = server.http("POST", "/reset", {}).session
    for path in PAGES:
        out += server.http("GET", path).all_bytes()
        out += server.http("GET", path, accept="text/html", x_openenv_session=session).all_bytes()
    for reset in RESETS:
        out += server.http("POST", "/reset", reset, x_openenv_session=session).all_bytes()
    server.http("POST", "/reset", {}, x_openenv_session=session)
    for action in actions:
        answer = server.http("POST", "/step", {"action": action}, x_openenv_session=session)
        if answer.status == 504:
            server.http("POST", "/reset", {}, x_openenv_session=session)
        out += answer.all_bytes()
        out += server.http("GET", "/state", x_openenv_session=session).all_bytes()
    for route in ("tasks", "num_tasks", "task", "task_range"):
        for body in ({}, {"split": "train"}, {"split": "train", "index": 0}, {"split": "x", "index": "last"}):
            out += server.http("POST", f"/{name}/{route}", body).all_bytes()
    out += server.http("GET", f"/{name}/splits").all_bytes()
    for protocol in ({}, {"sec_websocket_protocol": "openenv.2.json"}):
        with server.socket(**protocol) as ws:
            ws.state()
            for reset in RESETS:
                ws.reset(**reset)
            ws.reset()
            for action in actions:
                if ws.step(**action)["data"].get("session_fate") == "needs_reset":
                    ws.reset()
                ws.state()
            for method in ("tools/list", "tools/call"):
                request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"name": "code"}}
                ws.ask({"type": "mcp", "data": request})
                out += server.http("POST", "/mcp", request).all_bytes()
            out += ws.received
    return bytes(out) + server.output.encode()


@pytest.mark.parametrize(
    ("cls", "actions", "told"),
    [
        ("Vault", VAULT, b"step failed as asked"),
        ("Careless", VAULT, b"step failed as asked"),
        ("Quiz", QUIZ, b"Task(id="),
        ("PublishedVault", PUBLISHED, b'"tries":1'),
    ],
)
def test_no_byte_tells(serve: Serve, cls: str, actions: list[Any], told: bytes) -> None:
    server = serve(f"environments.py:{cls}", "--step-timeout", "0.2", "--log-format", "json")
    sent = _everything(server, cls.lower(), actions)
    assert told in sent, "the session did not do what it should"
    at = sent.find(CANARY)
    assert at < 0, sent[max(at - 300, 0) : at + 100]


@pytest.mark.parametrize(("cls", "actions"), [("Vault", VAULT), ("Quiz", QUIZ)])
def test_no_result_of_an_embedded_environment_tells(folder: Any, cls: str, actions: list[Any]) -> None:
    with openenv.make(f"{folder}/environments.py:{cls}", timeout_s=0.2) as env:
        env.reset()
        for action in actions:
            try:
                result = env.step(action)
                said = f"{result!r} {result.observation!r} {result.info!r}"
            except openenv.OpenEnvError as problem:
                said = f"{problem} {problem.data}"
                if problem.session_fate == "needs_reset":
                    env.reset()
            state = env.state()
            said += f" {json.dumps(state.model_dump(mode='json', fallback=repr))}"
            assert CANARY.decode() not in said
        assert CANARY.decode() not in json.dumps(env.action_space.schema)
