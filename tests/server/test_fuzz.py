"""Whatever a client sends, it gets a reply, and its session goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.server.environments import Calculator, Guess, Looping, MoveAction, MoveObservation, Published
from tests.server.wire import Wire, runtime_of

from openenv.environment import describe
from openenv.errors import OpenEnvError
from openenv.protocol.wire_errors import error_from_payload
from openenv.server.app import create_fastapi_app, make_app
from openenv.server.runtime import ServerRuntime
from openenv.server.settings import ServerSettings

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["step", "reset", "state", "mcp", "guess", "1", "NaN", "call_tool", "\ud800", "\x00"]),
)
KEYS = st.one_of(
    st.sampled_from(["type", "data", "id", "timeout_s", "guess", "seed", "episode_id", "low", "metadata"]),
    st.text(max_size=8),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
KINDS = st.sampled_from(["reset", "step", "state", "mcp", "reset", "step"])
MESSAGES = st.one_of(
    st.fixed_dictionaries({"type": KINDS}, optional={"data": VALUES, "id": VALUES, "timeout_s": VALUES}),
    st.fixed_dictionaries(
        {"type": KINDS, "data": st.dictionaries(KEYS, SCALARS, max_size=4)},
        optional={"id": st.integers(), "timeout_s": st.floats(0.5, 5)},
    ),
    VALUES,
)
RAW = st.one_of(
    MESSAGES.map(lambda message: json.dumps(message).encode()),
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")),
    st.sampled_from([b"[" * 50_000, b'{"type":"step","data":{"guess":1e999}}', b"\xef\xbb\xbf{}", b"nul"]),
)
FRAMES = st.lists(st.tuples(RAW, st.booleans()), min_size=1, max_size=12)
RPC = st.fixed_dictionaries(
    {
        "jsonrpc": st.sampled_from(["2.0", "2.0", "1.0"]),
        "method": st.sampled_from(
            ["tools/list", "tools/call", "openenv/session/create", "openenv/session/close", "x"]
        ),
    },
    optional={
        "id": VALUES,
        "params": VALUES
        | st.fixed_dictionaries(
            {"name": st.sampled_from(["add", "fail", "nope"]) | VALUES},
            optional={
                "arguments": st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES, max_size=3) | VALUES
            },
        ),
    },
)
CALM = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def published() -> ServerRuntime:
    spec = describe(Published, action_type=MoveAction, observation_type=MoveObservation, requires_reset=False)
    return ServerRuntime(spec, ServerSettings())


async def converse(runtime: ServerRuntime, frames: list[tuple[bytes, bool]], *, extended: bool) -> None:
    async with Wire(runtime, extended=extended) as wire:
        for raw, binary in frames:
            wire.send(raw, binary=binary)
        for _ in frames:
            reply = await wire.reply()
            assert reply["type"] in {"observation", "state", "mcp", "error"}
            if reply["type"] == "error":
                assert isinstance(error_from_payload(reply["data"]), OpenEnvError)
                assert reply["data"]["session_fate"] == "alive"
        assert wire.door.pending == 0
        assert (await wire.ask({"type": "reset"}))["type"] in {"observation"}
        assert not wire.closed.done()


def hangs_up(raw: bytes) -> bool:
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return isinstance(message, dict) and message.get("type") == "close"


@pytest.mark.parametrize("extended", [False, True])
@CALM
@given(FRAMES)
def test_any_frame_is_answered(extended: bool, frames: list[tuple[bytes, bool]]) -> None:
    frames = [frame for frame in frames if not hangs_up(frame[0])]
    for runtime in (runtime_of(Guess), published(), runtime_of(Looping)):
        asyncio.run(converse(runtime, frames, extended=extended))


@CALM
@given(st.lists(RAW | RPC.map(lambda message: json.dumps(message).encode()), min_size=1, max_size=12))
def test_any_json_rpc_is_answered(texts: list[bytes]) -> None:
    async def talk() -> None:
        async with Wire(runtime_of(Calculator), "/mcp") as wire:
            for text in texts:
                wire.send(text)
            for _ in texts:
                reply = await wire.reply()
                assert reply["jsonrpc"] == "2.0"
                assert ("result" in reply) != ("error" in reply)
            listed = await wire.ask({"jsonrpc": "2.0", "method": "tools/list"})
            assert len(listed["result"]["tools"]) == 4

    asyncio.run(talk())


@pytest.fixture(scope="module", params=["native", "published"])
def client(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    if request.param == "native":
        app = make_app(Guess, ServerSettings())
    else:
        app = create_fastapi_app(Published, MoveAction, MoveObservation, max_concurrent_envs=4)
    with TestClient(app, raise_server_exceptions=True) as client:
        yield client


@CALM
@given(body=RAW | st.fixed_dictionaries({"action": VALUES}).map(lambda body: json.dumps(body).encode()))
@pytest.mark.parametrize("path", ["/reset", "/step", "/mcp", "/guess/tasks", "/published/task"])
def test_any_body_is_answered(client: TestClient, path: str, body: bytes) -> None:
    reply = client.post(path, content=body)
    assert reply.status_code in {200, 400, 404, 409, 422, 500, 501}
    answer: dict[str, Any] = reply.json()
    if reply.status_code == 500:
        assert answer["outcome"] == "env_error"
    assert client.post("/reset").status_code == 200
