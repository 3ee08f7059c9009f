"""Sessions with a process each."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from openenv.environment import describe
from openenv.errors import (
    EnvironmentCrashedError,
    EnvironmentFactoryError,
    EnvironmentFailedError,
    InfrastructureError,
    InvalidActionError,
    OrderError,
    StepTimeoutError,
)
from openenv.session import Limits, SessionManager
from openenv.session.process_host import ProcessPlace

from .process_environments import Careless, Model, Mood, Scored, Seen, Unmade


@contextlib.asynccontextmanager
async def managed(cls: type, **more: object) -> AsyncIterator[SessionManager]:
    spec = describe(cls)
    manager = SessionManager(spec, **more)  # type: ignore[arg-type]
    try:
        yield manager
    finally:
        await manager.drain(5.0)
        ProcessPlace.of(spec).zygote.close()


async def until(what: object, within_s: float = 20.0) -> None:
    end = time.monotonic() + within_s
    while not what():  # type: ignore[operator]
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


async def test_module_state_is_each_sessions_own() -> None:
    async with managed(Careless) as manager:
        hosted = [await manager.open(owner="test") for _ in range(3)]
        for one in hosted:
            await one.acall("reset", seed=5, options={"level": 2})
        pids = set()
        for turn in (1, 2):
            for one in hosted:
                result = await one.acall("step", action={"what": "go"})
                number, pid, step = result.observation.result.split()
                assert (int(number), int(step), result.step, result.reward) == (turn, turn - 1, turn, 1.0)
                pids.add(int(pid))
        assert len(pids) == 3
        assert os.getpid() not in pids
        assert (await hosted[0].acall("state")).level == 2
        one = hosted[0]
        assert (await one.acall("step", action={"what": "files"})).observation.result.count("socket") == 1
        ended = await one.acall("step", action={"what": "done"})
        assert ended.done
        with pytest.raises(OrderError):
            await one.acall("step", action={"what": "go"})
    await until(lambda: not any(alive(pid) for pid in pids))


async def test_the_same_seed_is_the_same_episode_as_elsewhere() -> None:
    async with managed(Careless) as manager:
        one = await manager.open(owner="test")
        said = (await one.acall("reset", seed=11)).observation.result
    async with managed(Careless, host="thread") as manager:
        one = await manager.open(owner="test")
        assert (await one.acall("reset", seed=11)).observation.result == said


@pytest.mark.parametrize(("what", "how"), [("segfault", "SIGSEGV"), ("exit", "exited with status 3")])
async def test_a_crash_ends_one_episode(what: str, how: str) -> None:
    async with managed(Careless) as manager:
        victim, other = [await manager.open(owner="test") for _ in range(2)]
        for one in (victim, other):
            await one.acall("reset")
            await one.acall("step", action={"what": "go"})
        with pytest.raises(EnvironmentCrashedError, match=how) as caught:
            await victim.acall("step", action={"what": what})
        assert (caught.value.session_fate, caught.value.retryable) == ("needs_reset", True)
        assert caught.value.step == 2  # a step that fails is a step
        with pytest.raises(OrderError):
            await victim.acall("step", action={"what": "go"})
        assert (await other.acall("step", action={"what": "go"})).observation.result.startswith("2 ")
        await victim.acall("reset")
        assert (await victim.acall("step", action={"what": "go"})).observation.result.startswith("1 ")


async def test_a_deadline_kills_even_what_never_gives_way() -> None:
    async with managed(Careless) as manager:
        one = await manager.open(owner="test")
        await one.acall("reset")
        pid = int((await one.acall("step", action={"what": "go"})).observation.result.split()[1])
        with pytest.raises(StepTimeoutError):
            await one.acall("step", action={"what": "hang"}, timeout_s=0.3)
        await until(lambda: not alive(pid))
        await until(lambda: manager.quarantine.count == 0)
        await one.acall("reset")
        assert (await one.acall("step", action={"what": "go"})).observation.result.startswith("1 ")


async def test_what_the_process_started_dies_with_it() -> None:
    async with managed(Careless, limits=Limits(step_timeout_s=30)) as manager:
        one = await manager.open(owner="test")
        await one.acall("reset")
        child = int((await one.acall("step", action={"what": "spawn"})).observation.result)
        assert alive(child)
        await manager.close(one.id)
        await until(lambda: not alive(child))


async def test_what_it_prints_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "openenv.session"):
        async with managed(Careless) as manager:
            one = await manager.open(owner="test")
            await one.acall("reset")
            await one.acall("step", action={"what": "print"})
            await until(lambda: "said" in caplog.text and "xxxx" in caplog.text)
    assert f"session {one.id[:8]} prints: said" in caplog.text


async def test_errors_keep_their_names() -> None:
    async with managed(Careless) as manager:
        one = await manager.open(owner="test")
        with pytest.raises(InvalidActionError) as bad:
            await one.acall("reset", options={"level": "high"})
        assert bad.value.errors
        await one.acall("reset")
        with pytest.raises(EnvironmentFailedError, match="raised by the environment") as caught:
            await one.acall("step", action={"what": "raise"})
        assert caught.value.data["exception"] == "ValueError"
        assert isinstance(caught.value.__cause__, ValueError)
        assert "process_environments.py" in caught.value.__cause__.__notes__[0]
        with pytest.raises(InvalidActionError):
            await one.acall("step", action={"what": 3})
        assert (await one.acall("step", action={"what": "go"})).observation.result.startswith("2 ")


async def test_questions_reach_the_environment() -> None:
    async with managed(Careless) as manager:
        one = await manager.open(owner="test")
        await one.acall("reset", options={"level": 4})
        assert await one.acall("ask", name="helper", question=lambda env: env.helper(41)) == 41
        assert await one.acall("ask", name="level", question=lambda env: env.level) == 4
        assert (
            await one.acall("ask", name="absent", question=lambda env: getattr(env, "absent", "no")) == "no"
        )
        assert await one.acall("ask", name="hidden", question=lambda env: hasattr(env, "_x")) is False
        with pytest.raises(EnvironmentFailedError) as caught:
            await one.acall("ask", name="broken", question=lambda env: env.broken())
        assert isinstance(caught.value.__cause__, NotImplementedError)
        spec = one.session.spec
        assert (await one.acall("ask", name="metadata", question=spec.metadata)).name == spec.metadata().name
        await one.acall("step", action={"what": "go"})
        one.host.environment.kill()  # type: ignore[attr-defined]
        with pytest.raises(EnvironmentCrashedError):
            await one.acall("state")


async def test_coroutines_models_and_enumerations_cross() -> None:
    async with managed(Model) as manager:
        one = await manager.open(owner="test")
        first = await one.acall("reset")
        assert first.observation == Seen(mood=Mood.GOOD)
        seen = (await one.acall("step", action={"mood": "good"})).observation
        assert type(seen) is Seen
        assert (seen.mood, seen.pixels, seen.reward) == (Mood.GOOD, b"\x00\xff", 1.0)


async def test_a_rubric_sees_that_a_limit_ended_the_episode() -> None:
    async with managed(Scored) as manager:
        one = await manager.open(owner="test")
        await one.acall("reset")
        assert (await one.acall("step", action={"number": 1})).reward == 0.5
        last = await one.acall("step", action={"number": 2})
        assert (last.reward, last.reason) == (2.0, "max_steps")


async def test_a_limit_cuts_where_nothing_is_scored() -> None:
    async with managed(Careless, limits=Limits(max_steps=1)) as manager:
        one = await manager.open(owner="test")
        await one.acall("reset")
        last = await one.acall("step", action={"what": "go"})
        assert (last.done, last.reason) == (True, "max_steps")


async def test_a_constructor_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with managed(Unmade) as manager:
        with pytest.raises(EnvironmentFactoryError, match="no"):
            await manager.open(owner="test")
        assert manager.active == 0 or await _comes_to_nought(manager)
    monkeypatch.setenv("UNMADE", "crash")
    async with managed(Unmade) as manager:
        with pytest.raises(EnvironmentFactoryError, match="exited with status 4"):
            await manager.open(owner="test")


async def _comes_to_nought(manager: SessionManager) -> bool:
    await until(lambda: manager.active == 0)
    return True


async def test_the_zygote_is_replaced_if_it_dies(caplog: pytest.LogCaptureFixture) -> None:
    async with managed(Careless) as manager:
        one = await manager.open(owner="test")
        await one.acall("reset")
        pid = int((await one.acall("step", action={"what": "go"})).observation.result.split()[1])
        os.kill(ProcessPlace.of(manager.spec).zygote.pid, signal.SIGKILL)
        await until(lambda: not alive(pid))
        with pytest.raises(EnvironmentCrashedError):
            await one.acall("step", action={"what": "go"})
        other = await manager.open(owner="test")
        await other.acall("reset")
        await one.acall("reset")
        assert (await one.acall("step", action={"what": "go"})).observation.result.startswith("1 ")
    assert "starting another" in caplog.text


async def test_nonsense_from_the_process_is_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    async with managed(Careless) as manager:
        one = await manager.open(owner="test")
        await one.acall("reset")
        env = one.host.environment  # type: ignore[attr-defined]
        monkeypatch.setattr("openenv.session.process_host.receive", lambda connection: b"nonsense")
        with pytest.raises(EnvironmentCrashedError, match="no answer"):
            await one.acall("step", action={"what": "go"})
        monkeypatch.undo()
        with pytest.raises(EnvironmentCrashedError):
            env.ask("state")
        env.close()
        assert one.session.phase == "needs_reset"


async def test_no_process_can_be_started_any_more() -> None:
    async with managed(Careless) as manager:
        place = ProcessPlace.of(manager.spec)
        real, place.zygote = place.zygote, Gone()  # type: ignore[assignment]
        real.close()
        with pytest.raises(InfrastructureError):
            place.zygote.fork(None, 0)
        assert real.status(1) is None
        real.kill(1)
        one = await manager.open(owner="test")
        await one.acall("reset")


class Gone:
    alive = True

    def fork(self, connection: object, output: int) -> int:
        raise InfrastructureError("gone")

    def close(self) -> None:
        """Nothing to end."""


def test_sessions_of_a_server_are_processes_too(tmp_path: Path) -> None:
    import openenv
    from openenv.server import BackgroundServer, ServerSettings, make_app

    app = make_app(Careless, ServerSettings(max_sessions=3))
    with BackgroundServer(app) as url:
        envs = [openenv.make(url) for _ in range(3)]
        for env in envs:
            env.reset(seed=1)
        assert len({env.step(what="go").observation.result.split()[1] for env in envs}) == 3
        with pytest.raises(EnvironmentCrashedError):
            envs[0].step(what="segfault")
        envs[0].reset()
        assert envs[0].step(what="go").observation.result.startswith("1 ")
        for env in envs:
            env.close()
    ProcessPlace.of(app.state.openenv.spec).zygote.close()
