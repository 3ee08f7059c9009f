from __future__ import annotations

import asyncio
import logging
import sys

import pytest
from tests.server.environments import Calculator, Guess, Looping, Napping, Published, Single
from tests.server.wire import Wire, runtime_of, until

from openenv.environment import describe
from openenv.errors import (
    ConcurrencyConfigurationError,
    EnvironmentFailedError,
    InvalidActionError,
    SessionCapacityError,
    SessionNotFoundError,
)
from openenv.server.mcp_door import McpDoor
from openenv.server.runtime import DEFAULT_MAX_SESSIONS, ServerRuntime


def test_slots_by_default() -> None:
    assert runtime_of(Guess).manager.max_sessions == DEFAULT_MAX_SESSIONS
    assert runtime_of(Single).manager.max_sessions == 1
    assert runtime_of(Guess, max_sessions=3).manager.max_sessions == 3


def test_more_slots_than_the_environment_allows_are_refused() -> None:
    with pytest.raises(ConcurrencyConfigurationError, match="Single"):
        runtime_of(Single, max_sessions=2)


def test_settings_come_from_the_process_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENENV_TOKEN", "from-process")
    assert ServerRuntime(describe(Guess)).authorize("GET", "/state", {}) is not None


def test_other_settings_may_come_before_the_first_session() -> None:
    runtime = runtime_of(Guess)
    runtime.configure(runtime.settings.replace(host="127.0.0.1", max_sessions=2))
    assert runtime.manager.max_sessions == 2
    assert runtime.authorize("GET", "/state", {"host": "evil.example"}) is not None
    assert runtime.authorize("GET", "/state", {"host": "localhost"}) is None


def test_refused_requests_are_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    runtime = runtime_of(Guess)
    with caplog.at_level(logging.WARNING, "openenv.server"):
        runtime.authorize("POST", "/step", {"origin": "https://evil.example"}, client="1.2.3.4")
    assert runtime.metrics.rejected.value("403") == 1
    assert caplog.records[-1].facts["client"] == "1.2.3.4"  # type: ignore[attr-defined]


async def test_doors_by_path() -> None:
    runtime = runtime_of(Calculator)
    assert isinstance(Wire(runtime, "/mcp").door, McpDoor)
    assert isinstance(Wire(runtime, "/prefix/mcp").door, McpDoor)
    assert not isinstance(Wire(runtime, "/ws").door, McpDoor)
    assert runtime.websocket_paths == {"/ws", "/mcp"}
    assert runtime.max_frame_bytes == 100 * 1024 * 1024


async def test_closing_an_unknown_session() -> None:
    runtime = runtime_of(Guess)
    with pytest.raises(SessionNotFoundError):
        await runtime.close_session("zz")
    with pytest.raises(SessionNotFoundError):
        runtime.close_soon("zz")


async def test_closing_soon() -> None:
    runtime = runtime_of(Guess)
    hosted = await runtime.open_session("http")
    assert runtime.close_soon(hosted.id)
    await until(lambda: runtime.manager.active == 0)
    async with Wire(runtime) as wire:
        assert not runtime.close_soon(wire.door.session.id)


# Consulting ------------------------------------------------------------------------------------------


async def test_consulting_asks_a_fresh_instance() -> None:
    runtime = runtime_of(Published)
    assert await runtime.consult("tasks", lambda env: env.num_tasks("train")) == 1
    assert runtime.manager.active == 0


async def test_consulting_a_full_server_asks_one_that_is_alive() -> None:
    runtime = runtime_of(Single, max_sessions=1)
    async with Wire(runtime) as wire:
        await wire.ask({"type": "reset"})
        await wire.ask({"type": "step", "data": {"by": 4}})
        metadata = await runtime.consult("metadata", runtime.spec.metadata)
        assert metadata.description == "at 4"
    assert runtime.manager.statistics().opened == 1


async def test_consulting_needs_some_instance() -> None:
    runtime = runtime_of(Napping, max_sessions=1, queue_timeout_s=0.02)
    async with Wire(runtime, extended=True) as wire:
        await wire.ask({"type": "reset"})
        await wire.ask({"type": "step", "data": {"seconds": 0.5}, "timeout_s": 0.02})
        with pytest.raises(SessionCapacityError):
            await runtime.consult("state", runtime.spec.read_state)


# Life ------------------------------------------------------------------------------------------------


async def test_draining_twice_is_draining_once() -> None:
    runtime = runtime_of(Guess)
    await runtime.open_session("http")
    await runtime.drain()
    await runtime.drain()
    assert runtime.draining
    assert runtime.manager.active == 0
    with pytest.raises(SessionCapacityError, match="shutting down"):
        await runtime.open_session("http")


async def test_a_stopped_server_may_start_again() -> None:
    runtime = runtime_of(Guess)
    runtime.start()
    await runtime.open_session("http")
    await runtime.stop()
    assert not runtime.home.known
    runtime.start()
    assert not runtime.draining
    await runtime.open_session("http")
    await runtime.stop()


def test_each_start_may_have_its_own_loop() -> None:
    runtime = runtime_of(Looping)

    async def live() -> None:
        runtime.start()
        async with Wire(runtime) as wire:
            assert (await wire.ask({"type": "reset"}))["type"] == "observation"
        await runtime.stop()

    asyncio.run(live())
    asyncio.run(live())


async def test_stopping_after_a_drain() -> None:
    runtime = runtime_of(Guess)
    runtime.start()
    await runtime.drain(0.1)
    await runtime.stop()
    assert not runtime.home.known


# Errors ----------------------------------------------------------------------------------------------


def test_errors_of_the_environment_lose_our_paths_and_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    runtime = runtime_of(Guess)
    error = EnvironmentFailedError(f"cannot read {sys.prefix}/lib/x.py", session="abcdefghij")
    error.__cause__ = OSError("cause")
    with caplog.at_level(logging.ERROR, "openenv.server"):
        shown = runtime.presentable(error)
    assert shown is error
    assert shown.message == "cannot read lib/x.py"
    assert "traceback" not in shown.data
    assert caplog.records[-1].exc_info is not None


def test_debug_keeps_everything() -> None:
    runtime = runtime_of(Guess, debug=True)
    error = EnvironmentFailedError(f"cannot read {sys.prefix}/lib/x.py")
    error.__cause__ = OSError("cause")
    shown = runtime.presentable(error)
    assert sys.prefix in shown.message
    assert "OSError: cause" in shown.data["traceback"]
    bare = runtime.presentable(EnvironmentFailedError("no cause"))
    assert "traceback" not in bare.data


def test_other_errors_are_left_alone() -> None:
    runtime = runtime_of(Guess)
    error = InvalidActionError("no")
    assert runtime.presentable(error) is error
    assert error.message == "no"


async def test_metrics_follow_the_sessions() -> None:
    runtime = runtime_of(Guess)
    async with Wire(runtime) as wire:
        await wire.ask({"type": "reset"})
        await wire.ask({"type": "step", "data": {"guess": 1}})
        await wire.ask({"type": "step", "data": {"guess": -1}})
        text = runtime.metrics.registry.render()
        assert "openenv_sessions_active 1\n" in text
        assert 'openenv_steps_total{outcome="ok"} 1\n' in text
        assert 'openenv_steps_total{outcome="env_error"} 1\n' in text
        assert 'openenv_resets_total{outcome="ok"} 1\n' in text
        assert "openenv_step_duration_seconds_count 2\n" in text
        assert 'openenv_received_bytes_total{door="ws"}' in text
        assert 'openenv_sent_bytes_total{door="ws"}' in text
