from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from tests.server.environments import Broken, Calculator, Guess, Looping, Napping
from tests.server.wire import Wire, runtime_of, until

from openenv.environment import describe
from openenv.errors import (
    EnvironmentFactoryError,
    SessionCapacityError,
    SessionCreationError,
    SessionLost,
    SessionNotFoundError,
)
from openenv.server.contract import MAX_PENDING
from openenv.server.runtime import ServerRuntime
from openenv.server.settings import ServerSettings

RESET = {"type": "reset", "data": {"seed": 1}}


@pytest.mark.parametrize("target", [Guess, Looping])
async def test_an_episode(target: Any) -> None:
    async with Wire(runtime_of(target)) as wire:
        assert (await wire.ask(RESET))["type"] == "observation"
        action = {"guess": 1} if target is Guess else {"by": 1}
        reply = await wire.ask({"type": "step", "data": action})
        assert set(reply) == {"type", "data"}
        assert reply["data"]["done"] is False
        state = await wire.ask({"type": "state"})
        assert state["type"] == "state"
        assert state["data"]["step_count"] == 1


async def test_a_session_ends_with_its_socket() -> None:
    runtime = runtime_of(Guess)
    async with Wire(runtime):
        assert runtime.manager.active == 1
    assert runtime.manager.active == 0


async def test_close_closes_without_a_reply() -> None:
    async with Wire(runtime_of(Guess)) as wire:
        wire.send({"type": "close"})
        assert await asyncio.wait_for(wire.closed, 5) == 1000
        wire.send(RESET)
        assert wire.frames.empty()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"{", "INVALID_JSON"),
        (b"", "INVALID_JSON"),
        (b"\xff", "INVALID_JSON"),
        (b"[" * 100_000, "INVALID_JSON"),
        ([], "VALIDATION_ERROR"),
        (5, "VALIDATION_ERROR"),
        (None, "VALIDATION_ERROR"),
        ({"type": "dance"}, "UNKNOWN_TYPE"),
        ({}, "UNKNOWN_TYPE"),
        ({"type": "step", "data": 5}, "VALIDATION_ERROR"),
        ({"type": "step", "data": {"guess": 1}, "timeout_s": 3}, "VALIDATION_ERROR"),
        ({"type": "step", "data": {"guess": "x"}}, "VALIDATION_ERROR"),
        ({"type": "step", "data": {}}, "VALIDATION_ERROR"),
        ({"type": "step", "data": {"guess": 1, "more": 2}}, "VALIDATION_ERROR"),
        ({"type": "step", "data": {"guess": -1}}, "EXECUTION_ERROR"),
        ({"type": "reset", "data": {"seed": "x"}}, "VALIDATION_ERROR"),
        ({"type": "reset", "data": {"low": "x"}}, "VALIDATION_ERROR"),
    ],
)
async def test_every_error_is_typed_and_leaves_the_session_alive(message: Any, code: str) -> None:
    async with Wire(runtime_of(Guess)) as wire:
        await wire.ask(RESET)
        reply = await wire.ask(message)
        assert reply["type"] == "error"
        assert reply["data"]["code"] == code
        assert reply["data"]["session_fate"] == "alive"
        assert (await wire.ask({"type": "step", "data": {"guess": 1}}))["type"] == "observation"


async def test_a_binary_frame_is_an_error_of_its_own() -> None:
    async with Wire(runtime_of(Guess)) as wire:
        reply = await wire.ask(RESET, binary=True)
        assert reply["data"]["code"] == "VALIDATION_ERROR"
        assert (await wire.ask(RESET))["type"] == "observation"


async def test_order_is_guarded() -> None:
    async with Wire(runtime_of(Guess)) as wire:
        assert "reset() first" in (await wire.ask({"type": "step", "data": {"guess": 1}}))["data"]["message"]
        await wire.ask(RESET)
        assert (await wire.ask({"type": "step", "data": {"guess": 42}}))["data"]["done"]
        assert (await wire.ask({"type": "step", "data": {"guess": 1}}))["data"]["error"] == "OrderError"
        assert (await wire.ask(RESET))["type"] == "observation"


async def test_replies_keep_the_order_of_the_messages() -> None:
    async with Wire(runtime_of(Guess)) as wire:
        wire.send(RESET)
        for guess in range(200):
            wire.send({"type": "step", "data": {"guess": guess % 40} if guess % 3 else {}})
        assert (await wire.reply())["type"] == "observation"
        kinds = [(await wire.reply())["type"] for _ in range(200)]
        assert kinds == ["observation" if guess % 3 else "error" for guess in range(200)]
        assert wire.door.pending == 0


async def test_a_passed_deadline_is_answered_in_its_turn() -> None:
    async with Wire(runtime_of(Napping), extended=True) as wire:
        await wire.ask({**RESET, "id": 0})
        started = time.monotonic()
        wire.send({"type": "step", "data": {"seconds": 20}, "id": 1, "timeout_s": 0.1})
        for number in range(2, 20):
            wire.send({"type": "state", "id": number})
        replies = [await wire.reply() for _ in range(1, 20)]
        assert time.monotonic() - started < 5
        assert [reply["id"] for reply in replies] == list(range(1, 20))
        assert replies[0]["data"]["outcome"] == "timeout"
        assert replies[0]["data"]["session_fate"] == "needs_reset"
        assert (await wire.ask({**RESET, "id": 20}))["type"] == "observation"


async def test_the_extended_protocol_says_more() -> None:
    async with Wire(runtime_of(Guess), extended=True) as wire:
        reply = await wire.ask({**RESET, "id": 7})
        assert reply["id"] == 7
        assert reply["result"]["seed"] == 1
        reply = await wire.ask({"type": "step", "data": {"guess": 1}, "id": 8, "timeout_s": 5})
        assert reply["result"] == {
            "outcome": "ok",
            "status": "running",
            "reason": None,
            "components": {},
            "seed": 1,
            "episode_id": reply["result"]["episode_id"],
            "step": 1,
        }
        assert (await wire.ask({"type": "state", "id": 9}))["id"] == 9
        assert (await wire.ask({"type": "step", "data": {}, "id": 10}))["id"] == 10
        assert (await wire.ask({"type": "step", "id": 11, "timeout_s": -1}))["id"] == 11


async def test_the_transport_is_told_when_the_door_has_caught_up() -> None:
    async with Wire(runtime_of(Napping)) as wire:
        await wire.ask(RESET)
        told: list[int] = []
        wire.send({"type": "step", "data": {"seconds": 0.1}})
        for _ in range(MAX_PENDING + 4):
            wire.send({"type": "state"})
        assert wire.door.pending > MAX_PENDING
        wire.door.on_drained = lambda: told.append(wire.door.pending)
        for _ in range(MAX_PENDING + 5):
            await wire.reply()
        assert told
        assert max(told) <= MAX_PENDING


async def test_tools_inside_frames() -> None:
    def rpc(method: str, **params: Any) -> dict[str, Any]:
        return {"type": "mcp", "data": {"jsonrpc": "2.0", "id": 3, "method": method, "params": params}}

    async with Wire(runtime_of(Calculator)) as wire:
        listed = await wire.ask(rpc("tools/list"))
        assert listed["type"] == "mcp"
        assert [one["name"] for one in listed["data"]["result"]["tools"]] == ["add", "fail", "nap", "finish"]
        early = await wire.ask(rpc("tools/call", name="add", arguments={"a": 1, "b": 2}))
        assert early["data"]["error"]["data"]["error"] == "OrderError"
        await wire.ask(RESET)
        called = await wire.ask(rpc("tools/call", name="add", arguments={"a": 1, "b": 2}))
        assert called["data"]["result"]["data"] == 3
        assert (await wire.ask({"type": "state"}))["data"]["step_count"] == 1
        own = (await wire.ask(rpc("openenv/session/create")))["data"]["result"]["session_id"]
        refused = await wire.ask(rpc("openenv/session/close", session_id=own))
        assert refused["data"]["error"]["code"] == -32600
        broken = await wire.ask({"type": "mcp", "data": {"method": 5}})
        assert broken["data"]["error"]["code"] == -32600
        assert broken["data"]["error"]["data"] is None


async def test_production_has_tools_only() -> None:
    async with Wire(runtime_of(Calculator, mode="production"), extended=True) as wire:
        for kind in ("reset", "step", "state"):
            reply = await wire.ask({"type": kind, "data": {}, "id": 4})
            assert reply["data"]["code"] == "UNKNOWN_TYPE"
            assert reply["id"] == 4
        unknown = (await wire.ask({"type": "dance", "data": {}, "id": 4}))["data"]
        assert unknown["code"] == "UNKNOWN_TYPE"
        assert unknown["message"] == "Unknown message type: dance (one of close, mcp, ping)"
        call = {
            "jsonrpc": "2.0",
            "method": "tools/call",
            "params": {"name": "add", "arguments": {"a": 1, "b": 1}},
        }
        reply = await wire.ask({"type": "mcp", "data": call, "id": 5})
        assert reply["data"]["result"]["data"] == 2


# Opening and losing ----------------------------------------------------------------------------------


async def test_a_full_server_refuses_after_the_queue() -> None:
    runtime = runtime_of(Guess, max_sessions=1, queue_timeout_s=0.05)
    async with Wire(runtime):
        with pytest.raises(SessionCapacityError):
            await Wire(runtime).door.open()
    assert runtime.metrics.refused.value("CAPACITY_REACHED") == 1


async def test_a_waiting_socket_gets_the_next_slot() -> None:
    runtime = runtime_of(Guess, max_sessions=1, queue_timeout_s=5)
    first, second = Wire(runtime), Wire(runtime)
    await first.door.open()
    waiting = asyncio.create_task(second.door.open())
    await asyncio.sleep(0.02)
    await first.door.lost()
    await waiting
    assert (await second.ask(RESET))["type"] == "observation"
    await second.door.lost()


async def test_a_socket_lost_while_waiting_leaves_the_queue() -> None:
    runtime = runtime_of(Guess, max_sessions=1, queue_timeout_s=30)
    async with Wire(runtime):
        wire = Wire(runtime)
        opening = asyncio.create_task(wire.door.open())
        await asyncio.sleep(0.02)
        await wire.door.lost()
        with pytest.raises(SessionLost):
            await opening
        assert runtime.manager.statistics().queued == 0
        with pytest.raises(SessionLost):
            await wire.door.open()


async def test_a_socket_lost_while_waiting_elsewhere_leaves_the_queue() -> None:
    runtime = ServerRuntime(describe(Guess), ServerSettings(max_sessions=1, queue_timeout_s=30))
    async with Wire(runtime):
        wire = Wire(runtime)
        opening = asyncio.create_task(wire.door.open())
        await until(lambda: runtime.manager.statistics().queued == 1)
        await wire.door.lost()
        with pytest.raises(SessionLost):
            await opening
        await until(lambda: runtime.manager.statistics().queued == 0)
    runtime.home.leave()


async def test_a_session_that_comes_too_late_is_closed() -> None:
    runtime = runtime_of(Guess)
    wire = Wire(runtime)
    wire.door.gone = True
    with pytest.raises(SessionLost):
        await runtime.open_attached("ws", wire.door)
    assert runtime.manager.active == 0
    hosted = await runtime.open_session("mcp")
    with pytest.raises(SessionLost):
        await runtime.attach(hosted.id, wire.door)
    assert hosted.attached == 0
    await runtime.drain()


async def test_a_deadline_beyond_all_clocks_stops_no_other() -> None:
    async with (
        Wire(runtime_of(Napping), extended=True) as wire,
        Wire(runtime_of(Napping), extended=True) as other,
    ):
        await wire.ask(RESET)
        await other.ask(RESET)
        for timeout in ("1e300", "Infinity"):
            wire.send(b'{"type":"step","data":{"seconds":0.3},"id":1,"timeout_s":%s}' % timeout.encode())
            await asyncio.sleep(0.1)
            reply = await other.ask({"type": "step", "data": {"seconds": 20}, "id": 1, "timeout_s": 0.05})
            assert reply["data"]["outcome"] == "timeout"
            assert (await wire.reply())["type"] == "observation"
            await other.ask({**RESET, "id": 2})


async def test_an_opening_that_its_transport_cancels_is_cancelled() -> None:
    runtime = runtime_of(Guess, max_sessions=1, queue_timeout_s=30)
    async with Wire(runtime):
        wire = Wire(runtime)
        opening = asyncio.create_task(wire.door.open())
        await asyncio.sleep(0.02)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await wire.door.lost()
        assert runtime.manager.statistics().queued == 0


async def test_a_broken_constructor_says_why() -> None:
    with pytest.raises(EnvironmentFactoryError) as caught:
        await Wire(runtime_of(Broken)).door.open()
    assert caught.value.message.endswith("ValueError: no engine")
    assert caught.value.data["factory_name"] == "Broken"


async def test_a_door_never_opened_can_be_lost_and_ignores_messages() -> None:
    wire = Wire(runtime_of(Guess))
    wire.send(RESET)
    assert wire.door.pending == 0
    with pytest.raises(SessionLost):
        _ = wire.door.session
    await wire.door.lost()


async def test_attaching() -> None:
    runtime = runtime_of(Guess)
    hosted = await runtime.open_session("mcp")
    async with Wire(runtime, query=f"session_id={hosted.id}") as wire:
        await wire.ask(RESET)
        with pytest.raises(SessionCreationError, match="already has an attached WebSocket"):
            await Wire(runtime, query=f"session_id={hosted.id}").door.open()
    assert runtime.manager.active == 1
    async with Wire(runtime, query=f"session_id={hosted.id}") as wire:
        assert (await wire.ask({"type": "step", "data": {"guess": 1}}))["type"] == "observation"
        assert not await runtime.close_session(hosted.id)
        assert runtime.manager.active == 1
    assert runtime.manager.active == 0
    with pytest.raises(SessionNotFoundError):
        await Wire(runtime, query=f"session_id={hosted.id}").door.open()


async def test_losing_a_socket_in_the_middle_of_a_step_closes_the_session_after_it() -> None:
    runtime = runtime_of(Napping)
    wire = Wire(runtime)
    await wire.door.open()
    await wire.ask(RESET)
    wire.send({"type": "step", "data": {"seconds": 0.1}})
    await wire.door.lost()
    assert runtime.manager.active == 0
    assert wire.frames.empty()


async def test_a_drained_server_closes_its_sockets_after_the_running_step() -> None:
    runtime = runtime_of(Napping)
    async with Wire(runtime) as wire:
        await wire.ask(RESET)
        wire.send({"type": "step", "data": {"seconds": 0.1}})
        await runtime.drain(5)
        assert (await wire.reply())["type"] == "observation"
        assert await wire.closed == 1001
        wire.door.end(1000, "once is enough")
        with pytest.raises(SessionCapacityError, match="shutting down"):
            await Wire(runtime).door.open()


class Sour(Guess):
    """Its message cannot be encoded."""


async def test_a_mistake_of_ours_is_answered_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> bytes:
        raise TypeError("no codec")

    async with Wire(ServerRuntime(describe(Sour), ServerSettings())) as wire:
        await wire.ask(RESET)
        monkeypatch.setattr("openenv.server.door.encode_result", fail)
        reply = await wire.ask({"type": "step", "data": {"guess": 1}})
        assert reply["data"]["message"] == "Internal error of the server (TypeError)"
        assert reply["data"]["session_fate"] == "alive"
        monkeypatch.undo()
        assert (await wire.ask({"type": "step", "data": {"guess": 1}}))["type"] == "observation"
