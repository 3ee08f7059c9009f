"""A remote session's ledger and connection together, and what JSON-RPC answers mean."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.client.scripted import Peer, ScriptedServer, counting

from openenv.client import connection as connection_module
from openenv.client.async_connection import AsyncConnection
from openenv.client.connection import SyncConnection
from openenv.client.endpoint import Endpoint
from openenv.client.remote import AsyncRemoteSession, RemoteSession, rpc_result
from openenv.errors import (
    EnvironmentFailedError,
    InvalidActionError,
    OpenEnvError,
    OrderError,
    ProtocolError,
    SessionCapacityError,
    SessionLost,
    StepTimeoutError,
)

Start = Callable[..., ScriptedServer]


def test_one_connection_however_many_threads_start(scripted: Start) -> None:
    server = scripted(counting)
    session = RemoteSession(Endpoint.at(server.url))
    threads = [threading.Thread(target=session.step, args=({"by": 1},)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert session.state()["step_count"] == 8
    assert len(server.peers) == 1
    session.close()


async def test_one_connection_however_many_coroutines_start(scripted: Start) -> None:
    server = scripted(counting)
    session = AsyncRemoteSession(Endpoint.at(server.url))
    await asyncio.gather(*(session.step({"by": 1}) for _ in range(8)))
    assert (await session.state())["step_count"] == 8
    assert len(server.peers) == 1
    await session.connect()
    assert len(server.peers) == 1
    await session.close()
    with pytest.raises(OrderError):
        await session.reset({})


async def test_connecting_again_after_a_loss_is_a_new_session(scripted: Start) -> None:
    def dies(peer: Peer) -> None:
        peer.accept()
        peer.observe(peer.request())

    server = scripted(dies, counting)
    session = AsyncRemoteSession(Endpoint.at(server.url))
    await session.reset({})
    with pytest.raises(SessionLost):
        await session.step({})
    await session.connect()
    assert (await session.state())["step_count"] == 0
    await session.close()


def test_a_frame_that_the_server_does_not_take(scripted: Start) -> None:
    def deaf(peer: Peer) -> None:
        peer.accept()
        peer.request()
        peer.close(1008, "too much")
        peer.link.shutdown(1)
        time.sleep(0.05)

    connection = SyncConnection(Endpoint.at(scripted(deaf).url))
    with pytest.raises(SessionLost, match="too much"):
        connection.call("step", {"a": 1})
    with pytest.raises(SessionLost, match="too much"):
        connection.call("step", {"text": "x" * 5_000_000})
    connection.close()


def test_a_server_that_does_not_read(scripted: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def deaf(peer: Peer) -> None:
        peer.accept()
        time.sleep(1.0)

    long = {"text": "x" * 20_000_000}
    connection = SyncConnection(Endpoint.at(scripted(deaf).url))
    began = time.monotonic()
    with pytest.raises(StepTimeoutError) as late:
        connection.call("step", long, timeout_s=0.2)
    assert time.monotonic() - began < 0.5
    assert late.value.session_fate == "closed"
    with pytest.raises(SessionLost, match="no more requests"):
        connection.call("step", {})
    connection.close()
    monkeypatch.setattr(connection_module, "_SLOWEST_BYTES_PER_S", 1e9)
    connection = SyncConnection(Endpoint.at(scripted(deaf).url, ping_interval_s=0.1))
    with pytest.raises(SessionLost, match="no more requests"):
        connection.call("step", long)
    connection.close()


async def test_a_long_request_to_a_server_that_does_not_read(scripted: Start) -> None:
    go = threading.Event()

    def deaf(peer: Peer) -> None:
        peer.accept()
        go.wait(5)

    connection = await AsyncConnection.open(Endpoint.at(scripted(deaf).url))
    with pytest.raises(StepTimeoutError):
        await connection.call("step", {"text": "x" * 20_000_000}, timeout_s=0.2)
    go.set()
    await connection.close()
    assert not connection.alive


@pytest.mark.parametrize(
    ("response", "kind", "says"),
    [
        ({"error": {"code": -32603, "message": "boom"}}, EnvironmentFailedError, "boom"),
        ({"error": {"code": -32602, "message": "bad"}}, InvalidActionError, "bad"),
        ({"error": {"code": -32601, "message": "what"}}, ProtocolError, "what"),
        (
            {"error": {"code": -32000, "message": "m", "data": {"active_sessions": 2, "max_sessions": 2}}},
            SessionCapacityError,
            "m",
        ),
        (
            {"error": {"code": -32603, "message": "m", "data": {"error": "OrderError", "code": "X"}}},
            OrderError,
            "m",
        ),
        ({"error": "text"}, EnvironmentFailedError, "text"),
        ({}, ProtocolError, "Not a JSON-RPC"),
        ([], ProtocolError, "Not a JSON-RPC"),
    ],
)
def test_rpc_errors_are_typed(response: Any, kind: type[OpenEnvError], says: str) -> None:
    with pytest.raises(kind, match=says):
        rpc_result(response)


def test_rpc_results() -> None:
    assert rpc_result({"result": {"a": 1}}) == {"a": 1}
    assert rpc_result({"result": None, "error": None}) is None
