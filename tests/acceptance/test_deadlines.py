"""A step that sleeps 30 s under a deadline of 0.2 s, on every door, while other sessions work."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import openenv
from openenv.errors import OrderError, StepTimeoutError

from .conftest import Serve
from .served import Server

GENEROUS_S = 5.0
"""A tenth of it is meant; a loaded machine is given the rest."""


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve("environments.py:Stubborn")


@contextmanager
def _answered_in_time() -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < GENEROUS_S


def _is_timeout(data: dict[str, Any]) -> None:
    assert (data["outcome"], data["session_fate"]) == ("timeout", "needs_reset")
    assert data["retryable"] is True
    assert "reward" not in data


def test_on_a_websocket_others_are_unaffected(server: Server) -> None:
    stop = threading.Event()
    steps = 0

    def work() -> None:
        nonlocal steps
        with server.socket() as other:
            other.reset()
            while not stop.is_set():
                assert other.step()["data"]["observation"]["result"] == "awake"
                steps += 1

    with server.socket(sec_websocket_protocol="openenv.2.json") as ws:
        ws.ask({"type": "reset", "id": 1})
        worker = threading.Thread(target=work)
        worker.start()
        try:
            before = steps
            with _answered_in_time():
                refused = ws.ask({"type": "step", "data": {"seconds": 30}, "timeout_s": 0.2, "id": 2})
            during = steps - before
        finally:
            stop.set()
            worker.join()
        assert refused["id"] == 2
        _is_timeout(refused["data"])
        assert during > 0, "the other session stood still"
        assert ws.step()["data"]["error"] == "OrderError"
        ws.ask({"type": "reset", "id": 3})
        assert ws.step()["data"]["observation"]["result"] == "awake"


def test_over_http(server: Server) -> None:
    session = server.http("POST", "/reset", {}).session
    with _answered_in_time():
        refused = server.http(
            "POST", "/step", {"action": {"seconds": 30}, "timeout_s": 0.2}, x_openenv_session=session
        )
    assert refused.status == 504
    _is_timeout(refused.json)
    assert server.http("POST", "/step", {"action": {}}, x_openenv_session=session).status == 409
    assert server.http("POST", "/reset", {}, x_openenv_session=session).status == 200
    assert server.http("POST", "/step", {"action": {}}, x_openenv_session=session).status == 200


def test_from_a_client(server: Server) -> None:
    with openenv.make(server.url) as env:
        env.reset()
        with _answered_in_time(), pytest.raises(StepTimeoutError):
            env.step(seconds=30, timeout_s=0.2)
        with pytest.raises(OrderError):
            env.step()
        env.reset()
        assert env.step().info["outcome"] == "ok"


def test_embedded(folder: Path) -> None:
    with openenv.make(f"{folder}/environments.py:Slow", timeout_s=20) as env:
        env.reset()
        with _answered_in_time(), pytest.raises(StepTimeoutError):
            env.step(seconds=30, timeout_s=0.2)
        env.reset()
        assert env.step().observation.result == 1


def test_the_servers_own_deadline_holds_for_those_who_name_none(serve: Serve) -> None:
    strict = serve("environments.py:Stubborn", "--step-timeout", "0.2")
    with strict.socket() as ws:
        ws.reset()
        with _answered_in_time():
            _is_timeout(ws.step(seconds=30)["data"])
        ws.reset()
        assert ws.step()["type"] == "observation"
