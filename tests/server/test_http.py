from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.server.environments import (
    Broken,
    Guess,
    Looping,
    MoveAction,
    MoveObservation,
    MoveState,
    Napping,
    Published,
    Single,
)
from tests.server.wire import runtime_of

from openenv.environment import describe
from openenv.server.app import create_fastapi_app, make_app
from openenv.server.http import call
from openenv.server.settings import ServerSettings

TYPED = {"detail", "message", "code", "error", "outcome", "retryable", "session_fate"}


def client_of(target: Any, **settings: Any) -> TestClient:
    return TestClient(make_app(target, ServerSettings(**settings)))


def published(cls: type = Published, most: int | None = 8) -> TestClient:
    return TestClient(
        create_fastapi_app(cls, MoveAction, MoveObservation, max_concurrent_envs=most, state_cls=MoveState)
    )


@pytest.fixture
def client() -> Iterator[TestClient]:
    with client_of(Guess) as client:
        yield client


def step(client: TestClient, **action: Any) -> Any:
    return client.post("/step", json={"action": action})


# An episode ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [Guess, Looping])
@pytest.mark.parametrize("lifespan", [True, False])
def test_a_session_lasts_from_call_to_call(target: Any, lifespan: bool) -> None:
    client = client_of(target)
    if lifespan:
        with client:
            _episode(client, target)
    else:
        _episode(client, target)


def _episode(client: TestClient, target: Any) -> None:
    action = {"guess": 1} if target is Guess else {"by": 1}
    first = client.post("/reset", json={"seed": 5, "episode_id": "e1"})
    assert first.status_code == 200
    assert set(first.json()) == {"observation", "reward", "done", "metadata"}
    assert first.headers["x-openenv-seed"] == "5"
    assert first.headers["x-openenv-episode"] == "e1"
    for number in (1, 2):
        reply = step(client, **action)
        assert reply.status_code == 200
        assert reply.headers["x-openenv-step"] == str(number)
        assert reply.headers["x-openenv-outcome"] == "ok"
        assert reply.headers["x-openenv-session"] == first.headers["x-openenv-session"]
    assert client.get("/state").json()["step_count"] == 2


def test_the_end_of_an_episode(client: TestClient) -> None:
    client.post("/reset")
    won = step(client, guess=42)
    assert won.json()["reward"] == 1.0
    assert won.json()["done"] is True
    assert won.headers["x-openenv-status"] == "terminated"
    late = step(client, guess=1)
    assert late.status_code == 409
    assert set(late.json()) >= TYPED
    assert client.post("/reset").status_code == 200
    assert step(client, guess=1).status_code == 200


def test_two_clients_have_their_own_sessions() -> None:
    app = make_app(Guess, ServerSettings())
    with TestClient(app) as first:
        second = TestClient(app)
        first.post("/reset")
        second.post("/reset")
        step(first, guess=1)
        step(first, guess=2)
        step(second, guess=3)
        assert first.get("/state").json()["guesses"] == 2
        assert second.get("/state").json()["guesses"] == 1


def test_a_session_is_named_by_header_or_query(client: TestClient) -> None:
    name = client.post("/reset").headers["x-openenv-session"]
    client.cookies.clear()
    other = client.post("/reset").headers["x-openenv-session"]
    client.cookies.clear()
    assert other != name
    assert step(client, guess=1).status_code == 409
    assert "X-OpenEnv-Session" in step(client, guess=1).json()["detail"]
    body = {"action": {"guess": 1}}
    assert client.post("/step", json=body, headers={"X-OpenEnv-Session": name}).status_code == 200
    client.cookies.clear()
    assert client.post(f"/step?session_id={other}", json=body).status_code == 200
    client.cookies.clear()
    gone = client.post("/step", json=body, headers={"X-OpenEnv-Session": "zz"})
    assert gone.status_code == 404
    assert gone.json()["detail"] == "Unknown session_id: zz"


def test_the_cookie_is_for_this_server_only(client: TestClient) -> None:
    cookie = client.post("/reset").headers["set-cookie"]
    assert cookie.startswith("openenv_")
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    other = client_of(Guess).post("/reset").headers["set-cookie"]
    assert cookie.partition("=")[0] != other.partition("=")[0]


def test_closing(client: TestClient) -> None:
    assert client.post("/close").status_code == 409
    name = client.post("/reset").headers["x-openenv-session"]
    assert client.post("/close").json() == {"session_id": name, "closed": True}
    assert client.app.state.openenv.manager.active == 0  # type: ignore[attr-defined]
    assert step(client, guess=1).status_code == 409


def test_a_lease_runs_out() -> None:
    with client_of(Guess, lease_s=0.05) as client:
        client.post("/reset")
        until = time.monotonic() + 5
        while client.app.state.openenv.manager.active and time.monotonic() < until:  # type: ignore[attr-defined]
            time.sleep(0.02)
        gone = step(client, guess=1)
        assert gone.status_code == 404
        client.cookies.clear()
        assert "is gone" in step(client, guess=1).json()["detail"]


# Errors ----------------------------------------------------------------------------------------------


def test_nothing_to_step_before_a_reset(client: TestClient) -> None:
    for reply in (step(client, guess=1), client.get("/state")):
        assert reply.status_code == 409
        assert "POST /reset first" in reply.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "kind", "loc"),
    [
        ("/reset", "{", "json_invalid", ["body", 1]),
        ("/reset", "[]", "model_attributes_type", ["body"]),
        ("/reset", "null", "model_attributes_type", ["body"]),
        ("/reset", '{"seed":-1}', "greater_than_equal", ["body", "seed"]),
        ("/reset", '{"seed":"a"}', "int_parsing", ["body", "seed"]),
        ("/reset", "[" * 100_000, "json_invalid", ["body", 0]),
        ("/reset", b"\xff", "json_invalid", ["body", 0]),
        ("/reset", '{"low":"x"}', "int_parsing", ["low"]),
        ("/step", "", "missing", ["body"]),
        ("/step", "{}", "missing", ["body", "action"]),
        ("/step", '{"action":5}', "dict_type", ["body", "action"]),
        ("/step", '{"action":{},"timeout_s":0}', "greater_than", ["body", "timeout_s"]),
        ("/step", '{"action":{}}', "missing", ["guess"]),
        ("/step", '{"action":{"guess":NaN}}', "finite_number", ["guess"]),
        ("/step", '{"action":{"guess":1,"x":NaN}}', "extra_forbidden", ["x"]),
    ],
)
def test_invalid_bodies_are_listed(
    client: TestClient, path: str, body: Any, kind: str, loc: list[Any]
) -> None:
    client.post("/reset")
    reply = client.post(path, content=body)
    assert reply.status_code == 422, reply.text
    issue = reply.json()["detail"][0]
    assert (issue["type"], issue["loc"]) == (kind, loc)
    assert reply.headers["x-openenv-outcome"] == "invalid_action"
    assert step(client, guess=1).status_code == 200


def test_a_large_body_is_not_quoted_whole(client: TestClient) -> None:
    client.post("/reset")
    for body in ({"action": "x" * 2_000_000}, {"action": {"guess": "x" * 2_000_000}}, {"y": "x" * 2_000_000}):
        reply = client.post("/step", json=body)
        assert reply.status_code == 422
        assert len(reply.content) < 100_000


def test_the_content_type_does_not_matter(client: TestClient) -> None:
    assert client.post("/reset", content="{}", headers={"content-type": "text/plain"}).status_code == 200
    assert client.post("/step", content='{"action":{"guess":1}}').status_code == 200


def test_a_failing_environment_is_a_500_with_its_words(client: TestClient) -> None:
    client.post("/reset")
    reply = step(client, guess=-1)
    assert reply.status_code == 500
    body = reply.json()
    assert body["detail"] == "negative"
    assert body["exception"] == "ValueError"
    assert body["outcome"] == "env_error"
    assert "traceback" not in body
    assert reply.headers["x-openenv-session"]
    assert step(client, guess=1).status_code == 200


def test_debug_sends_the_traceback() -> None:
    with client_of(Guess, debug=True) as client:
        client.post("/reset")
        assert "in step" in step(client, guess=-1).json()["traceback"]


def test_a_deadline_is_a_504() -> None:
    with client_of(Napping) as client:
        client.post("/reset", json={"timeout_s": 5})
        started = time.monotonic()
        reply = client.post("/step", json={"action": {"seconds": 20}, "timeout_s": 0.1})
        assert time.monotonic() - started < 5
        assert reply.status_code == 504
        assert reply.json()["session_fate"] == "needs_reset"
        assert step(client, seconds=0).status_code == 409
        assert client.post("/reset").status_code == 200


def test_a_full_server_is_a_503_that_says_when_to_come_back() -> None:
    with client_of(Guess, max_sessions=1, queue_timeout_s=0.02) as client:
        name = client.post("/reset").headers["x-openenv-session"]
        client.post("/reset", headers={"X-OpenEnv-Session": name})
        client.cookies.clear()
        reply = client.post("/reset")
        assert reply.status_code == 503
        assert int(reply.headers["retry-after"]) >= 1
        assert reply.json()["max_sessions"] == 1


def test_a_broken_constructor_is_a_500_that_says_why() -> None:
    with client_of(Broken) as client:
        reply = client.post("/reset")
        assert reply.status_code == 500
        assert reply.json()["detail"].endswith("ValueError: no engine")


def test_header_values_are_always_legal(client: TestClient) -> None:
    name = "é\r\nX-Evil: 1 ✓"
    reply = client.post("/reset", json={"episode_id": name})
    assert reply.status_code == 200
    assert reply.headers["x-openenv-episode"] == "%C3%A9%0D%0AX-Evil: 1 %E2%9C%93"
    assert "x-evil" not in reply.headers


def test_a_serializer_that_breaks_is_answered(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> bytes:
        raise TypeError("no codec")

    client.post("/reset")
    monkeypatch.setattr("openenv.server.http._result_body", fail)
    reply = step(client, guess=1)
    assert reply.status_code == 500
    assert reply.json()["detail"] == "Internal error of the server (TypeError)"


# The published form ----------------------------------------------------------------------------------


def test_published_environments_may_be_stepped_at_once() -> None:
    with published() as client:
        reply = step(client, by=3)
        assert reply.json() == {
            "observation": {"metadata": {}, "at": 3, "extra": None},
            "reward": 3.0,
            "done": False,
            "metadata": None,
        }
        assert step(client, by=3).json()["observation"]["at"] == 6


def test_published_state_without_a_session_is_that_of_a_fresh_environment() -> None:
    with published() as client:
        assert client.get("/state").json() == {"episode_id": None, "step_count": 0, "at": 0}
        assert client.app.state.openenv.manager.active == 0  # type: ignore[attr-defined]


def test_published_options_and_extras_reach_the_environment() -> None:
    with published() as client:
        reply = client.post("/reset", json={"seed": 1, "episode_id": "e", "level": 3})
        assert reply.json()["metadata"] == {"level": 3}
        body = {"action": {"by": 1}, "request_id": "r", "more": 1, "timeout_s": 5}
        reply = client.post("/step", json=body)
        assert reply.json()["observation"]["extra"] == {"request_id": "r", "more": 1}


def test_a_validator_that_raises_is_a_422() -> None:
    with published() as client:
        client.post("/reset")
        reply = step(client, by=101)
        assert reply.status_code == 422
        assert "too far" in reply.json()["detail"][0]["msg"]
        assert step(client, by=1).status_code == 200


def test_http_and_websocket_share_one_slot_without_a_quarrel() -> None:
    with published(Single, None) as client:
        assert client.post("/reset").status_code == 200
        client.cookies.clear()
        with client.websocket_connect("/ws") as socket:
            socket.send_json({"type": "reset"})
            assert socket.receive_json()["type"] == "observation"
        gone = step(client, by=1)
        assert gone.status_code == 409
        assert "newcomer" in gone.json()["detail"]


def test_awkward_observations_reach_the_client() -> None:
    import numpy as np

    class Awkward(Published):
        def step(self, action: MoveAction, **kwargs: Any) -> MoveObservation:  # type: ignore[override]
            extra = {"array": np.arange(2), "nan": float("nan"), "raw": b"\xff", "set": {1}}
            return MoveObservation(extra=extra, reward=float("inf"))

    with published(Awkward) as client:
        reply = step(client, by=1)
        assert reply.status_code == 200
        assert reply.json()["observation"]["extra"] == {
            "array": [0, 1],
            "nan": None,
            "raw": {"$bytes": "/w=="},
            "set": [1],
        }
        assert reply.json()["reward"] is None


def test_the_schema_of_the_session_is_the_described_one() -> None:
    assert describe(Guess).requires_reset


async def test_a_caller_that_leaves_disturbs_nobody() -> None:
    runtime = runtime_of(Napping)
    hosted = await runtime.open_session("http")
    await hosted.acall("reset")

    def nap() -> Any:
        return "step", {"action": {"seconds": 0.1}}

    leaving = asyncio.create_task(call(runtime, hosted, nap, lambda result: result))
    await asyncio.sleep(0.02)
    leaving.cancel()
    await asyncio.wait({leaving})
    assert (await hosted.acall("state")).step_count == 1
    await runtime.drain()
