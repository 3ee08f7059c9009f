"""Connections across processes, event loops and interrupts."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Callable

import pytest
from tests.client.scripted import Peer, ScriptedServer, counting, until

from openenv.client.async_connection import AsyncConnection
from openenv.client.connection import SyncConnection
from openenv.client.endpoint import Endpoint
from openenv.errors import (
    UsageError,
)

Start = Callable[..., ScriptedServer]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_child_is_refused_and_the_parent_goes_on(counting_server: ScriptedServer) -> None:
    connection = SyncConnection(Endpoint.at(counting_server.url))
    connection.call("reset", {})
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            connection.call("step", {})
        except UsageError as refused:
            code = 42 if "forked" in str(refused) else 2
        connection.close()
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
    assert connection.alive
    assert connection.call("step", {}).data["observation"]["count"] == 1
    connection.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_child_may_connect_by_itself(counting_server: ScriptedServer) -> None:
    connection = SyncConnection(Endpoint.at(counting_server.url))
    pid = os.fork()
    if pid == 0:
        own = SyncConnection(Endpoint.at(counting_server.url))
        good = own.call("step", {}).data["observation"]["count"] == 1
        own.close()
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    connection.close()


async def test_another_event_loop_is_refused(counting_server: ScriptedServer) -> None:
    connection = await AsyncConnection.open(Endpoint.at(counting_server.url))

    def elsewhere() -> None:
        asyncio.run(connection.call("reset", {}))

    with pytest.raises(UsageError, match="another event loop"):
        await asyncio.to_thread(elsewhere)
    await connection.close()


def test_an_interrupted_call_leaves_the_connection_consistent(scripted: Start) -> None:
    import _thread
    import signal

    answer = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept()
        first = peer.request()
        time.sleep(0.1)
        _thread.interrupt_main(signal.SIGINT)
        answer.wait(5)
        peer.observe(first, answer="first")
        peer.observe(peer.request(), answer="second")
        peer.counter()

    connection = SyncConnection(Endpoint.at(scripted(script).url, ping_interval_s=0.1))
    with pytest.raises(KeyboardInterrupt):
        connection.call("step", {})
    answer.set()
    assert connection.call("step", {}).data["observation"] == {"answer": "second"}
    connection.close()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
async def test_a_lost_loop_frees_the_session(scripted: Start) -> None:
    server = scripted(counting)
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept()
        try:
            peer.counter()
        finally:
            gone.set()

    server = scripted(script)
    held: list[AsyncConnection] = []

    def other_loop() -> None:
        async def main() -> None:
            held.append(await AsyncConnection.open(Endpoint.at(server.url)))

        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close()

    await asyncio.to_thread(other_loop)
    held.pop().abort()
    until(gone.is_set)
    gc.collect()  # while the warnings about the lost loop's sockets are still expected
