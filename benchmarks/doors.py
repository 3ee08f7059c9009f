"""What the other ways in cost the server: a connection, an HTTP step, a long observation."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from .context import Context, interleave, progress
from .loadgen import STEP, LoadError, measure, open_session
from .servers import Kind, Server, ours, published, running

KINDS = ("serve", "stock")
AT_ONCE = 64
"""Connections of one wave, and sessions that step at once."""

LONG_STEP = json.dumps({"type": "step", "data": {"message": "x" * 4096, "tokens": []}}).encode()
"""A step whose observation has 4 KB."""

_RESET = b'{"seed": 1}'
_ACTION = json.dumps({"action": json.loads(STEP)["data"]}).encode()


def run(context: Context) -> dict[str, Any]:
    """Return ``{measure: {server: {cpu_us}}}``, all in server CPU time."""
    kinds = [published(context.published_python), *(kind for kind in ours() if kind.name in KINDS)]
    measures: dict[str, Callable[[Server], dict[str, float]]] = {
        "connect": lambda server: _connect(server, context.pick(5, 1)),
        "http_step": lambda server: _http_steps(server, context.pick(500, 100)),
        "long_step": lambda server: _long_steps(server, context.pick(0.5, 0.3)),
    }
    results = {}
    for name, one in measures.items():
        progress(f"doors: {name}")
        with _all_running(kinds) as servers:
            for server in servers:
                one(server)  # what is built lazily is built
            rounds = context.pick(5, 1)
            results[name] = interleave(servers, rounds, one, lambda server: server.kind.name)
    return results


@contextlib.contextmanager
def _all_running(kinds: list[Kind]) -> Iterator[list[Server]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(running(kind, sessions=2 * AT_ONCE)) for kind in kinds]


def _connect(server: Server, waves: int) -> dict[str, float]:
    """CPU per connection: handshake, session, reset, close."""
    before = server.cpu_ns()
    for _ in range(waves):
        sessions = [open_session(server.port, offer_deflate=True) for _ in range(AT_ONCE)]
        for session in sessions:
            session.close()
        time.sleep(0.1)  # slots come back
    return {"cpu_us": (server.cpu_ns() - before) / 1e3 / (waves * AT_ONCE)}


def _http_steps(server: Server, steps: int) -> dict[str, float]:
    """CPU per ``POST /step`` over one kept connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        headers = {"content-type": "application/json"}
        named = _post(connection, "/reset", _RESET, headers).get("X-OpenEnv-Session")
        if named is not None:
            headers["X-OpenEnv-Session"] = named
        before = server.cpu_ns()
        for _ in range(steps):
            _post(connection, "/step", _ACTION, headers)
        return {"cpu_us": (server.cpu_ns() - before) / 1e3 / steps}
    finally:
        connection.close()


def _post(
    connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]
) -> http.client.HTTPMessage:
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200 or b'"observation"' not in text:
        raise LoadError(f"{path}: {answer.status} {text[:200]!r}")
    return answer.headers


def _long_steps(server: Server, seconds: float) -> dict[str, float]:
    """CPU per step whose observation has 4 KB, at 64 sessions."""
    load = measure(
        server.port,
        server.pid,
        AT_ONCE,
        offer_deflate=True,
        seconds=seconds,
        warm_up_s=seconds / 2,
        step=LONG_STEP,
    )
    return {"cpu_us": load.cpu_us_per_step, "p50_us": load.p50_us}
