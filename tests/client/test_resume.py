"""A single session outlives its connection, on both faces."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.client.extended_server import Cuts, ExtendedWorld, cut
from tests.client.scripted import Peer, ScriptedServer, until

from openenv.client.connection import SyncConnection
from openenv.client.endpoint import Endpoint
from openenv.client.remote import AsyncRemoteSession, RemoteSession
from openenv.errors import OpenEnvError, SessionLost, StepTimeoutError

Start = Callable[..., ScriptedServer]


class Sync:
    """A synchronous session, each call in a thread of its own."""

    def __init__(self, url: str, **options: Any) -> None:
        self.session: RemoteSession | AsyncRemoteSession = RemoteSession(Endpoint.at(url, **options))

    async def do(self, call: str, *arguments: Any, **options: Any) -> Any:
        return await asyncio.to_thread(getattr(self.session, call), *arguments, **options)

    async def notices(self) -> None:
        """See to it that the client knows that its connection broke."""
        connection = self.session.connection
        assert connection is not None
        if isinstance(connection, SyncConnection):
            await asyncio.to_thread(until, lambda: connection.attend() or not connection.connected)
        else:
            await asyncio.to_thread(until, lambda: not connection.connected)


class Async(Sync):
    """An asynchronous one."""

    def __init__(self, url: str, **options: Any) -> None:
        self.session = AsyncRemoteSession(Endpoint.at(url, **options))

    async def do(self, call: str, *arguments: Any, **options: Any) -> Any:
        return await getattr(self.session, call)(*arguments, **options)


Kind = type[Sync]


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("arrays", [False, True])
async def test_a_broken_connection_is_not_noticed(
    kind: Kind, scripted: Start, world: ExtendedWorld, moment: str, arrays: bool
) -> None:
    setattr(world, moment, Cuts("step", 1, 2, 5))
    client = kind(scripted(world.script).url, arrays=arrays)
    await client.do("reset", {"episode_id": "a", "seed": 3})
    for step in range(1, 6):
        result = await client.do("step", {"by": step})
        assert (result.step, result.episode_id, result.observation) == (step, "a", {"count": step})
    connection = client.session.connection
    assert connection is not None
    statistics = connection.statistics()
    assert (statistics.reconnects, statistics.owing, statistics.calls) == (3, 0, 6)
    assert world.sessions["s0"].executed == [1, 2, 3, 4, 5]
    assert [head.query for head in world.heads] == ["", *["session=none"] * 3]
    assert world.heads[1].headers["x-openenv-session"] == "s0"
    await client.do("close")
    assert world.sessions == {}, "a session that was resumed is closed, too"


async def test_an_idle_connection_that_broke(kind: Kind, scripted: Start, world: ExtendedWorld) -> None:
    server = scripted(world.script)
    client = kind(server.url)
    await client.do("reset", {})
    await client.do("step", {"by": 1})
    server.peers[0].link.shutdown(2)
    assert (await client.do("step", {"by": 2})).step == 2
    server.peers[1].link.shutdown(2)
    assert (await client.do("reset", {})).step == 0
    assert list(world.sessions) == ["s0"], "a reset, too, goes to the session that there was"
    await client.do("close")


async def test_close_ends_a_session_whose_connection_broke(
    kind: Kind, scripted: Start, world: ExtendedWorld
) -> None:
    server = scripted(world.script)
    client = kind(server.url)
    await client.do("reset", {})
    server.peers[0].link.shutdown(2)
    await client.notices()
    await client.do("close")
    await asyncio.to_thread(until, lambda: not world.sessions)


async def test_a_session_that_is_gone(kind: Kind, scripted: Start, world: ExtendedWorld) -> None:
    def breaks(peer: Peer, request: dict[str, Any]) -> None:
        if request["type"] == "step" and world.sessions["s0"].count == 3:
            world.sessions.clear()
            cut(peer)

    world.after = breaks
    client = kind(scripted(world.script).url)
    await client.do("reset", {"episode_id": "a"})
    for step in (1, 2):
        await client.do("step", {"by": step})
    with pytest.raises(SessionLost, match="at step 2") as caught:
        await client.do("step", {"by": 3})
    assert (caught.value.session, caught.value.episode, caught.value.step) == ("s0", "a", 2)
    with pytest.raises(SessionLost):
        await client.do("state")
    world.after = lambda peer, request: None
    assert (await client.do("reset", {"episode_id": "b"})).episode_id == "b"
    assert list(world.sessions) == ["s1"]
    await client.do("close")


async def test_a_reset_that_was_not_sent_goes_to_a_new_session(
    kind: Kind, scripted: Start, world: ExtendedWorld
) -> None:
    server = scripted(world.script)
    client = kind(server.url)
    await client.do("reset", {})
    world.sessions.clear()
    server.peers[0].link.shutdown(2)
    await client.notices()
    assert (await client.do("reset", {"episode_id": "b"})).episode_id == "b"
    assert list(world.sessions) == ["s1"]
    await client.do("close")


async def test_another_session_in_the_place_of_the_lost_one(
    kind: Kind, scripted: Start, world: ExtendedWorld
) -> None:
    """A server that mixes sessions up is found out before a step reaches the wrong one."""
    server = scripted(world.script)
    client = kind(server.url)
    await client.do("reset", {"episode_id": "a"})
    await client.do("step", {"by": 1})
    world.sessions["s0"].count = 0
    server.peers[0].link.shutdown(2)
    with pytest.raises(SessionLost):
        await client.do("step", {"by": 2})
    assert world.sessions["s0"].executed == [1]
    await client.do("close")


async def test_without_reconnect(kind: Kind, scripted: Start, world: ExtendedWorld) -> None:
    world.before = Cuts("step", 1)
    client = kind(scripted(world.script).url, reconnect=False)
    await client.do("reset", {})
    with pytest.raises(SessionLost):
        await client.do("step", {"by": 1})
    assert not any(request["type"] == "token" for request in world.seen)
    assert len(world.heads) == 1
    await client.do("close")


async def test_the_deadline_of_the_call_bounds_it(kind: Kind, scripted: Start, world: ExtendedWorld) -> None:
    server = scripted(world.script)
    client = kind(server.url)
    await client.do("reset", {})
    server.stop()
    began = time.monotonic()
    with pytest.raises(StepTimeoutError) as caught:
        await client.do("step", {"by": 1}, timeout_s=0.3)
    assert time.monotonic() - began < 8
    assert caught.value.session_fate == "needs_reset"
    await client.do("close")


@pytest.mark.parametrize("answer", ["plain", "refused", "silent"])
async def test_a_server_that_is_not_what_it_was(
    kind: Kind, scripted: Start, world: ExtendedWorld, answer: str
) -> None:
    def other(peer: Peer) -> None:
        peer.head()
        if answer == "plain":
            peer.accept()
            peer.request()
        elif answer == "refused":
            peer.raw(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        else:
            peer.request()

    server = scripted(world.script, other)
    client = kind(server.url, reconnect_timeout_s=0.4)
    await client.do("reset", {"episode_id": "a"})
    server.peers[0].link.shutdown(2)
    with pytest.raises(SessionLost) as caught:
        await client.do("step", {"by": 1})
    assert (caught.value.episode, caught.value.step) == ("a", 0)
    assert world.sessions["s0"].executed == []
    await client.do("close")


async def test_a_request_that_breaks_every_connection(
    kind: Kind, scripted: Start, world: ExtendedWorld
) -> None:
    world.before = Cuts("step", *range(100))
    client = kind(scripted(world.script).url)
    await client.do("reset", {})
    with pytest.raises(SessionLost, match="broke under one step"):
        await client.do("step", {"by": 1})
    await client.do("close")


async def test_a_message_that_is_too_big_is_not_sent_twice(
    kind: Kind, scripted: Start, world: ExtendedWorld
) -> None:
    def refuses(peer: Peer, request: dict[str, Any]) -> None:
        if request["type"] == "step":
            peer.close(1009, "too big")
            raise ConnectionError

    world.before = refuses
    client = kind(scripted(world.script).url)
    await client.do("reset", {})
    with pytest.raises(SessionLost, match="1009"):
        await client.do("step", {"by": 1})
    assert len(world.heads) == 1
    await client.do("close")


async def test_a_silent_connection_is_replaced(kind: Kind, scripted: Start, world: ExtendedWorld) -> None:
    silent: list[Peer] = []

    def falls_silent(peer: Peer, request: dict[str, Any]) -> None:
        if request["type"] == "step" and not silent:
            silent.append(peer)
            peer.link.recv(1 << 20)  # the client's question for a sign of life
            peer.link.recv(1 << 20)
            raise ConnectionError

    world.after = falls_silent
    client = kind(scripted(world.script).url, ping_interval_s=0.2, ping_timeout_s=0.2)
    await client.do("reset", {})
    assert (await client.do("step", {"by": 1})).step == 1
    assert world.sessions["s0"].executed == [1]
    await client.do("close")


async def test_a_frame_that_comes_twice(kind: Kind, scripted: Start, world: ExtendedWorld) -> None:
    server = scripted(world.script)

    def twice(peer: Peer, request: dict[str, Any]) -> None:
        if request["type"] in ("reset", "step"):
            peer.send(world.sessions["s0"].replies[request["id"]], request)

    world.after = twice
    client = kind(server.url)
    await client.do("reset", {})
    for step in range(1, 4):
        assert (await client.do("step", {"by": step})).step == step
    assert client.session.connection is not None
    assert client.session.connection.statistics().dropped >= 3
    await client.do("close")


@pytest.mark.parametrize("comes", [True, False])
async def test_a_first_reply_waits_for_the_token(
    kind: Kind, scripted: Start, world: ExtendedWorld, comes: bool
) -> None:
    """Whoever has seen an observation has a session that can be resumed."""

    def script(peer: Peer) -> None:
        peer.accept(extended=True)
        peer.knows_tokens = True
        own = world.open()
        token, reset = peer.request(), peer.request()
        peer.send(own.call(reset["id"], reset), reset)
        if comes:
            peer.send(world.opened(own, 30.0), token)
            peer.request()

    client = kind(scripted(script, world.script).url)
    if comes:
        assert (await client.do("reset", {})).step == 0
        assert (await client.do("step", {"by": 1})).step == 1
    else:
        with pytest.raises(SessionLost):
            await client.do("reset", {})
    await client.do("close")


async def test_a_session_lost_before_its_token_came(
    kind: Kind, scripted: Start, world: ExtendedWorld
) -> None:
    world.before = Cuts("token", 1)
    client = kind(scripted(world.script).url)
    with pytest.raises(SessionLost):
        await client.do("reset", {})
    assert (await client.do("reset", {})).step == 0
    await client.do("close")


async def test_an_asynchronous_call_that_is_cancelled_while_it_reconnects(
    scripted: Start, world: ExtendedWorld
) -> None:
    def deaf(peer: Peer) -> None:
        peer.head()
        peer.link.recv(1)

    world.before = Cuts("step", 1)
    server = scripted(world.script, deaf, world.script)
    session = AsyncRemoteSession(Endpoint.at(server.url))
    await session.reset({})
    step = asyncio.create_task(session.step({"by": 1}))
    await asyncio.to_thread(until, lambda: len(server.peers) == 2)
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step
    assert (await session.step({"by": 2})).step == 2
    assert world.sessions["s0"].executed == [1, 2], "the call that nobody waits for is made, once"
    await session.close()


def test_a_client_closed_by_another_thread_while_it_reconnects(scripted: Start, world: ExtendedWorld) -> None:
    import threading

    server = scripted(world.script)
    session = RemoteSession(Endpoint.at(server.url))
    session.reset({})
    server.stop()
    errors: list[OpenEnvError] = []

    def step() -> None:
        try:
            session.step({"by": 1})
        except OpenEnvError as error:
            errors.append(error)

    thread = threading.Thread(target=step)
    thread.start()
    connection = session.connection
    assert connection is not None
    until(lambda: not connection.connected)
    time.sleep(0.05)
    session.close()
    thread.join(10)
    assert not thread.is_alive()
    assert [type(error) for error in errors] == [SessionLost]
