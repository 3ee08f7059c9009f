from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.server.environments import Broken, Calculator
from tests.server.wire import Wire, runtime_of

from openenv.errors import SessionLost


def call(method: str, /, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


async def test_an_agent_lists_and_calls_without_any_reset() -> None:
    async with Wire(runtime_of(Calculator), "/mcp") as wire:
        listed = await wire.ask(call("tools/list"))
        assert len(listed["result"]["tools"]) == 4
        called = await wire.ask(call("tools/call", name="add", arguments={"a": 1, "b": 2}))
        assert called["result"]["data"] == 3
        failed = await wire.ask(call("tools/call", name="fail"))
        assert failed["error"]["code"] == -32603
        assert failed["error"]["message"] == "Error calling tool 'fail': broken tool"
        unknown = await wire.ask(call("tools/call", name="nope"))
        assert "nope" in unknown["error"]["message"]
        wrong = await wire.ask(call("tools/call", name="add", arguments={"a": "x", "b": 2}))
        assert wrong["error"]["code"] == -32603


async def test_after_the_end_there_is_nothing_to_call() -> None:
    async with Wire(runtime_of(Calculator), "/mcp") as wire:
        assert (await wire.ask(call("tools/call", name="finish")))["result"]["data"] == "over"
        late = await wire.ask(call("tools/call", name="add", arguments={"a": 1, "b": 2}))
        assert late["error"]["data"]["error"] == "OrderError"


@pytest.mark.parametrize(
    ("text", "code"), [(b"{", -32700), (b"[]", -32600), (b"5", -32600), (b"\xff", -32700)]
)
async def test_anything_else_is_answered_and_the_session_lives(text: bytes, code: int) -> None:
    async with Wire(runtime_of(Calculator), "/mcp") as wire:
        assert (await wire.ask(text))["error"]["code"] == code
        assert "result" in await wire.ask(call("tools/list"))


async def test_json_has_the_published_spaces() -> None:
    async with Wire(runtime_of(Calculator), "/mcp") as wire:
        wire.send(call("openenv/session/create"))
        frame = await wire.frames.get()
        assert frame == b'{"jsonrpc": "2.0", "id": 1, "result": {"session_id": "%s"}}' % (
            wire.door.session.id.encode()
        )


async def test_a_full_server_says_so_in_json_rpc() -> None:
    runtime = runtime_of(Calculator, max_sessions=1, queue_timeout_s=0.05)
    async with Wire(runtime), Wire(runtime, "/mcp") as wire:
        told = await wire.reply()
        assert told["error"]["code"] == -32000
        assert told["error"]["data"] == {"active_sessions": 1, "max_sessions": 1}
        assert await wire.closed == 1013


async def test_a_broken_environment_says_so_in_json_rpc() -> None:
    async with Wire(runtime_of(Broken), "/mcp") as wire:
        told = await wire.reply()
        assert told["error"]["code"] == -32000
        assert told["error"]["data"] == {"factory_name": "Broken"}
        assert await wire.closed == 1000


async def test_nothing_is_said_to_a_socket_that_is_gone() -> None:
    runtime = runtime_of(Calculator, max_sessions=1, queue_timeout_s=30)
    async with Wire(runtime):
        wire = Wire(runtime, "/mcp")
        opening = asyncio.create_task(wire.door.open())
        await asyncio.sleep(0.02)
        await wire.door.lost()
        with pytest.raises(SessionLost):
            await opening
        assert wire.frames.empty()
