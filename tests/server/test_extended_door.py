"""Many sessions over one door, each of which outlives it."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ConfigDict
from tests.server.environments import Calculator, Guess, Looping, Napping
from tests.server.wire import Wire, runtime_of, until

from openenv import Action, Environment, Observation, State
from openenv.protocol.packing import pack
from openenv.server.batches import Batch
from openenv.server.contract import MAX_PENDING
from openenv.server.runtime import ServerRuntime
from openenv.session.replies import MOST_REPLIES

NONE = "session=none"


class Counting(Environment):
    """Counts its steps, which is how a step that ran twice is seen."""

    steps: int = 0

    def reset(self) -> str:
        self.steps = 0
        return "ready"

    def step(self, seconds: float = 0.0, size: int = 0) -> str:
        if seconds:
            time.sleep(seconds)
        self.steps += 1
        return f"{self.steps}" + "x" * size


class Inline(Counting, host="inline"):
    pass


class Sharded(Counting, host="shard"):
    pass


class Alone(Counting):
    REQUIRES_SINGLE_THREAD_EXECUTOR = True
    SUPPORTS_CONCURRENT_SESSIONS = True


class Bounded(Counting, step_timeout_s=20.0):
    pass


class Pixels(Action):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    pixels: np.ndarray  # type: ignore[type-arg]
    weights: list[float] = []


class Picture(Observation):
    pixels: Any = None


class Painting(Environment[Pixels, Picture, State]):
    def reset(self, level: Any = None) -> Picture:
        return Picture(pixels=np.zeros((2, 2), "u1"), metadata={"level": level})

    def step(self, action: Pixels) -> Picture:
        return Picture(pixels=action.pixels + 1, metadata={"weights": action.weights})

    @property
    def state(self) -> State:
        return State()


class Exiting(Environment, host="shard"):
    def step(self, how: str) -> str:
        if how == "exit":
            raise SystemExit(3)
        return how


@pytest.fixture(params=[False, True], ids=["json", "msgpack"])
def msgpack(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


class Client(Wire):
    """A connection without a session of its own that numbers its requests."""

    number = 0

    def __init__(self, runtime: ServerRuntime, *, msgpack: bool = False, query: str = NONE) -> None:
        super().__init__(runtime, query=query, extended=True, msgpack=msgpack)

    async def do(self, kind: str, session: str | None = None, **more: Any) -> Any:
        number = self.put(kind, session, **more)
        reply = await self.reply()
        assert reply["id"] == number, reply
        return reply

    def put(self, kind: str, session: str | None = None, **more: Any) -> int:
        number = more.pop("id", None)
        if number is None:
            number = self.number = self.number + 1
        named = {} if session is None else {"session": session}
        self.send({"type": kind, "id": number, **named, **more})
        return int(number)

    async def open(self, **data: Any) -> tuple[str, str]:
        reply = await self.do("open", **({"data": data} if data else {}))
        assert reply["type"] == "opened", reply
        return reply["data"]["session"], reply["data"]["token"]

    async def batch(self, *calls: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
        reply = await self.do("batch", data={"calls": list(calls)}, **more)
        assert reply["type"] == "batch", reply
        return list(reply["data"]["results"])


def step(session: str, **action: Any) -> dict[str, Any]:
    return {"session": session, "type": "step", "data": action}


def reset(session: str) -> dict[str, Any]:
    return {"session": session, "type": "reset"}


def said(result: dict[str, Any]) -> Any:
    return result["data"]["observation"]["result"]


async def test_many_sessions_over_one_connection(msgpack: bool) -> None:
    runtime = runtime_of(Counting)
    async with Client(runtime, msgpack=msgpack) as client:
        assert runtime.manager.active == 0
        sessions = [(await client.open())[0] for _ in range(3)]
        assert runtime.manager.active == 3
        for session in sessions:
            assert (await client.do("reset", session))["session"] == session
        for _ in range(2):
            await client.do("step", sessions[0], data={})
        assert (await client.do("state", sessions[0]))["data"]["step_count"] == 2
        assert (await client.do("state", sessions[1]))["data"]["step_count"] == 0
        reply = await client.do("close", sessions[0])
        assert reply["type"] == "closed"
        assert runtime.manager.active == 2
        reply = await client.do("step", sessions[0], data={})
        assert reply["data"]["code"] == "SESSION_LOST"
        assert (await client.do("ping"))["type"] == "pong"


async def test_without_a_session_of_its_own(msgpack: bool) -> None:
    async with Client(runtime_of(Counting), msgpack=msgpack) as client:
        for kind in ("reset", "token"):
            assert (await client.do(kind))["data"]["error"] == "SessionLost"
        client.send({"type": "close"})
        assert await asyncio.wait_for(client.closed, 10) == 1000


async def test_close_waits_for_what_is_under_way_and_ends_every_session(msgpack: bool) -> None:
    runtime = runtime_of(Counting)
    async with Client(runtime, msgpack=msgpack) as client:
        session, _ = await client.open()
        await client.do("reset", session)
        client.put("step", session, data={"seconds": 0.2})
        client.send({"type": "close"})
        client.send({"type": "ping"})
        assert said(await client.reply()) == "1"
        assert await asyncio.wait_for(client.closed, 10) == 1000
        assert client.frames.empty()
    assert runtime.manager.active == 0


@pytest.mark.parametrize("target", [Counting, Inline, Sharded, Alone, Bounded, Looping])
async def test_a_batch(msgpack: bool, target: Any) -> None:
    action = {"by": 1} if target is Looping else {}
    async with Client(runtime_of(target), msgpack=msgpack) as client:
        sessions = [(await client.open())[0] for _ in range(5)]
        for result in await client.batch(*map(reset, sessions)):
            assert said(result) == "ready"
            assert result["result"]["step"] == 0
        for turn in range(1, 4):
            results = await client.batch(*(step(session, **action) for session in sessions[turn:]))
            assert [said(result) for result in results] == [str(turn - max(0, 0))] + [str(turn)] * (4 - turn)
        states = await client.batch(*({"session": session, "type": "state"} for session in sessions))
        assert [state["data"]["step_count"] for state in states] == [0, 1, 2, 3, 3]
        assert await client.batch() == []
        results = await client.batch(*(step(session, **action) for session in sessions), timeout_s=20)
        if target in (Inline, Alone):
            assert {result["data"]["error"] for result in results} == {"UsageError"}
        else:
            assert [said(result) for result in results] == ["1", "2", "3", "4", "4"]
        assert client.door.pending == 0


async def test_an_answered_batch_is_freed_at_once(msgpack: bool) -> None:
    async with Client(runtime_of(Inline), msgpack=msgpack) as client:
        session, _ = await client.open()
        await client.batch(reset(session))

        def alive() -> int:
            return sum(type(one) is Batch for one in gc.get_objects())

        gc.collect()
        gc.disable()
        try:
            before = alive()
            for _ in range(5):
                await client.batch(step(session))
            assert alive() <= before
        finally:
            gc.enable()


async def test_one_failing_call_never_fails_the_batch(msgpack: bool) -> None:
    runtime = runtime_of(Counting)
    async with Client(runtime, msgpack=msgpack) as client:
        session, _ = await client.open()
        other, _ = await client.open()
        calls: list[Any] = [
            reset(session),
            step(other),
            reset(session),
            {"session": "nobody's", "type": "step", "data": {}},
            {"session": other, "type": "dance"},
            {"session": other, "type": ["step"]},
            {"session": other, "type": "step", "data": 5},
            {"type": "step"},
            {"session": [], "type": "step"},
            5,
        ]
        results = await client.batch(*calls)
        assert [result["type"] for result in results] == ["observation"] + ["error"] * 9
        codes = [result["data"]["code"] for result in results[1:]]
        assert codes == [
            "EXECUTION_ERROR",
            "VALIDATION_ERROR",
            "SESSION_LOST",
            "UNKNOWN_TYPE",
            "UNKNOWN_TYPE",
            *["VALIDATION_ERROR"] * 4,
        ]
        results = await client.batch(
            {"session": session, "type": "step"}, {"session": other, "type": "reset"}
        )
        assert results[0]["data"]["errors"][0]["loc"] == ["data"]
        assert said(results[1]) == "ready"
        for data in ({}, {"calls": 5}, {"calls": [0] * 70_000}):
            assert (await client.do("batch", data=data))["data"]["code"] == "VALIDATION_ERROR"
        assert (await client.do("batch"))["data"]["code"] == "VALIDATION_ERROR"


async def test_what_escapes_a_call_is_told_of(msgpack: bool) -> None:
    async with Client(runtime_of(Exiting), msgpack=msgpack) as client:
        session, _ = await client.open()
        other, _ = await client.open()
        await client.batch(reset(session), reset(other))
        results = await client.batch(step(session, how="exit"), step(other, how="fine"))
        assert results[0]["type"] == "error"
        assert said(results[1]) == "fine"


async def test_arrays_come_and_go_as_buffers() -> None:
    async with Client(runtime_of(Painting), msgpack=True) as client:
        session, _ = await client.open()
        await client.do("reset", session, data={"level": np.arange(2)})
        pixels = np.arange(6, dtype="u1").reshape(2, 3)
        reply = await client.do("step", session, data={"pixels": pixels, "weights": np.ones(2)})
        assert (reply["data"]["observation"]["pixels"] == pixels + 1).all()
        (result,) = await client.batch(step(session, pixels=pixels))
        assert result["data"]["observation"]["pixels"].dtype == np.uint8


async def test_lists_are_made_of_arrays_where_the_action_wants_them() -> None:
    class Listed(Environment):
        def step(self, weights: list[float]) -> float:
            return sum(weights)

    async with Client(runtime_of(Listed), msgpack=True) as client:
        session, _ = await client.open()
        await client.do("reset", session)
        assert said(await client.do("step", session, data={"weights": np.ones(3)})) == 3.0


async def test_a_frame_of_the_other_kind_is_refused(msgpack: bool) -> None:
    async with Client(runtime_of(Counting), msgpack=msgpack) as client:
        reply = await client.ask({"type": "ping", "id": 1}, binary=True)
        assert reply["data"]["code"] == "VALIDATION_ERROR"
        assert "id" not in reply


# Requests that come twice ------------------------------------------------------------------------------


async def test_a_request_that_comes_twice_runs_once(msgpack: bool) -> None:
    async with Client(runtime_of(Counting), msgpack=msgpack) as client:
        session, _ = await client.open()
        await client.do("reset", session)
        first = await client.do("step", session, data={}, id=7)
        assert await client.do("step", session, data={}, id=7) == first
        client.put("step", session, data={"seconds": 0.3}, id=8)
        client.put("step", session, data={"seconds": 0.3}, id=8)
        assert [said(await client.reply()) for _ in range(2)] == ["2", "2"]
        results = await client.batch(step(session), id=9)
        assert await client.batch(step(session), id=9) == results
        assert said(results[0]) == "3"
        (refused,) = await client.batch(step(session), id=6)
        assert refused["data"]["code"] == "REPLY_GONE"
        assert (await client.do("step", session, data={}, id=6))["data"]["code"] == "REPLY_GONE"
        assert said(await client.do("step", session, data={}, id=10)) == "4"


async def test_replies_are_kept_for_a_while(msgpack: bool) -> None:
    async with Client(runtime_of(Counting), msgpack=msgpack) as client:
        session, _ = await client.open()
        reset_id = (await client.do("reset", session))["id"]
        for _ in range(MOST_REPLIES):
            await client.do("step", session, data={})
        assert (await client.do("reset", session, id=reset_id))["data"]["code"] == "REPLY_GONE"
        again = await client.do("step", session, data={}, id=client.number)
        assert said(again) == str(MOST_REPLIES)


async def test_requests_without_an_id_run_each_time(msgpack: bool) -> None:
    async with Client(runtime_of(Counting), msgpack=msgpack) as client:
        session, _ = await client.open()
        await client.do("reset", session)
        for turn in ("1", "2"):
            client.send({"type": "step", "session": session, "data": {}})
            assert said(await client.reply()) == turn
        client.send({"type": "batch", "data": {"calls": [step(session)]}})
        assert said((await client.reply())["data"]["results"][0]) == "3"


# Connections that break --------------------------------------------------------------------------------


async def test_a_session_outlives_its_connection(msgpack: bool) -> None:
    runtime = runtime_of(Counting)
    async with Client(runtime, msgpack=msgpack) as client:
        session, token = await client.open()
        assert len(token) >= 43
        await client.do("reset", session, data={"episode_id": "first"})
        await client.do("step", session, data={})
        client.put("step", session, data={"seconds": 0.3}, id=77)
    assert runtime.manager.active == 1
    async with Client(runtime, msgpack=msgpack) as client:
        assert (await client.do("step", session, data={}))["data"]["code"] == "SESSION_LOST"
        resumed = await client.do("resume", data={"token": token, "last": 77}, id=78)
        assert resumed["type"] == "resumed"
        assert resumed["session"] == session
        facts = resumed["data"]
        assert (facts["session"], facts["token"], facts["last_id"]) == (session, token, 77)
        assert (facts["episode_id"], facts["status"]) == ("first", "running")
        assert facts["step_count"] in (1, 2)
        assert said(await client.do("step", session, data={"seconds": 0.3}, id=77)) == "2"
        assert said(await client.do("step", session, data={}, id=79)) == "3"
        again = await client.do("resume", data={"token": token, "last": 79}, id=80)
        assert again["data"]["step_count"] == 3


async def test_a_client_may_come_back_with_another_codec() -> None:
    runtime = runtime_of(Counting)
    async with Client(runtime) as client:
        session, token = await client.open()
        first = await client.do("reset", session)
    async with Client(runtime, msgpack=True) as client:
        await client.do("resume", data={"token": token}, id=50)
        assert await client.do("reset", session, id=first["id"]) == first
        second = await client.do("step", session, data={}, id=51)
        batched = await client.batch(step(session), id=52)
    async with Client(runtime) as client:
        await client.do("resume", data={"token": token}, id=60)
        assert await client.do("step", session, data={}, id=51) == second
        assert await client.batch(step(session), id=52) == batched


async def test_the_connections_own_session_can_be_resumed_once_it_has_a_token(msgpack: bool) -> None:
    runtime = runtime_of(Counting)
    async with Client(runtime, msgpack=msgpack, query="") as client:
        await client.do("reset")
    assert runtime.manager.active == 0
    async with Client(runtime, msgpack=msgpack, query="") as client:
        opened = await client.do("token")
        assert opened["type"] == "opened"
        assert opened["data"] == (await client.do("token"))["data"]
        await client.do("reset")
        assert said(await client.do("step", data={})) == "1"
    assert runtime.manager.active == 1
    session, token = opened["data"]["session"], opened["data"]["token"]
    async with Client(runtime, msgpack=msgpack) as client:
        client.number = 100
        await client.do("resume", data={"token": token})
        assert said(await client.do("step", session, data={})) == "2"


async def test_whoever_resumes_takes_over(msgpack: bool) -> None:
    runtime = runtime_of(Counting)
    async with Client(runtime, msgpack=msgpack, query="") as old, Client(runtime, msgpack=msgpack) as new:
        opened = (await old.do("token"))["data"]
        await old.do("reset")
        old.put("step", data={"seconds": 0.3}, id=50)
        resumed = await new.do("resume", data={"token": opened["token"]}, id=51)
        assert resumed["data"]["last_id"] == 50
        told = await old.reply()
        assert told == {"type": "notify", "session": opened["session"], "data": {"kind": "taken_over"}}
        assert said(await new.do("step", opened["session"], data={}, id=50)) == "1"
        assert said(await old.reply()) == "1"
        assert (await old.do("step", data={}, id=60))["data"]["error"] == "SessionLost"
        await old.door.lost()
        assert runtime.manager.active == 1
        assert said(await new.do("step", opened["session"], data={}, id=61)) == "2"


async def test_an_unknown_token_is_a_typed_loss(msgpack: bool) -> None:
    async with Client(runtime_of(Counting), msgpack=msgpack) as client:
        for token in ("", "x" * 43, "κ"):
            reply = await client.do("resume", data={"token": token})
            assert (reply["data"]["code"], reply["data"]["session_fate"]) == ("SESSION_LOST", "closed")
        for data in ({}, {"token": 5}):
            assert (await client.do("resume", data=data))["data"]["code"] == "VALIDATION_ERROR"
        assert (await client.do("resume"))["data"]["code"] == "VALIDATION_ERROR"


async def test_what_is_known_of_a_session_whose_lease_ran_out(msgpack: bool) -> None:
    runtime = runtime_of(Counting, lease_s=0.2)
    async with Client(runtime, msgpack=msgpack) as client:
        session, token = await client.open(lease_s=1000)
        await client.do("reset", session, data={"episode_id": "first"})
        await client.do("step", session, data={})
        await asyncio.sleep(0.5)  # while somebody holds it, the lease does not run
        assert said(await client.do("step", session, data={})) == "2"
    await until(lambda: runtime.manager.active == 0)
    async with Client(runtime, msgpack=msgpack) as client:
        for _ in range(2):
            lost = (await client.do("resume", data={"token": token}))["data"]
            assert lost["code"] == "SESSION_LOST"
            assert (lost["session"], lost["episode_id"], lost["step_count"]) == (session, "first", 2)
            assert (lost["episode"], lost["step"]) == ("first", 2)


async def test_leases(msgpack: bool) -> None:
    async with Client(runtime_of(Counting, lease_s=50), msgpack=msgpack) as client:
        assert (await client.do("open", data={"lease_s": 5}))["data"]["lease_s"] == 5
        assert (await client.do("open", data={"lease_s": 500}))["data"]["lease_s"] == 50
        assert (await client.do("open"))["data"]["lease_s"] == 50
        for lease in (0, "long", True):
            reply = await client.do("open", data={"lease_s": lease})
            assert reply["data"]["errors"][0]["loc"] == ["data", "lease_s"]


async def test_closed_sessions_are_remembered_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openenv.server.tenancy.MOST_GRAVES", 1)
    monkeypatch.setattr("openenv.server.tenancy._SLACK", 0)
    runtime = runtime_of(Counting)
    async with Client(runtime) as client:
        first, token = await client.open()
        await client.do("close", first)
        second, other = await client.open()
        await runtime.manager.close(second)  # as when somebody else ends it
        third, third_token = await client.open()
        assert (await client.do("resume", data={"token": other}))["data"]["session"] == second
        assert "session" not in (await client.do("resume", data={"token": token}))["data"]
        await runtime.manager.close(third)
        await client.open()
        assert (await client.do("resume", data={"token": third_token}))["data"]["session"] == third


async def test_a_full_server_says_so_and_keeps_the_connection(msgpack: bool) -> None:
    runtime = runtime_of(Counting, max_sessions=1, queue_size=0)
    async with Client(runtime, msgpack=msgpack) as client:
        session, _ = await client.open()
        assert (await client.do("open"))["data"]["code"] == "CAPACITY_REACHED"
        assert (await client.do("reset", session))["type"] == "observation"


async def test_a_connection_that_goes_while_it_opens_leaves_nothing() -> None:
    runtime = runtime_of(Counting)
    async with Client(runtime) as client:
        client.put("open")
    await until(lambda: runtime.manager.statistics().opened in (0, 1) and runtime.manager.active == 0)
    client = Client(runtime)
    await client.door.lost()
    client.door._ended = False  # as if the messages had been on their way
    client.put("resume", data={"token": "x"})
    wire = Wire(runtime, extended=True)
    await wire.door.lost()
    with pytest.raises(Exception, match="lost before"):
        await wire.door.open()


async def test_a_session_opened_elsewhere_is_attached_and_left_alone(msgpack: bool) -> None:
    runtime = runtime_of(Counting)
    hosted = await runtime.open_session("http")
    async with Client(runtime, msgpack=msgpack, query=f"session_id={hosted.id}") as client:
        await client.do("reset")
        with pytest.raises(Exception, match="already has"):
            await Client(runtime, query=f"session_id={hosted.id}").door.open()
    assert runtime.manager.active == 1


# The rest ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [Counting, Bounded])
async def test_cancel(msgpack: bool, target: Any) -> None:
    async with Client(runtime_of(target), msgpack=msgpack) as client:
        session, _ = await client.open()
        await client.do("reset", session)
        running = client.put("step", session, data={"seconds": 20})
        queued = client.put("step", session, data={})
        await asyncio.sleep(0.2)
        for number in (queued, running):
            reply = await client.do("cancel", data={"id": number})
            assert (reply["type"], reply["data"]) == ("cancelled", {"id": number, "cancelled": True})
            if number == running:
                break
        replies = {reply["id"]: reply["data"] for reply in [await client.reply() for _ in range(2)]}
        assert replies[running]["code"] == replies[queued]["code"] == "CANCELLED"
        assert replies[running]["session_fate"] == "needs_reset"
        assert (await client.do("cancel", data={"id": 9999}))["data"]["cancelled"] is False
        assert (await client.do("cancel", data={"id": "x"}))["data"]["code"] == "VALIDATION_ERROR"
        assert (await client.do("reset", session))["type"] == "observation"


async def test_cancel_a_batch(msgpack: bool) -> None:
    async with Client(runtime_of(Counting), msgpack=msgpack) as client:
        sessions = [(await client.open())[0] for _ in range(2)]
        await client.batch(*map(reset, sessions))
        number = client.put("batch", data={"calls": [step(sessions[0], seconds=20), step(sessions[1])]})
        await asyncio.sleep(0.3)
        assert (await client.do("cancel", data={"id": number}))["data"]["cancelled"]
        results = (await client.reply())["data"]["results"]
        assert results[0]["data"]["code"] == "CANCELLED"
        assert said(results[1]) == "1"


async def test_cancel_calls_of_a_batch_that_wait_for_their_turn() -> None:
    async with Client(runtime_of(Sharded)) as client:
        sessions = [(await client.open())[0] for _ in range(4)]
        await client.batch(*map(reset, sessions))
        number = client.put("batch", data={"calls": [step(session, seconds=0.6) for session in sessions]})
        await asyncio.sleep(0.2)
        assert (await client.do("cancel", data={"id": number}))["data"]["cancelled"]
        results = (await client.reply())["data"]["results"]
        assert {result["data"].get("code") for result in results} == {None, "CANCELLED"}


async def test_a_call_of_an_asynchronous_environment_is_not_cancelled_once_it_runs() -> None:
    async with Client(runtime_of(Looping)) as client:
        session, _ = await client.open()
        first = await client.do("reset", session)
        assert not (await client.do("cancel", data={"id": first["id"]}))["data"]["cancelled"]


async def test_a_deadline_is_one_of_the_call(msgpack: bool) -> None:
    async with Client(runtime_of(Napping), msgpack=msgpack) as client:
        sessions = [(await client.open())[0] for _ in range(2)]
        await client.batch(*map(reset, sessions))
        results = await client.batch(
            step(sessions[0], seconds=20), step(sessions[1], seconds=0), timeout_s=0.3
        )
        assert results[0]["data"]["outcome"] == "timeout"
        assert said(results[1]) == "awake"


async def test_the_end_of_the_server_is_announced(msgpack: bool) -> None:
    runtime = runtime_of(Counting)
    async with Client(runtime, msgpack=msgpack) as client, Wire(runtime) as plain:
        await runtime.drain(1)
        assert await client.reply() == {"type": "notify", "data": {"kind": "drain", "timeout_s": 1}}
        assert await asyncio.wait_for(client.closed, 10) == 1001
        assert plain.frames.empty()


async def test_a_session_that_is_killed(msgpack: bool) -> None:
    runtime = runtime_of(Counting)
    async with Client(runtime, msgpack=msgpack, query="") as client, Wire(runtime) as plain:
        session, token = await client.open()
        await client.do("reset", session, data={"episode_id": "first"})
        await runtime.kill_session(session)
        told = await client.reply()
        assert (told["type"], told["session"], told["data"]["kind"]) == ("notify", session, "lost")
        assert (await client.do("step", session, data={}))["data"]["code"] == "SESSION_LOST"
        assert (await client.do("resume", data={"token": token}))["data"]["episode_id"] == "first"
        await runtime.kill_session((await client.do("token"))["data"]["session"])
        assert await asyncio.wait_for(client.closed, 10) == 1001
        assert not plain.closed.done()
    await until(lambda: runtime.manager.active == 0)


async def test_production_has_tools_only(msgpack: bool) -> None:
    runtime = runtime_of(Calculator, mode="production")
    async with Client(runtime, msgpack=msgpack, query="") as client:
        for kind in ("reset", "open", "token", "resume", "batch", "cancel"):
            assert (await client.do(kind))["data"]["code"] == "UNKNOWN_TYPE"
        call: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
        call["params"] = {"name": "add", "arguments": {"a": 1, "b": 2}}
        reply = await client.do("mcp", data=call)
        assert reply["data"]["result"]["data"] == 3
        assert (await client.do("mcp"))["data"]["code"] == "VALIDATION_ERROR"
        assert (await client.do("ping"))["type"] == "pong"


async def test_replies_of_a_session_keep_their_order(msgpack: bool) -> None:
    async with Client(runtime_of(Counting), msgpack=msgpack) as client:
        sessions = [(await client.open())[0] for _ in range(3)]
        await client.batch(*map(reset, sessions))
        for _ in range(50):
            for session in sessions:
                client.put("step", session, data={})
        seen: dict[str, list[str]] = {session: [] for session in sessions}
        for _ in range(150):
            reply = await client.reply()
            seen[reply["session"]].append(said(reply))
        assert all(steps == [str(turn) for turn in range(1, 51)] for steps in seen.values())


async def test_the_transport_is_told_when_the_door_has_caught_up() -> None:
    async with Client(runtime_of(Counting)) as client:
        session, _ = await client.open()
        await client.do("reset", session)
        told = asyncio.Event()
        loop = asyncio.get_running_loop()
        client.put("step", session, data={"seconds": 0.3})
        for _ in range(MAX_PENDING + 5):
            client.put("step", session, data={})
        assert client.door.pending > MAX_PENDING
        client.door.on_drained = lambda: loop.call_soon_threadsafe(told.set)
        await asyncio.wait_for(told.wait(), 20)


# Whatever is sent --------------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats() | st.text(max_size=8)
NAMES = st.sampled_from(["$0", "$1", "nobody's"])
KINDS = st.sampled_from("reset step state mcp batch open resume token cancel ping dance close".split())
VALUES = st.recursive(
    SCALARS | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
CALL = st.fixed_dictionaries({"session": NAMES, "type": KINDS}, optional={"data": VALUES}) | VALUES
DATA = VALUES | st.fixed_dictionaries(
    {}, optional={"calls": st.lists(CALL, max_size=4), "id": VALUES, "token": VALUES, "lease_s": VALUES}
)
MESSAGE = (
    st.fixed_dictionaries(
        {"type": KINDS},
        optional={"data": DATA, "id": st.integers(0, 40) | VALUES, "session": NAMES, "timeout_s": VALUES},
    )
    | VALUES
)


def _with_sessions(value: Any, sessions: list[str]) -> Any:
    if isinstance(value, dict):
        return {key: _with_sessions(item, sessions) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_sessions(item, sessions) for item in value]
    return {"$0": sessions[0], "$1": sessions[1]}.get(value, value) if isinstance(value, str) else value


def _is_farewell(message: Any) -> bool:
    return isinstance(message, dict) and message.get("type") == "close" and "session" not in message


@pytest.fixture
def served() -> ServerRuntime:
    return runtime_of(Guess, max_sessions=1000)


@settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
@given(messages=st.lists(MESSAGE, max_size=10), binary=st.booleans(), raw=st.binary(max_size=40))
def test_every_message_is_answered(
    served: ServerRuntime, messages: list[Any], binary: bool, raw: bytes
) -> None:
    async def converse() -> None:
        async with Client(served, msgpack=binary) as client:
            sessions = [(await client.open())[0] for _ in range(2)]
            sent = [m for m in messages if not _is_farewell(m)]
            for message in sent:
                named = _with_sessions(message, sessions)
                client.send(pack(named) if binary else json.dumps(named).encode())
            client.door.receive(raw, binary)
            for _ in range(len(sent) + 1):
                reply = await client.reply()
                assert reply["type"] in {
                    *("observation", "state", "mcp", "error", "batch"),
                    *("opened", "resumed", "cancelled", "closed", "pong"),
                }
            assert client.door.pending == 0
            client.send({"type": "close"})
            assert await asyncio.wait_for(client.closed, 20) == 1000

    asyncio.run(converse())
