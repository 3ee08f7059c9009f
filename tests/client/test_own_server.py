"""Our clients and our server, over the extended protocol."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.client.scripted import until

from openenv import Environment, Outcome, tool
from openenv.client import GenericEnvClient, MCPToolClient, connect, make_remote
from openenv.errors import (
    AuthenticationError,
    EnvironmentFailedError,
    InvalidActionError,
    OrderError,
    SessionCapacityError,
    SessionLost,
    StepTimeoutError,
    ToolCallError,
)
from openenv.server.app import make_app
from openenv.server.run import BackgroundServer
from openenv.server.settings import ServerSettings

Serve = Callable[..., str]


class Walk(Environment, max_steps=20):
    """Walks along a line."""

    SUPPORTS_CONCURRENT_SESSIONS = True
    place: int = 0

    def reset(self, start: int = 0) -> int:
        self.place = start
        return start

    def step(self, by: int, pause: float = 0.0) -> int | Outcome[int]:
        time.sleep(max(0.0, min(pause, 30.0)))
        if by == 13:
            raise ValueError("unlucky")
        self.place += by
        parts = {"far": 0.5}
        return Outcome(self.place, reward=float(by), terminated=self.place == 99, components=parts)


class Tools(Environment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    @tool
    def shout(self, word: str) -> Outcome[str]:
        """Shout."""
        return Outcome(word.upper(), reward=1.0)


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[BackgroundServer] = []

    def start(target: type = Walk, **settings: Any) -> str:
        given = ServerSettings(**{"host": "127.0.0.1", "max_sessions": 8, **settings})
        running.append(BackgroundServer(make_app(target, given)))
        return running[-1].start()

    yield start
    for server in running:
        server.stop()


def test_everything_that_travels(serve: Serve) -> None:
    with make_remote(serve()) as env:
        assert env.reset(seed=5, episode_id="mine", start=2).result == 2
        assert env._backend.session.connection.extended  # type: ignore[attr-defined]
        result = env.step(by=3)
        assert (result.observation.result, result.reward, result.components) == (5, 3.0, {"far": 0.5})
        assert (result.seed, result.episode_id, result.step) == (5, "mine", 1)
        assert env.state().place == 5
        assert env.metadata.description
        ended = env.step(by=94)
        assert (ended.done, ended.terminated) == (True, True)
        with pytest.raises(OrderError):
            env.step(by=1)
        env.reset()
        while not (result := env.step(by=0)).done:
            pass
        assert (result.truncated, result.reason, result.step) == (True, "max_steps", 20)


def test_the_same_seed_gives_the_same_actions_to_choose_from(serve: Serve) -> None:
    with make_remote(serve()) as env:
        env.action_space.seed(1)
        drawn = [env.action_space.sample() for _ in range(5)]
        env.action_space.seed(1)
        assert [env.action_space.sample() for _ in range(5)] == drawn
        env.reset()
        for action in drawn:
            assert env.step({**action, "pause": 0}).step


def test_errors_are_the_servers_own(serve: Serve) -> None:
    with make_remote(serve()) as env:
        env.reset()
        for wrong in ({"by": "x"}, {}, {"by": 1, "more": 1}):
            with pytest.raises(InvalidActionError) as invalid:
                env.step(wrong)
            assert invalid.value.errors[0]["loc"]
        with pytest.raises(EnvironmentFailedError, match="unlucky") as failed:
            env.step(by=13)
        assert (failed.value.step, failed.value.retryable, failed.value.session_fate) == (1, False, "alive")
        assert env.step(by=1).step == 2


def test_a_deadline_is_kept_and_nobody_else_waits(serve: Serve) -> None:
    url = serve()
    with make_remote(url) as env, make_remote(url) as other:
        env.reset()
        other.reset()
        began = time.monotonic()
        with pytest.raises(StepTimeoutError) as late:
            env.step(by=1, pause=30.0, timeout_s=0.2)
        assert time.monotonic() - began < 0.5
        assert late.value.session_fate == "needs_reset"
        assert other.step(by=1).step == 1
        with pytest.raises(OrderError):
            env.step(by=1)
        assert env.reset().result == 0


def test_a_token(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENENV_TOKEN", raising=False)
    url = serve(token="s3cret-s3cret-s3cret")
    clients: list[Any] = [make_remote(url), make_remote(url, token="wrong"), GenericEnvClient(url).sync()]
    for refused in clients:
        with pytest.raises(AuthenticationError):
            refused.reset()
    with make_remote(url, token="s3cret-s3cret-s3cret") as env:
        assert env.reset().result == 0
        assert env.metadata.name
    monkeypatch.setenv("OPENENV_TOKEN", "s3cret-s3cret-s3cret")
    with GenericEnvClient(url) as client:
        assert client.reset().observation["result"] == 0


def test_a_full_server_and_a_slot_that_comes_free(serve: Serve) -> None:
    url = serve(max_sessions=1, queue_timeout_s=0.1)
    first, second = make_remote(url), make_remote(url)
    first.reset()
    with pytest.raises(SessionCapacityError) as full:
        second.reset()
    assert full.value.max_sessions == 1
    assert full.value.retry_after > 0
    first.close()
    assert second.reset().result == 0
    second.close()


def test_tools(serve: Serve) -> None:
    url = serve(Tools)
    with make_remote(url) as env:
        env.reset()
        assert env.call_tool("shout", word="hi") == "HI"
        assert env.last is not None
        assert env.last.reward == 1.0
        assert env.action_space.sample()["tool_name"] == "shout"
        with pytest.raises(ToolCallError) as failed:
            env.call_tool("shout", volume=3)
        assert failed.value.error_type == "invalid_args"
    with MCPToolClient(url) as client:
        assert client.call_tool("shout", word="hey") == "HEY"
        assert client.state().step_count == 1


def test_tools_of_a_production_server(serve: Serve) -> None:
    url = serve(Tools, mode="production")
    with MCPToolClient(url) as client:
        assert [one.name for one in client.list_tools()] == ["shout"]
        assert client.call_tool("shout", word="hey") == "HEY"
        with pytest.raises(RuntimeError):
            client.reset()


def test_a_server_that_stops_says_so(serve: Serve) -> None:
    server = BackgroundServer(make_app(Walk, ServerSettings(host="127.0.0.1")))
    env = make_remote(server.start())
    env.reset()
    env.step(by=1)
    server.stop()
    for _ in range(2):
        with pytest.raises(SessionLost, match="step 1"):
            env.step(by=1)
    env.close()


def test_a_server_that_is_killed(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "openenv.cli", "serve", "echo", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    env = make_remote(f"http://127.0.0.1:{port}")
    try:
        until(lambda: _answers(port), 20)
        env.reset()
        done: list[BaseException] = []
        process.send_signal(signal.SIGSTOP)

        def step() -> None:
            try:
                env.call_tool("echo_message", message="hi")
            except SessionLost as lost:
                done.append(lost)

        waiting = threading.Thread(target=step)
        waiting.start()
        time.sleep(0.1)
        process.kill()
        waiting.join(60)  # it tries to get back to its server first
        assert done
        with pytest.raises(SessionLost):
            env.state()
    finally:
        process.kill()
        process.wait()
        env.close()


def _answers(port: int) -> bool:
    with socket.socket() as link:
        return link.connect_ex(("127.0.0.1", port)) == 0


async def test_asynchronously(serve: Serve) -> None:
    url = await asyncio.to_thread(serve)

    async def episode(by: int) -> float:
        async with connect(url) as env:
            await env.reset(seed=by)
            return sum([(await env.step(by=by)).reward or 0.0 for _ in range(10)])

    assert await asyncio.gather(*(episode(n) for n in range(1, 6))) == [10.0, 20.0, 30.0, 40.0, 50.0]
    env = await connect(url)
    await env.reset()
    began = time.monotonic()
    with pytest.raises(StepTimeoutError):
        await env.step(by=1, pause=30.0, timeout_s=0.2)
    assert time.monotonic() - began < 0.5
    await env.close()


def test_over_a_unix_socket(tmp_path: Path) -> None:
    server = BackgroundServer(make_app(Walk, ServerSettings()), uds=str(tmp_path / "s"))
    with make_remote(server.start()) as env:
        assert env.reset().result == 0
        assert env.step(by=2).observation.result == 2
        assert env.metadata.name
    server.stop()
