from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.server.environments import Guess, Napping
from tests.server.wire import Wire, runtime_of

from openenv.errors import OrderError, SessionCapacityError, SessionNotFoundError
from openenv.server import http_sessions
from openenv.server.http_sessions import Caller, HttpSessions, Naming, read_caller
from openenv.server.runtime import ServerRuntime

CURL = Caller(address="1.1.1.1")
STRANGER = Caller(address="2.2.2.2")


def named(session_id: str, naming: Naming = Naming.EXPLICITLY, address: str = "1.1.1.1") -> Caller:
    return Caller(session_id, naming, address)


async def reset(runtime: ServerRuntime, caller: Caller) -> Any:
    hosted = await runtime.http.find_or_open(caller)
    runtime.http.remember(hosted, caller)
    await hosted.acall("reset")
    return hosted


# Reading the caller ----------------------------------------------------------------------------------


def test_header_query_and_cookie_name_a_session() -> None:
    def read(headers: dict[str, str], query: str = "") -> tuple[str | None, Naming]:
        caller = read_caller(headers, query, None, "openenv_x")
        return caller.session_id, caller.naming

    cookie = {"cookie": "other=1; openenv_x=c"}
    assert read({"x-openenv-session": "h", **cookie}, "session_id=q") == ("h", Naming.EXPLICITLY)
    assert read(cookie, "session_id=q") == ("q", Naming.EXPLICITLY)
    assert read(cookie) == ("c", Naming.COOKIE)
    assert read({"cookie": "openenv_y=c"}) == (None, Naming.NEVER)
    assert read({"cookie": "openenv_x="}) == (None, Naming.NEVER)
    assert read({"cookie": "\x00;=;;["}) == (None, Naming.NEVER)
    assert read({"cookie": "(odd,=1; openenv_x=c; openenv_x"}) == ("c", Naming.COOKIE)
    assert read({}) == (None, Naming.NEVER)


def test_connections_are_told_apart_only_where_that_means_something() -> None:
    direct = read_caller({}, "", ("1.1.1.1", 5), "c")
    assert (direct.address, direct.connection) == ("1.1.1.1", ("1.1.1.1", 5))
    test_client = read_caller({}, "", ("testclient", 50000), "c")
    assert (test_client.address, test_client.connection) == ("testclient", None)
    behind = read_caller({"x-forwarded-for": "9.9.9.9"}, "", ("10.0.0.1", 5), "c")
    assert (behind.address, behind.connection) == ("10.0.0.1 for 9.9.9.9", None)
    assert read_caller({}, "", None, "c") == Caller()


# Finding ---------------------------------------------------------------------------------------------


async def test_the_only_session_of_an_address_needs_no_name() -> None:
    runtime = runtime_of(Guess)
    hosted = await reset(runtime, CURL)
    assert runtime.http.find(CURL) is hosted
    assert runtime.http.find(STRANGER) is None
    await runtime.drain()


async def test_of_two_one_must_be_named() -> None:
    runtime = runtime_of(Guess)
    first, second = await reset(runtime, CURL), await reset(runtime, CURL)
    assert first is not second
    with pytest.raises(OrderError, match="X-OpenEnv-Session"):
        runtime.http.find(CURL)
    assert runtime.http.find(named(first.id)) is first
    await runtime.drain()


async def test_a_connection_means_its_own_last_reset() -> None:
    runtime = runtime_of(Guess)
    here, there = (
        Caller(address="1.1.1.1", connection=("1.1.1.1", 1)),
        Caller(None, Naming.NEVER, "1.1.1.1", ("1.1.1.1", 2)),
    )
    first, second = await reset(runtime, here), await reset(runtime, there)
    assert runtime.http.find(here) is first
    assert runtime.http.find(there) is second
    third = await reset(runtime, here)
    assert runtime.http.find(here) is third
    await runtime.drain()


async def test_a_named_session_that_is_gone_is_not_found() -> None:
    runtime = runtime_of(Guess)
    with pytest.raises(SessionNotFoundError):
        runtime.http.find(named("zz"))
    with pytest.raises(SessionNotFoundError):
        await runtime.http.find_or_open(named("zz"))
    opened = await runtime.http.find_or_open(named("zz", Naming.COOKIE))
    assert opened.id != "zz"
    await runtime.drain()


async def test_a_reset_by_name_stays_in_its_session() -> None:
    runtime = runtime_of(Guess)
    hosted = await reset(runtime, CURL)
    assert await reset(runtime, named(hosted.id, Naming.COOKIE)) is hosted
    assert await reset(runtime, named(hosted.id)) is hosted
    await runtime.drain()


async def test_a_session_of_another_door_can_be_named() -> None:
    runtime = runtime_of(Guess)
    hosted = await runtime.open_session("mcp")
    assert runtime.http.find(named(hosted.id)) is hosted
    await runtime.drain()


async def test_a_lost_session_is_not_silently_replaced() -> None:
    runtime = runtime_of(Guess)
    hosted = await reset(runtime, CURL)
    await runtime.manager.close(hosted.id)
    with pytest.raises(OrderError, match="is gone"):
        runtime.http.find(CURL)
    fresh = await reset(runtime, CURL)
    assert runtime.http.find(CURL) is fresh
    await runtime.drain()


async def test_an_older_session_does_not_stand_in_for_a_lost_one() -> None:
    runtime = runtime_of(Guess)
    await reset(runtime, CURL)
    second = await reset(runtime, CURL)
    await runtime.manager.close(second.id)
    with pytest.raises(OrderError, match="is gone"):
        runtime.http.find(CURL)
    await runtime.drain()


async def test_a_session_closed_by_its_client_is_forgotten() -> None:
    runtime = runtime_of(Guess)
    hosted = await reset(runtime, CURL)
    assert await runtime.close_session(hosted.id)
    assert runtime.http.find(CURL) is None
    await runtime.drain()


async def test_an_ended_episode_leaves_its_session_to_the_next_reset() -> None:
    runtime = runtime_of(Guess)
    hosted = await reset(runtime, CURL)
    await hosted.acall("step", action={"guess": 42})
    assert await reset(runtime, CURL) is hosted
    await hosted.acall("step", action={"guess": 42})
    runtime.http.find(named(hosted.id, Naming.COOKIE))
    assert await reset(runtime, CURL) is not hosted
    await runtime.drain()


# Room ------------------------------------------------------------------------------------------------


async def test_a_session_that_nobody_named_gives_way_to_the_same_address() -> None:
    runtime = runtime_of(Guess, max_sessions=1, queue_timeout_s=0.05)
    first = await reset(runtime, CURL)
    second = await reset(runtime, CURL)
    assert second.id != first.id
    with pytest.raises(SessionNotFoundError):
        runtime.manager.get(first.id)
    async with Wire(runtime, client="1.1.1.1"):
        with pytest.raises(OrderError, match="is gone"):
            runtime.http.find(CURL)


async def test_a_stranger_waits_until_it_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = runtime_of(Guess, max_sessions=1, queue_timeout_s=0.05)
    hosted = await reset(runtime, CURL)
    with pytest.raises(SessionCapacityError):
        await reset(runtime, STRANGER)
    monkeypatch.setattr(http_sessions, "SILENCE_S", 0.0)
    await asyncio.sleep(0.01)
    assert await reset(runtime, STRANGER) is not hosted
    await runtime.drain()


async def test_a_named_session_keeps_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_sessions, "SILENCE_S", 0.0)
    runtime = runtime_of(Guess, max_sessions=1, queue_timeout_s=0.05)
    hosted = await reset(runtime, CURL)
    runtime.http.find(named(hosted.id, Naming.COOKIE))
    with pytest.raises(SessionCapacityError):
        await reset(runtime, STRANGER)
    runtime.http.find(named(hosted.id))
    with pytest.raises(SessionCapacityError):
        await reset(runtime, CURL)
    await runtime.drain()


async def test_a_session_at_work_or_attached_keeps_its_slot() -> None:
    runtime = runtime_of(Napping, max_sessions=1, queue_timeout_s=0.02)
    hosted = await reset(runtime, CURL)
    running = hosted.call("step", action={"seconds": 0.2})
    with pytest.raises(SessionCapacityError):
        await reset(runtime, CURL)
    running.result(5)
    async with Wire(runtime, query=f"session_id={hosted.id}"):
        with pytest.raises(SessionCapacityError):
            await reset(runtime, CURL)
    await runtime.drain()


async def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_sessions, "_MEMORY", 1)
    runtime = runtime_of(Guess, max_sessions=2)
    sessions: HttpSessions = runtime.http
    for number in range(6):
        caller = Caller(address=f"3.3.3.{number}")
        hosted = await reset(runtime, caller)
        await runtime.manager.close(hosted.id)
    assert len(sessions._entries) == 3
    await runtime.drain()


async def test_sessions_that_other_processes_lost_are_remembered() -> None:
    runtime = runtime_of(Guess, max_sessions=2)
    told: list[tuple[str, str | None]] = []
    runtime.http.on_remember = lambda session, address: told.append((session, address))
    runtime.http.bury("abc-w1", "1.1.1.1")
    with pytest.raises(OrderError, match="gone"):
        runtime.http.find(CURL)
    assert runtime.http.find(STRANGER) is None
    hosted = await reset(runtime, CURL)
    assert set(told) == {(hosted.id, "1.1.1.1")}
    assert runtime.http.find(CURL) is hosted
    await runtime.drain()
