from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from tests.session.environments import Count, EchoAction, EchoObservation, Loop, PublishedEcho, Slow, Tools

from openenv import Environment, Rubric, TaskSet
from openenv.environment import describe
from openenv.errors import (
    EnvironmentFailedError,
    InvalidActionError,
    OrderError,
    StepTimeoutError,
    UsageError,
)
from openenv.rubrics import ExponentialDiscountingTrajectoryRubric
from openenv.session import Limits, Phase, Session
from openenv.types import EpisodeStatus, StepOutcome


def started(cls: type, **options: object) -> Session:
    session = Session(describe(cls), **options)  # type: ignore[arg-type]
    session.start()
    return session


def test_an_episode_from_reset_to_its_end() -> None:
    session = started(Count)
    first = session.reset(seed=7, episode_id="e1")
    assert (first.seed, first.episode_id, first.step, first.done) == (7, "e1", 0, False)
    second = session.step({"by": 2})
    assert second.observation.result == 2
    assert (second.step, second.status, second.reward) == (1, EpisodeStatus.RUNNING, None)
    last = session.step({"by": 99})
    assert (last.reward, last.done, last.status, last.reason) == (1.0, True, "terminated", "won")
    assert session.phase is Phase.ENDED


def test_the_same_seed_gives_the_same_episode_and_a_drawn_seed_is_echoed() -> None:
    session = started(Count)
    drawn = session.reset().seed
    assert drawn is not None
    target = session._env.target
    session.reset(seed=drawn)
    assert session._env.target == target


def test_step_before_reset_and_after_the_end_are_refused_and_say_what_was_expected() -> None:
    session = started(Count)
    with pytest.raises(OrderError, match="expected reset") as early:
        session.step({"by": 1})
    assert early.value.actual == "step"
    session.reset()
    session.step({"by": 98})
    assert session.status is EpisodeStatus.TRUNCATED
    with pytest.raises(OrderError, match="truncated after 1 steps"):
        session.step({"by": 1})
    session.reset()
    assert session.step({"by": 1}).step == 1


def test_an_invalid_action_names_the_field_and_changes_nothing() -> None:
    session = started(Count)
    session.reset()
    for action in ({"by": "x"}, {}, {"by": 1, "z": 2}, "text", None, 3.5, [1]):
        with pytest.raises(InvalidActionError) as caught:
            session.step(action)
        assert caught.value.outcome == "invalid_action"
    assert session.step({"by": 1}).step == 1
    with pytest.raises(InvalidActionError, match="by"):
        session.step({"by": "x"})


def test_a_raising_environment_is_an_env_error_with_place_and_the_session_goes_on() -> None:
    session = started(Count)
    session.reset(episode_id="e")
    with pytest.raises(EnvironmentFailedError, match="cannot count down") as caught:
        session.step({"by": -1})
    assert (caught.value.outcome, caught.value.episode, caught.value.session) == (
        "env_error",
        "e",
        session.id,
    )
    assert caught.value.data["exception"] == "ValueError"
    assert session.step({"by": 1}).outcome is StepOutcome.OK


class Cheat(Environment, max_steps=3):
    """Moves, then raises; refuses some moves itself, and cannot be scored after others."""

    moves: int = 0

    def reset(self) -> str:
        self.moves = 0
        return "go"

    def step(self, how: str) -> str:
        if how == "refuse":
            raise InvalidActionError("not now")
        self.moves += 1
        if how == "raise":
            raise ValueError("fell over")
        return how


class CheatAtScoring(Cheat, rubric=lambda action, observation: 1 / (action.how != "unscored")):
    """The same; its rubric raises."""


class CheatOnTheLoop(Environment, max_steps=3):
    moves: int = 0

    async def reset_async(self) -> str:
        return "go"

    async def step_async(self, how: str) -> str:
        self.moves += 1
        raise ValueError("fell over")


@pytest.mark.parametrize(("cls", "how"), [(Cheat, "raise"), (CheatAtScoring, "unscored")])
def test_a_step_that_raises_counts_and_the_limit_ends_the_episode(cls: type, how: str) -> None:
    session = started(cls)
    session.reset()
    errors = []
    for _ in range(3):
        with pytest.raises(EnvironmentFailedError) as caught:
            session.step({"how": how})
        errors.append(caught.value)
    assert [error.step for error in errors] == [1, 2, 3]
    assert [error.data.get("truncated") for error in errors] == [None, None, "max_steps"]
    assert (session.phase, session.status) == (Phase.ENDED, EpisodeStatus.TRUNCATED)
    with pytest.raises(OrderError, match="truncated after 3 steps"):
        session.step({"how": "on"})
    assert session.ask("moves", lambda env: env.moves) == 3
    session.reset()
    assert session.step({"how": "on"}).step == 1


async def test_a_coroutine_that_raises_counts_too() -> None:
    session = Session(describe(CheatOnTheLoop))
    session.start()
    await session.areset()
    for _ in range(3):
        with pytest.raises(EnvironmentFailedError):
            await session.astep({"how": "raise"})
    with pytest.raises(OrderError, match="truncated after 3 steps"):
        await session.astep({"how": "raise"})
    await session.aclose()


class Half(Environment):
    """One half blocks, the other is a coroutine."""

    threads: list[int] = []

    def reset(self, how: str = "") -> str:
        self.threads.append(threading.get_ident())
        if how == "stop":
            raise StopIteration("over")
        if how == "exit":
            raise SystemExit
        time.sleep(0.3 if how == "block" else 0)
        return "go"

    async def step_async(self, word: str) -> str:
        self.threads.append(threading.get_ident())
        return word


class OtherHalf(Environment):
    threads: list[int] = []

    async def reset_async(self) -> str:
        self.threads.append(threading.get_ident())
        return "go"

    def step(self, word: str) -> Any:
        self.threads.append(threading.get_ident())

        async def later() -> str:
            return word

        return later() if word == "later" else word


@pytest.mark.parametrize(("cls", "blocking"), [(Half, 0), (OtherHalf, 1)])
async def test_the_blocking_half_of_an_environment_leaves_the_loop_alone(cls: type, blocking: int) -> None:
    session = Session(describe(cls))
    session.start()
    await session.areset()
    assert (await session.astep({"word": "x"})).observation.result == "x"
    threads = session._env.threads
    assert threads[1 - blocking] == threading.get_ident()
    assert threads[blocking] != threading.get_ident()
    if cls is OtherHalf:
        assert (await session.astep({"word": "later"})).observation.result == "later"
    await session.aclose()


async def test_a_blocking_reset_delays_nobody_has_a_deadline_and_may_fail() -> None:
    session = Session(describe(Half))
    session.start()
    resetting = asyncio.create_task(session.areset(options={"how": "block"}))
    turns = 0
    while not resetting.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert turns > 1
    for how in ("stop", "exit"):
        with pytest.raises(EnvironmentFailedError):
            await session.areset(options={"how": how})
    with pytest.raises(StepTimeoutError):
        await session.areset(options={"how": "block"}, timeout_s=0.05)
    assert (await session.areset()).step == 0
    await session.aclose()


def test_a_step_that_was_refused_does_not_count() -> None:
    session = started(Cheat)
    session.reset()
    for action in ({"how": "refuse"}, {"how": 5}, {}, "text"):
        for _ in range(4):
            with pytest.raises(InvalidActionError):
                session.step(action)
    assert session.step({"how": "on"}).step == 1


def test_system_exit_of_an_environment_is_its_error_not_ours() -> None:
    session = started(Slow)
    session.reset()
    with pytest.raises(EnvironmentFailedError):
        session.step({"mode": "exit"})
    assert session.phase is Phase.READY


def test_max_steps_truncates_with_a_reason() -> None:
    session = started(Count)
    session.reset()
    results = [session.step({"by": 1}) for _ in range(5)]
    assert [r.done for r in results] == [False] * 4 + [True]
    assert (results[-1].status, results[-1].reason) == ("truncated", "max_steps")
    assert results[-1].observation.done is True


def test_a_servers_limit_and_an_authors_limit_combine_to_the_tighter() -> None:
    assert started(Count, limits=Limits(max_steps=2)).limits.max_steps == 2
    assert started(Count, limits=Limits(max_steps=9)).limits.max_steps == 5


def test_the_time_limit_of_an_episode_truncates_it() -> None:
    session = started(Slow, limits=Limits(episode_timeout_s=0.02))
    session.reset()
    result = session.step({"mode": "sleep", "seconds": 0.03})
    assert (result.status, result.reason) == ("truncated", "time_limit")


def test_a_wrong_reset_option_is_named_and_the_session_stays_usable() -> None:
    session = started(Count)
    with pytest.raises(InvalidActionError, match="start"):
        session.reset(options={"start": "x"})
    assert session.reset(options={"start": 3}).observation.result == 3


def test_published_form_is_lenient_before_reset_and_sees_only_what_the_caller_gave() -> None:
    session = Session(describe(PublishedEcho, action_type=EchoAction, observation_type=EchoObservation))
    session.start()
    assert session.step({"message": "hi"}).reward == 2.0
    assert session.reset().observation.echoed == "None None"
    result = session.reset(seed=5, episode_id="x")
    assert result.observation.echoed == "5 x"
    assert (result.seed, result.episode_id) == (5, "x")
    assert dict(session.state()) == {"seed": 5}


def test_hidden_state_does_not_leave() -> None:
    session = started(Count)
    session.reset(seed=1)
    state = session.state()
    dumped = state if isinstance(state, dict) else state.model_dump()
    assert "target" not in dumped
    assert dumped["count"] == 0
    assert dumped["episode_id"]
    assert dumped["step_count"] == 0


def test_auto_reset_happens_once_in_a_new_session_only() -> None:
    session = started(Tools, auto_reset=True)
    result = session.step({"type": "call_tool", "tool_name": "add", "arguments": {"a": 1, "b": 2}})
    assert result.observation.result["data"] == 3
    ended = started(Count, auto_reset=True)
    ended.step({"by": 99})
    with pytest.raises(OrderError):
        ended.step({"by": 1})


def test_a_failing_tool_is_an_outcome_not_an_exception() -> None:
    session = started(Tools)
    session.reset()
    result = session.step({"type": "call_tool", "tool_name": "fail", "arguments": {}})
    assert result.outcome is StepOutcome.TOOL_ERROR
    assert "broken tool" in result.observation.error.message
    missing = session.step({"type": "call_tool", "tool_name": "nope", "arguments": {}})
    assert missing.outcome is StepOutcome.INVALID_ACTION


def test_close_is_final_and_idempotent() -> None:
    session = started(Slow)
    before = len(Slow.closed)
    session.close()
    session.close()
    assert len(Slow.closed) == before + 1
    with pytest.raises(OrderError, match="closed"):
        session.reset()


def test_a_deadline_needs_a_host_that_can_stop_the_work() -> None:
    session = started(Slow)
    session.reset()
    with pytest.raises(UsageError, match="host='thread'"):
        session.step({"mode": "answer"}, timeout_s=1)
    with pytest.raises(UsageError, match="timeout_s"):
        session.step({"mode": "answer"}, timeout_s=0)
    assert session.step({"mode": "answer"}).outcome is StepOutcome.OK


async def test_an_asynchronous_environment() -> None:
    session = started(Loop)
    await session.areset()
    assert (await session.astep({})).observation.result == "done"
    with pytest.raises(UsageError, match="asynchronous"):
        session.step({})
    assert (await session.aask("state", session.spec.read_state)) is not None
    await session.aclose()
    await session.aclose()
    assert session.phase is Phase.CLOSED


def test_the_synchronous_face_runs_an_asynchronous_environment_outside_a_loop() -> None:
    session = started(Loop)
    session.reset()
    assert session.step({}).observation.result == "done"
    session.close()


def test_statistics_count() -> None:
    session = started(Count)
    session.reset()
    session.step({"by": 1})
    with pytest.raises(InvalidActionError):
        session.step({})
    statistics = session.statistics()
    assert (statistics.episodes, statistics.steps) == (1, 1)
    assert statistics.outcomes == {"ok": 2, "invalid_action": 1}


class LengthRubric(ExponentialDiscountingTrajectoryRubric):
    """One point for an episode that was seen to its end."""

    def score_trajectory(self, trajectory: list[tuple[object, object]]) -> float:
        return 1.0


class Scored(Environment, rubric=LengthRubric(gamma=0.5), max_steps=3):
    def reset(self) -> int:
        return 0

    def step(self, by: int) -> int:
        return by


def test_a_limit_ends_the_trajectory_that_a_rubric_scores_and_credits() -> None:
    session = started(Scored)
    session.reset()
    results = [session.step({"by": 1}) for _ in range(3)]
    assert [r.reward for r in results] == [0.0, 0.0, 1.0]
    assert results[-1].info["step_rewards"] == [0.25, 0.5, 1.0]
    assert (results[-1].reason, results[-1].truncated) == ("max_steps", True)


class Judged(Environment):
    def __init__(self) -> None:
        super().__init__(rubric=None)

    def reset(self) -> int:
        return 0

    def step(self, by: int) -> int:
        return by


class Patient(Rubric):
    async def forward(self, action: object, observation: object) -> float:
        await asyncio.sleep(0)
        return 0.75


class AsyncScored(Judged, rubric=Patient()):
    pass


def test_an_asynchronous_rubric_of_a_synchronous_environment_is_awaited() -> None:
    session = started(AsyncScored)
    session.reset()
    assert session.step({"by": 1}).reward == 0.75


async def test_and_needs_a_thread_of_its_own_inside_a_running_loop() -> None:
    session = started(AsyncScored)
    session.reset()
    with pytest.raises(UsageError, match="asynchronous"):
        session.step({"by": 1})


class Quiz(
    Environment, tasks=TaskSet({"train": [{"question": "1+1", "answer": "2"}], "test": [{"question": "2+2"}]})
):
    """Asks what its task asks."""

    def reset(self) -> str:
        return str(self.episode.task["question"])

    def step(self, text: str) -> str:
        return text


class AsyncQuiz(Quiz):
    async def step(self, text: str) -> str:
        return text


async def test_the_reset_option_names_the_task_and_the_seed_draws_one() -> None:
    session = started(Quiz)
    assert session.reset(seed=3).observation.result == "1+1"
    assert session.reset(options={"split": "test", "task": 0}).observation.result == "2+2"
    with pytest.raises(InvalidActionError, match="split"):
        session.reset(options={"split": "nope"})
    assert session.episode is not None
    assert session.episode.split == "test"
    later = started(AsyncQuiz)
    assert (await later.areset(options={"split": "test"})).observation.result == "2+2"
    await later.aclose()
