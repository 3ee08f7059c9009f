"""Idle connections stay alive, and the keeper's thread only while there are some."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from tests.client.scripted import Peer, ScriptedServer, counting, until

from openenv.client import connection as connection_module
from openenv.client.connection import SyncConnection
from openenv.client.endpoint import Endpoint
from openenv.client.keeper import Keeper
from openenv.errors import SessionLost
from openenv.protocol.websocket import Ping, Pong

Start = Callable[..., ScriptedServer]


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keeper]:
    made = Keeper(round_s=0.02)
    monkeypatch.setattr(connection_module, "KEEPER", made)
    yield made
    until(lambda: not made.running)


class Visited:
    def __init__(self) -> None:
        self.visits = 0

    def attend(self) -> None:
        self.visits += 1


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "openenv-keeper"]


def test_an_idle_connection_answers_pings(keeper: Keeper, scripted: Start) -> None:
    ponged = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept()
        peer.observe(peer.request(), n=1)
        peer.ping()
        if isinstance(peer.event(), Pong):
            ponged.set()
        peer.counter()

    connection = SyncConnection(Endpoint.at(scripted(script).url))
    connection.call("reset", {})
    assert ponged.wait(5), "the ping was not answered while nobody called"
    assert connection.call("reset", {}).data["observation"] == {"count": 0}
    connection.close()


def test_an_idle_connection_notices_that_the_server_has_gone(keeper: Keeper, scripted: Start) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.observe(peer.request())
        peer.close(1001, "bye")

    connection = SyncConnection(Endpoint.at(scripted(script).url))
    connection.call("reset", {})
    until(lambda: not connection.alive)
    with pytest.raises(SessionLost, match="1001, bye"):
        connection.call("step", {})
    connection.close()


def test_an_idle_connection_asks_a_silent_server(keeper: Keeper, scripted: Start) -> None:
    asked = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept()
        if isinstance(peer.event(), Ping):
            asked.set()
        time.sleep(1)  # and never answers

    connection = SyncConnection(Endpoint.at(scripted(script).url, ping_interval_s=0.1, ping_timeout_s=0.1))
    assert asked.wait(5)
    until(lambda: not connection.alive)
    with pytest.raises(SessionLost, match="no sign of life"):
        connection.call("step", {})
    connection.close()


def test_a_busy_connection_is_left_alone(keeper: Keeper, scripted: Start) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        request = peer.request()
        time.sleep(0.3)
        peer.observe(request, slow=True)
        peer.counter()

    connection = SyncConnection(Endpoint.at(scripted(script).url))
    assert connection.call("step", {}).data["observation"] == {"slow": True}
    connection.close()


def test_one_thread_for_all_and_none_for_none(scripted: Start) -> None:
    keeper, visitors = Keeper(round_s=0.01), [Visited() for _ in range(5)]
    for visitor in visitors:
        keeper.watch(visitor)
    assert keeper.running
    until(lambda: all(visitor.visits > 2 for visitor in visitors))
    for visitor in visitors:
        keeper.forget(visitor)
    seen = [visitor.visits for visitor in visitors]
    until(lambda: not keeper.running)
    time.sleep(0.05)
    assert all(visitor.visits <= before + 1 for visitor, before in zip(visitors, seen, strict=True))


def test_what_nobody_holds_is_not_kept(scripted: Start) -> None:
    keeper = Keeper(round_s=0.01)
    keeper.watch(Visited())
    gc.collect()
    until(lambda: not keeper.running)


def test_the_thread_comes_back(scripted: Start) -> None:
    keeper, first, second = Keeper(round_s=0.01), Visited(), Visited()
    keeper.watch(first)
    keeper.forget(first)
    keeper.watch(second)
    until(lambda: second.visits > 1)
    keeper.forget(second)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_child_gets_a_thread_of_its_own() -> None:
    keeper, parents = Keeper(round_s=0.01), Visited()
    keeper.watch(parents)
    pid = os.fork()
    if pid == 0:
        own, visited = Visited(), parents.visits
        keeper.forget(parents)
        keeper.watch(own)
        deadline = time.monotonic() + 5
        while own.visits < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        os._exit(0 if own.visits >= 2 and parents.visits == visited else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    keeper.forget(parents)


def test_a_hundred_connections_leave_nothing_behind(keeper: Keeper, scripted: Start) -> None:
    server = scripted(counting)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        connection = SyncConnection(Endpoint.at(server.url))
        connection.call("reset", {})
        connection.close()
    until(lambda: len(os.listdir("/proc/self/fd")) <= before + 2)
