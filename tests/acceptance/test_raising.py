"""An environment may raise anything, anywhere: its caller is told, its session and all others go on."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Serve

KINDS = (
    "exit",
    "interrupt",
    "cancelled",
    "generator",
    "stop",
    "stop async",
    "base",
    "group",
    "memory",
    "unprintable",
)


def _is_told(data: dict[str, Any], fate: str) -> None:
    assert (data["outcome"], data["session_fate"]) == ("env_error", fate), data
    assert data["message"]
    assert data["exception"]


@pytest.mark.parametrize("cls", ["Raising", "RaisingInline", "RaisingShared", "RaisingAsync"])
def test_whatever_it_raises(serve: Serve, cls: str) -> None:
    server = serve(f"environments.py:{cls}")
    session = server.http("POST", "/reset", {}).session
    with server.socket() as other, server.socket() as ws:
        other.reset()
        for kind in KINDS:
            ws.reset()
            _is_told(ws.step(kind=kind)["data"], "alive")
            assert ws.step()["data"]["observation"]["result"] == "fine", kind
            ws.reset()
            _is_told(ws.reset(kind=kind)["data"], "needs_reset")
            answer = server.http("POST", "/step", {"action": {"kind": kind}}, x_openenv_session=session)
            assert answer.status == 500, kind
            _is_told(answer.json, "alive")
        ws.reset()
        for kind in ("exit", "cancelled", "memory", "unprintable"):
            ws.step(later=kind)
            assert ws.state()["outcome"] == "env_error", kind
            assert ws.state() == {"said": "fine"}, kind
        assert other.step()["data"]["observation"]["result"] == "fine"
    assert server.http("POST", "/step", {"action": {}}, x_openenv_session=session).status == 200
