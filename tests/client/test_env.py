"""`Env` over an environment in this process and over a server: the same loop, the same results."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.client.environments import FAILS, HANGS, Broken, Guess, Slow, Toolbox, played_by, schema_of
from tests.client.scripted import Peer, Script, ScriptedServer, environment, until

from openenv import Environment, StepResult
from openenv.client.async_env import connect
from openenv.client.env import Env, make_remote
from openenv.environment import describe
from openenv.errors import (
    EnvironmentFactoryError,
    EnvironmentFailedError,
    InvalidActionError,
    OrderError,
    SessionLost,
    StepTimeoutError,
    TargetError,
    ToolCallError,
    UsageError,
)
from openenv.types import StepOutcome

Start = Callable[..., ScriptedServer]


@pytest.fixture(params=["embedded", "thread", "remote"])
def make(request: pytest.FixtureRequest, scripted: Start) -> Callable[..., Env[Any, Any, Any]]:
    def build(target: type = Guess, **options: Any) -> Env[Any, Any, Any]:
        if request.param == "remote":
            script = environment(schema_of(target), played_by(target), metadata={"name": "guess", "new": 1})
            return make_remote(scripted(script).url, **options)
        host = "thread" if request.param == "thread" else None
        return Env.embedded(describe(target), host=host, **options)  # type: ignore[arg-type]

    return build


def test_the_literal_loop(make: Callable[..., Env[Any, Any, Any]]) -> None:
    env, wins = make(), 0
    for _episode in range(10):
        observation = env.reset()
        assert observation.result == "1 to 9"
        for _t in range(100):
            action = env.action_space.sample()
            observation, reward, done, info = env.step(action)
            assert observation.done == done
            assert info["step"] == _t + 1
            if done:
                wins += reward == 1.0
                break
    env.close()


def test_equal_seeds_give_equal_episodes_everywhere(make: Callable[..., Env[Any, Any, Any]]) -> None:
    def episode(env: Env[Any, Any, Any]) -> list[Any]:
        env.reset(seed=11)
        env.action_space.seed(5)
        return [(str(o), r, d) for o, r, d, _ in (env.step(guess=n) for n in (3, 4))]

    with make() as one, Env.embedded(describe(Guess)) as other:
        assert episode(one) == episode(other)
        assert one.seed == 11


def test_every_way_to_write_an_action(make: Callable[..., Env[Any, Any, Any]]) -> None:
    with make() as env:
        env.reset(seed=1)
        for result in (env.step(0), env.step({"guess": 0}), env.step(guess=0)):
            assert result.observation.result == "higher"
        assert env.last is not None
        assert env.last.step == 3
        with pytest.raises(UsageError):
            env.step({"guess": 0}, guess=0)
        for wrong in ({"guess": "x"}, {}, {"guess": 1, "more": 2}):
            with pytest.raises(InvalidActionError) as caught:
                env.step(wrong)
            assert caught.value.errors
        assert env.step(0).step == 4


def test_reset_options_state_and_metadata(make: Callable[..., Env[Any, Any, Any]]) -> None:
    with make() as env:
        assert env.reset(seed=3, episode_id="mine", top=4).result == "1 to 4"
        assert env.episode_id == "mine"
        env.step(0)
        state = env.state()
        assert (state.guesses, state.step_count) == (1, 1)
        assert not hasattr(state, "number")
        assert env.metadata.name == "guess"
        assert set(env.schema) >= {"action", "observation", "state"}
        assert env.action_space is env.action_space
        assert env.action_space.contains({"guess": 1})


def test_order_is_kept(make: Callable[..., Env[Any, Any, Any]]) -> None:
    env = make()
    for guess in _until_won(env):
        assert guess
    with pytest.raises(OrderError, match="reset"):
        env.step(1)
    assert env.reset(seed=1)
    env.close()
    env.close()
    for call in (lambda: env.step(1), lambda: env.state(), lambda: env.reset()):
        with pytest.raises(OrderError):
            call()


def _until_won(env: Env[Any, Any, Any]) -> list[int]:
    env.reset(seed=1)
    for guess in range(1, 10):
        if env.step(guess).done:
            return [guess]
    raise AssertionError("the number was not among them")


def test_tools(make: Callable[..., Env[Any, Any, Any]]) -> None:
    with make(Toolbox) as env:
        env.reset()
        assert [one.name for one in env.list_tools()] == ["add", "fail"]
        assert env.call_tool("add", a=2) == 3
        assert env.last is not None
        assert env.last.step == 1
        for name, arguments, kind in (
            ("fail", {}, "execution_error"),
            ("nothing", {}, "tool_not_found"),
            ("add", {"a": "x"}, "invalid_args"),
        ):
            with pytest.raises(ToolCallError) as caught:
                env.call_tool(name, **arguments)
            assert (caught.value.tool, caught.value.error_type) == (name, kind)
            assert caught.value.outcome is StepOutcome.TOOL_ERROR
        action = env.action_space.sample()
        assert (action if isinstance(action, dict) else action.model_dump())["tool_name"] in {"add", "fail"}


def test_an_asynchronous_environment_works_from_synchronous_code() -> None:
    before = threading.active_count()
    with Env.embedded(describe(Slow)) as env:
        assert env.reset().result == "ready"
        assert env.step("abc").observation.result == "cba"
        assert env.state() is not None
    until(lambda: threading.active_count() <= before)


async def test_env_works_inside_a_running_loop(make: Callable[..., Env[Any, Any, Any]]) -> None:
    with make() as env:
        env.reset(seed=1)
        assert env.step(0).observation.result == "higher"
    with Env.embedded(describe(Slow)) as slow:
        slow.reset()
        assert slow.step("ab").observation.result == "ba"


def test_the_environments_own_failure(make: Callable[..., Env[Any, Any, Any]]) -> None:
    env = Env.embedded(describe(Guess))
    env.reset(seed=1)
    with pytest.raises(EnvironmentFailedError, match="negative") as caught:
        env.step(FAILS)
    assert isinstance(caught.value.__cause__, ValueError)
    assert env.step(0).observation.result == "higher"
    env.close()


def test_a_constructor_that_raises() -> None:
    for host in ("inline", "thread"):
        with pytest.raises(EnvironmentFactoryError, match="no licence"):
            Env.embedded(describe(Broken), host=host)


@pytest.mark.parametrize("how", ["limits", "call"])
def test_a_deadline_stops_an_embedded_step(how: str) -> None:
    options: dict[str, Any] = {"timeout_s": 0.2} if how == "limits" else {"host": "thread"}
    call: dict[str, Any] = {} if how == "limits" else {"timeout_s": 0.2}
    env = Env.embedded(describe(Guess), **options)
    env.reset(seed=1)
    began = time.monotonic()
    with pytest.raises(StepTimeoutError):
        env.step(HANGS, **call)
    assert time.monotonic() - began < 0.5
    with pytest.raises(OrderError):
        env.step(1)
    assert env.reset(seed=1)
    assert env.step(0).observation.result == "higher"
    env.close()


def test_a_deadline_inline_is_refused_with_advice() -> None:
    with Env.embedded(describe(Guess)) as env:
        env.reset()
        with pytest.raises(UsageError, match="host='thread'"):
            env.step(1, timeout_s=1.0)


def test_hosts_that_do_not_exist() -> None:
    with pytest.raises(UsageError, match="host"):
        Env.embedded(describe(Guess), host="cloud")  # type: ignore[arg-type]


def test_threads_share_an_embedded_environment() -> None:
    class Tally(Environment):
        count: int = 0

        def step(self, by: int) -> int:
            before = self.count
            time.sleep(0.0001)
            self.count = before + by
            return self.count

    for host in ("inline", "thread"):
        env = Env.embedded(describe(Tally), host=host)
        env.reset()
        threads = [threading.Thread(target=lambda e=env: [e.step(1) for _ in range(50)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert env.state().count == 200
        env.close()


def test_a_lost_session_is_lost_until_reset(scripted: Start) -> None:
    def dies(peer: Peer) -> None:
        for _ in range(3):
            peer.observe(peer.request(), n=1)
        peer.request()  # a step, and no answer to it

    def lives(peer: Peer) -> None:
        while True:
            peer.observe(peer.request(), n=2)

    sessions: list[Script] = [dies, lives]
    server = scripted(environment({}, lambda peer: sessions.pop(0)(peer)))
    env = make_remote(server.url)
    env.reset(seed=5, episode_id="one")
    env.step(a=1)
    env.step(a=1)
    for _ in range(3):
        with pytest.raises(SessionLost, match="step 2") as caught:
            env.step(a=1)
        assert (caught.value.episode, caught.value.step) == ("one", 2)
    with pytest.raises(SessionLost):
        env.state()
    assert len(sessions) == 1, "a new session was opened without a reset"
    assert env.reset(seed=6).n == 2
    assert env.step(a=1).step == 1
    env.close()


def test_a_timeout_on_a_plain_server_needs_a_reset(scripted: Start) -> None:
    def play(peer: Peer) -> None:
        peer.observe(peer.request(), n=0)
        slow = peer.request()
        time.sleep(0.2)
        peer.observe(slow, n=1)
        while True:
            request = peer.request()
            peer.observe(request, n=2, kind=request["type"])

    env = make_remote(scripted(environment({}, play)).url)
    env.reset()
    with pytest.raises(StepTimeoutError):
        env.step(a=1, timeout_s=0.05)
    with pytest.raises(OrderError, match="reset"):
        env.step(a=1)
    assert env.reset().kind == "reset"
    assert env.step(a=1).observation.kind == "step"
    env.close()


def test_the_server_keeps_the_deadline_where_it_can(scripted: Start) -> None:
    def play(peer: Peer) -> None:
        while True:
            request = peer.request()
            if request["type"] == "step":
                assert 0 < request["timeout_s"] <= 0.2
                time.sleep(0.25)
                data = {"message": "stopped", "code": "EXECUTION_ERROR", "error": "StepTimeoutError"}
                peer.send({"type": "error", "data": {**data, "outcome": "timeout"}}, request)
            else:
                peer.observe(request)

    env = make_remote(scripted(environment({}, play, extended=True)).url, timeout_s=None)
    env.reset()
    with pytest.raises(StepTimeoutError, match="stopped"):
        env.step(a=1, timeout_s=0.2)
    env.close()


def test_facts_of_the_extended_protocol_reach_the_result(scripted: Start) -> None:
    facts = {
        "outcome": "tool_error",
        "status": "truncated",
        "reason": "max_steps",
        "components": {"speed": 0.5},
        "seed": 9,
        "episode_id": "theirs",
        "step": 7,
    }

    def play(peer: Peer) -> None:
        while True:
            request = peer.request()
            data = {"observation": {"n": 1}, "reward": 0.5, "done": True}
            peer.send({"type": "observation", "data": data, "result": facts}, request)

    with make_remote(scripted(environment({}, play, extended=True)).url) as env:
        env.connect()
        env._backend.session.ledger.strict = False  # type: ignore[attr-defined]
        result: StepResult[Any] = env.step(a=1)
    assert result.outcome is StepOutcome.TOOL_ERROR
    assert result.truncated
    assert result.info["components"] == {"speed": 0.5}
    assert (result.seed, result.episode_id, result.step, result.reason) == (9, "theirs", 7, "max_steps")


def test_dicts_instead_of_models(scripted: Start) -> None:
    server = scripted(environment({}, lambda peer: peer.counter()))
    with make_remote(server.url, models=False) as env:
        assert env.reset() == {"count": 0}
        assert env.step(a=1).observation == {"count": 1, "got": {"a": 1}}
        assert env.state() == {"episode_id": "e", "step_count": 1}
    assert [peer.request_head.path for peer in server.peers] == ["/ws"]


def test_the_first_observation_may_have_a_model_of_its_own(scripted: Start) -> None:
    def one(title: str, field: str) -> dict[str, Any]:
        return {"title": title, "type": "object", "properties": {field: {"type": "integer"}}}

    schema = {"observation": one("Later", "a"), "reset_observation": one("First", "b")}

    def play(peer: Peer) -> None:
        peer.observe(peer.request(), b=1)
        peer.observe(peer.request(), a=2)
        peer.observe(peer.request(), a="not a number")
        peer.request()

    with make_remote(scripted(environment(schema, play)).url) as env:
        first, later = env.reset(), env.step(x=1).observation
        assert (type(first).__name__, first.b) == ("First", 1)
        assert (type(later).__name__, later.a) == ("Later", 2)
        odd = env.step(x=1).observation
        assert (type(odd).__name__, odd.a) == ("GenericObservation", "not a number")


def test_a_session_can_be_attached_to(scripted: Start) -> None:
    server = scripted(environment({}, lambda peer: peer.counter()))
    with make_remote(server.url, session_id="a/b") as env:
        env.reset()
    heads = [peer.request_head for peer in server.peers]
    assert [head.query for head in heads if head.path == "/ws"] == ["session_id=a%2Fb"]


def test_connect_and_sync(scripted: Start) -> None:
    server = scripted(environment({}, lambda peer: peer.counter()))
    with connect(server.url).sync() as env:
        assert env.reset().count == 0
    with pytest.raises(TargetError):
        connect("ftp://x")
    assert "http://127.0.0.1" in repr(env)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("host", ["inline", "thread"])
def test_an_embedded_environment_after_a_fork(host: Any) -> None:
    env = Env.embedded(describe(Guess), host=host)
    env.reset(seed=1)
    pid = os.fork()
    if pid == 0:
        try:
            env.step(0)
            code = 0 if host == "inline" else 1
        except UsageError:
            code = 0 if host == "thread" else 2
        env.close()
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert env.step(0).step == 1
    env.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_child_gets_its_own_session_by_reset(scripted: Start) -> None:
    server = scripted(environment({}, lambda peer: peer.counter()))
    env = make_remote(server.url)
    env.reset()
    env.step(a=1)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            env.step(a=1)
        except UsageError:
            code = 0 if env.reset().count == 0 and env.step(a=1).observation.count == 1 else 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert env.step(a=1).observation.count == 2
    env.close()
