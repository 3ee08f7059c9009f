"""The rules of a pool, over sessions in this process and in workers."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.pool.environments import Broken, Dice, Lucky, Slow, Stubborn, Walk

import openenv
from openenv.errors import (
    EnvironmentFactoryError,
    EnvironmentFailedError,
    InfrastructureError,
    InvalidActionError,
    OpenEnvError,
    OrderError,
    PoolBusyError,
    SessionLost,
    StepTimeoutError,
    UsageError,
)
from openenv.pool import AutoReset, PoolResult, Ready
from openenv.types import StepResult

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=[0, 2], ids=["inline", "workers"])
def workers(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


@pytest.fixture
def pool(workers: int) -> Iterator[openenv.Pool]:
    with openenv.make_pool(Walk, n=5, workers=workers) as pool:
        yield pool


def seen(outcome: Any) -> Any:
    assert isinstance(outcome, StepResult), outcome
    return outcome.observation.result


def test_reset_and_step_answer_for_each_slot(pool: openenv.Pool) -> None:
    first = pool.reset(seeds=[10, 11, 12, 13, 14])
    assert [outcome.seed for outcome in first if isinstance(outcome, StepResult)] == [10, 11, 12, 13, 14]
    assert [seen(outcome) for outcome in pool.step([{"by": n} for n in range(5)])] == [0, 1, 2, 3, 4]
    outcomes = pool.step([Walk_action(by=1), {"by": 2}, {"by": 3}, {"by": 50}, {"by": 5}])
    assert [seen(outcome) for outcome in outcomes] == [1, 3, 5, 53, 9]
    assert isinstance(outcomes[3], StepResult)
    assert outcomes[3].components == {"far": 0.5}
    assert outcomes[3].reward == 50.0
    assert outcomes[3].step == 2
    assert outcomes[3].episode_id == first[3].episode_id  # type: ignore[union-attr]


def Walk_action(**fields: Any) -> Any:
    with openenv.make(Walk) as env:
        return env.action_space.sample().model_copy(update={"pause": 0.0, **fields})


def test_seeds_count_up_from_one_number(workers: int) -> None:
    with openenv.make_pool(Dice, n=3, workers=workers) as pool:
        first = [seen(outcome) for outcome in pool.reset(seeds=7)]
        assert [seen(outcome) for outcome in pool.reset(seeds=[7, 8, 9])] == first
        assert len(set(first)) == 3
        assert [seen(outcome) for outcome in pool.reset(seeds=7, indices=[2])] == [first[2]]


def test_partial_steps_leave_the_others_alone(pool: openenv.Pool) -> None:
    pool.reset()
    assert [seen(o) for o in pool.step([{"by": 4}, {"by": 1}], indices=[3, 1])] == [4, 1]
    assert [seen(o) for o in pool.step([{"by": 1}] * 5)] == [1, 2, 1, 5, 1]
    assert pool.reset(indices=[]) == []
    assert pool.step([], indices=[]) == []


def test_options_of_a_reset(pool: openenv.Pool) -> None:
    assert [seen(o) for o in pool.reset(options={"start": 3})] == [3] * 5
    assert [seen(o) for o in pool.reset(options=[{"start": 8}, None], indices=[0, 4])] == [8, 0]


def test_one_failing_session_fails_no_other(pool: openenv.Pool) -> None:
    pool.reset()
    outcomes = pool.step([{"by": 1}, {"by": 13}, {"by": "far"}, {}, {"by": 2}])
    assert [type(outcome) for outcome in outcomes] == [
        StepResult,
        EnvironmentFailedError,
        InvalidActionError,
        InvalidActionError,
        StepResult,
    ]
    assert "unlucky" in str(outcomes[1])
    assert isinstance(outcomes[1], OpenEnvError)
    assert outcomes[1].step in (0, 1)  # whether it counts is the session's affair
    assert outcomes[1].session
    assert isinstance(outcomes[2], InvalidActionError)
    assert outcomes[2].errors[0]["loc"][-1] == "by"
    assert [seen(o) for o in pool.step([{"by": 1}] * 5)] == [2, 1, 1, 1, 3]
    statistics = pool.statistics()
    assert (statistics.episodes, statistics.steps, statistics.errors, statistics.lost) == (5, 7, 3, 0)


def test_a_failed_reset_is_an_outcome(pool: openenv.Pool) -> None:
    outcomes = pool.reset(options=[{"start": 1}, {"start": -1}, {"start": "x"}, None, None])
    assert [type(o).__name__ for o in outcomes] == [
        "StepResult",
        "EnvironmentFailedError",
        "InvalidActionError",
        "StepResult",
        "StepResult",
    ]
    assert isinstance(pool.step([{"by": 1}], indices=[1])[0], OrderError)
    assert isinstance(pool.step([{"by": 1}], indices=[2])[0], OrderError)
    assert [seen(o) for o in pool.reset(indices=[1, 2])] == [0, 0]


def test_an_environment_that_cannot_be_built_is_an_outcome(workers: int) -> None:
    with openenv.make_pool(Broken, n=2, workers=workers) as pool:
        for outcome in pool.reset():
            assert isinstance(outcome, EnvironmentFactoryError)
            assert "no display" in str(outcome)


def test_a_step_before_the_first_reset_is_refused(pool: openenv.Pool) -> None:
    assert all(isinstance(outcome, OrderError) for outcome in pool.step([{"by": 1}] * 5))


def test_what_makes_no_sense_is_refused_before_anything_runs(pool: openenv.Pool) -> None:
    pool.reset()
    for problem, call in [
        ("expected 5, one for each slot, got 1", lambda: pool.step([{"by": 1}])),
        ("expected one action for each slot, got dict", lambda: pool.step({"by": 1})),  # type: ignore[arg-type]
        ("got None", lambda: pool.step([None] * 5)),
        ("expected 0 to 4, got 5", lambda: pool.step([{"by": 1}], indices=[5])),
        ("expected 0 to 4, got -1", lambda: pool.step([{"by": 1}], indices=[-1])),
        ("named twice", lambda: pool.step([{"by": 1}] * 2, indices=[1, 1])),
        ("numbers of slots", lambda: pool.step([{"by": 1}], indices=["a"])),  # type: ignore[list-item]
        ("seeds: expected 5", lambda: pool.reset(seeds=[1])),
        ("seeds: expected whole numbers", lambda: pool.reset(seeds=["x"] * 5)),  # type: ignore[list-item]
        ("seeds: expected a sequence", lambda: pool.reset(seeds=1.5)),  # type: ignore[arg-type]
        ("options: expected 5", lambda: pool.reset(options=[{}])),
        ("host='thread'", lambda: pool.step([{"by": 1}] * 5, timeout_s=1.0)),
    ]:
        with pytest.raises(UsageError, match=problem):
            call()
    assert [seen(o) for o in pool.step([{"by": 1}] * 5)] == [1] * 5


def test_bare_values_are_actions_of_one_field(workers: int) -> None:
    with openenv.make_pool(Dice, n=2, workers=workers) as pool:
        pool.reset()
        outcomes = pool.step([False, True])
        assert [o.done for o in outcomes] == [False, True]  # type: ignore[union-attr]


# Auto-reset ----------------------------------------------------------------------------------------


def test_disabled_a_step_after_the_end_is_refused(pool: openenv.Pool) -> None:
    pool.reset()
    done = pool.step([{"by": 99}], indices=[2])[0]
    assert isinstance(done, StepResult)
    assert done.terminated
    refused = pool.step([{"by": 1}] * 5)
    assert isinstance(refused[2], OrderError)
    assert "reset(indices=[2])" in str(refused[2])
    assert refused[2].episode == done.episode_id
    assert seen(refused[1]) == 1


def test_next_step_resets_instead_of_stepping(workers: int) -> None:
    with openenv.make_pool(Walk, n=2, workers=workers, auto_reset="next-step") as pool:
        first = pool.reset(seeds=[1, None])
        ended = pool.step([{"by": 99}, {"by": 1}])
        assert isinstance(ended[0], StepResult)
        assert (ended[0].done, seen(ended[0])) == (True, 99)
        after = pool.step([{"by": 5}, {"by": 1}])
        assert isinstance(after[0], StepResult)
        assert (after[0].done, seen(after[0]), after[0].step, after[0].reward) == (False, 0, 0, None)
        assert after[0].episode_id != first[0].episode_id  # type: ignore[union-attr]
        assert [seen(o) for o in pool.step([{"by": 5}, {"by": 1}])] == [5, 3]


def test_same_step_resets_at_once_and_keeps_the_end(workers: int) -> None:
    with openenv.make_pool(Walk, n=2, workers=workers, auto_reset=AutoReset.SAME_STEP) as pool:
        pool.reset()
        pool.step([{"by": 1}, {"by": 1}])
        ended, other = pool.step([{"by": 99}, {"by": 1}])
        assert isinstance(ended, PoolResult)
        assert isinstance(ended.final, StepResult)
        assert (ended.reward, ended.done, ended.terminated) == (99.0, True, True)
        assert (seen(ended), ended.step) == (0, 0)
        assert (seen(ended.final), ended.final.step) == (100, 2)
        assert ended.episode_id != ended.final.episode_id
        assert ended.reset_error is None
        assert type(other) is StepResult
        assert [seen(o) for o in pool.step([{"by": 5}, {"by": 1}])] == [5, 3]


def test_automatic_resets_of_a_seeded_slot_repeat(workers: int) -> None:
    def run(policy: str) -> list[Any]:
        with openenv.make_pool(Dice, n=1, workers=workers, auto_reset=policy) as pool:  # type: ignore[arg-type]
            pool.reset(seeds=[5])
            return [seen(pool.step([{"end": True}])[0]) for _ in range(6)]

    for policy in ("next-step", "same-step"):
        assert run(policy) == run(policy)
        assert len(set(run(policy))) > 3


def test_same_step_whose_reset_fails_keeps_the_reward() -> None:
    with openenv.make_pool(Lucky, n=1, workers=1, auto_reset="same-step") as pool:
        pool.reset()
        (ended,) = pool.step([{"end": True}])
        assert isinstance(ended, PoolResult)
        assert (ended.reward, seen(ended), ended.done) == (3.0, 7, True)
        assert isinstance(ended.reset_error, EnvironmentFailedError)
        (again,) = pool.step([{"end": False}])
        assert isinstance(again, EnvironmentFailedError)
        assert "no second time" in str(again)


def test_gymnasiums_own_names_are_understood() -> None:
    from gymnasium.vector import AutoresetMode

    for mode, policy in [
        (AutoresetMode.NEXT_STEP, AutoReset.NEXT_STEP),
        (AutoresetMode.SAME_STEP, AutoReset.SAME_STEP),
        (AutoresetMode.DISABLED, AutoReset.DISABLED),
        ("same_step", AutoReset.SAME_STEP),
        (AutoReset.NEXT_STEP, AutoReset.NEXT_STEP),
    ]:
        with openenv.make_pool(Walk, n=1, workers=0, auto_reset=mode) as pool:  # type: ignore[arg-type]
            assert pool.auto_reset is policy
    with pytest.raises(UsageError, match="auto_reset"):
        openenv.make_pool(Walk, n=1, workers=0, auto_reset=None)  # type: ignore[arg-type]


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(UsageError, match="'disabled', 'next-step', 'same-step'"):
        openenv.make_pool(Walk, n=1, workers=0, auto_reset="never")  # type: ignore[arg-type]


# As they arrive ------------------------------------------------------------------------------------


def test_iterating_gives_results_as_they_arrive(workers: int) -> None:
    with openenv.make_pool(Walk, n=4, workers=workers, host="thread") as pool:
        pool.reset()
        pool.send([{"by": 1, "pause": pause} for pause in (4.0, 0.0, 1.0, 0.1)])
        arrived = []
        for ready in pool:
            assert isinstance(ready, Ready)
            arrived.append(ready.slot)
            if ready.slot == 1 and arrived.count(1) < 3:
                pool.send([{"by": 1}], indices=[1])
        assert sorted(arrived) == [0, 1, 1, 1, 2, 3]
        assert arrived[-1] == 0
        assert pool.idle == [0, 1, 2, 3]


def test_recv_waits_for_a_number_of_results(pool: openenv.Pool) -> None:
    pool.reset()
    with pytest.raises(OrderError, match="no call is on its way"):
        pool.recv()
    pool.send([{"by": 1}] * 3, indices=[0, 2, 4])
    assert pool.idle == [1, 3]
    with pytest.raises(OrderError, match="slot 2"):
        pool.send([{"by": 1}], indices=[2])
    with pytest.raises(OrderError, match="slot 0"):
        pool.step([{"by": 1}] * 5)
    assert [seen(o) for o in pool.step([{"by": 7}, {"by": 7}], indices=[1, 3])] == [7, 7]
    got: list[Ready] = []
    while len(got) < 3:
        got += pool.recv(3)
    assert sorted(ready.slot for ready in got) == [0, 2, 4]
    pool.send_reset(seeds=[3], indices=[0])
    assert pool.recv()[0].outcome.seed == 3  # type: ignore[union-attr]


def test_recv_has_a_deadline(workers: int) -> None:
    with openenv.make_pool(Walk, n=2, workers=workers, host="thread") as pool:
        pool.reset()
        pool.send([{"by": 1, "pause": 3.0}, {"by": 1, "pause": 3.0}])
        assert pool.recv(2, timeout_s=0.05) == []
        assert pool.statistics().in_flight == 2
        assert len(pool.recv(2)) == 2


def test_back_pressure_waits_or_says_so(workers: int) -> None:
    with openenv.make_pool(Walk, n=6, workers=workers, host="thread", max_in_flight=2) as pool:
        assert [seen(o) for o in pool.reset()] == [0] * 6
        assert [seen(o) for o in pool.step([{"by": 1}] * 6)] == [1] * 6
        pool.send([{"by": 1, "pause": 3.0}] * 2, indices=[0, 1])
        with pytest.raises(PoolBusyError, match="max_in_flight is 2") as busy:
            pool.send([{"by": 1}], indices=[2], wait_s=0.05)
        assert busy.value.retryable
        assert pool.idle == [2, 3, 4, 5]
        pool.send([{"by": 1}], indices=[2])
        assert sorted(ready.slot for ready in pool) == [0, 1, 2]
        with pytest.raises(UsageError, match="send fewer at a time"):
            pool.send([{"by": 1}] * 3, indices=[0, 1, 2])
    with pytest.raises(UsageError, match="max_in_flight"):
        openenv.make_pool(Walk, n=2, workers=workers, max_in_flight=0)


# Deadlines -----------------------------------------------------------------------------------------


def test_a_deadline_stops_one_session_only(workers: int) -> None:
    with openenv.make_pool(Walk, n=3, workers=workers, timeout_s=2.0) as pool:
        pool.reset()
        outcomes = pool.step([{"by": 1}, {"by": 1, "pause": 30}, {"by": 1}])
        assert isinstance(outcomes[1], StepTimeoutError)
        assert [seen(outcomes[0]), seen(outcomes[2])] == [1, 1]
        assert isinstance(pool.step([{"by": 1}], indices=[1])[0], OrderError)
        assert seen(pool.reset(indices=[1])[0]) == 0


def test_a_call_may_bring_its_own_deadline(workers: int) -> None:
    with openenv.make_pool(Walk, n=2, workers=workers, host="thread") as pool:
        pool.reset()
        outcomes = pool.step([{"by": 1, "pause": 30}, {"by": 1}], timeout_s=2.0)
        assert isinstance(outcomes[0], StepTimeoutError)
        assert seen(outcomes[1]) == 1


def test_a_worker_that_cannot_be_stopped_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openenv.pool.local.GRACE_S", 1.0)
    with openenv.make_pool(Stubborn, n=2, workers=2, timeout_s=2.0) as pool:
        pool.reset()
        outcomes = pool.step([{"seconds": 60}, {"seconds": 0}])
        assert isinstance(outcomes[0], SessionLost)
        assert "deadline" in str(outcomes[0])
        assert seen(outcomes[1]) == 0
        assert isinstance(pool.step([{"seconds": 0}], indices=[0])[0], OrderError)
        assert seen(pool.reset(indices=[0])[0]) == 0


def test_asynchronous_environments_wait_together(workers: int) -> None:
    with openenv.make_pool(Slow, n=20, workers=workers) as pool:
        pool.reset()
        assert [seen(o) for o in pool.step([{"seconds": 0.2}] * 20)] == ["waited"] * 20
        late = pool.step([{"seconds": 30}, {"seconds": 0.0}], indices=[0, 1], timeout_s=2.0)
        assert isinstance(late[0], StepTimeoutError)
        assert seen(late[1]) == "waited"


# Life ----------------------------------------------------------------------------------------------


def test_a_closed_pool_refuses_everything(workers: int) -> None:
    pool = openenv.make_pool(Walk, n=2, workers=workers)
    pool.reset()
    pool.close()
    pool.close()
    with pytest.raises(OrderError, match="closed"):
        pool.step([{"by": 1}] * 2)
    assert list(pool) == []
    assert pool.statistics().episodes == 2
    assert len(pool) == 2


def test_threads_take_turns(pool: openenv.Pool) -> None:
    pool.reset()
    places: list[Any] = [None] * 5

    def drive(index: int) -> None:
        for _ in range(20):
            places[index] = seen(pool.step([{"by": 1}], indices=[index])[0])

    threads = [threading.Thread(target=drive, args=(index,)) for index in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert places == [20] * 5


def test_the_action_space_samples_for_the_pool(pool: openenv.Pool) -> None:
    pool.reset()
    action = pool.action_space.sample()
    assert pool.action_space.contains(action)
    assert "workers" in repr(pool) or "process" in repr(pool)


# The asynchronous face -----------------------------------------------------------------------------


async def test_the_asynchronous_face_does_the_same(workers: int) -> None:
    async with openenv.connect_pool(Walk, n=4, workers=workers) as pool:
        assert [seen(o) for o in await pool.reset(seeds=3)] == [0] * 4
        assert [seen(o) for o in await pool.step([{"by": 1}] * 4)] == [1] * 4
        await pool.send([{"by": 1}] * 3, indices=[0, 1, 3])
        got = [ready async for ready in pool]
        assert sorted(ready.slot for ready in got) == [0, 1, 3]
        await pool.send_reset(indices=[2])
        assert (await pool.recv())[0].slot == 2
        with pytest.raises(OrderError):
            await pool.recv()
        assert pool.statistics().steps == 7
        assert pool.action_space.sample() is not None
    with pytest.raises(OrderError, match="closed"):
        await pool.step([{"by": 1}] * 4)
    await pool.close()


async def test_coroutines_drive_their_own_slots(workers: int) -> None:
    async with openenv.connect_pool(Walk, n=8, workers=workers) as pool:
        await pool.reset()

        async def drive(index: int) -> Any:
            for _ in range(10):
                (outcome,) = await pool.step([{"by": index}], indices=[index])
            return seen(outcome)

        assert await asyncio.gather(*map(drive, range(8))) == [10 * index for index in range(8)]


async def test_a_cancelled_call_leaves_its_result_to_be_taken(workers: int) -> None:
    async with openenv.connect_pool(Walk, n=2, workers=workers, host="thread") as pool:
        await pool.reset()
        waiting = asyncio.ensure_future(pool.step([{"by": 1, "pause": 2.0}], indices=[0]))
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(OrderError, match="slot 0"):
            await pool.step([{"by": 1}], indices=[0])
        (ready,) = await pool.recv()
        assert (ready.slot, seen(ready.outcome)) == (0, 1)
        assert seen((await pool.step([{"by": 1}], indices=[0]))[0]) == 2


async def test_async_deadlines_and_back_pressure(workers: int) -> None:
    async with openenv.connect_pool(Walk, n=4, workers=workers, timeout_s=4.0, max_in_flight=2) as pool:
        await pool.reset()
        outcomes = await pool.step([{"by": 1, "pause": 30}, {"by": 1}, {"by": 1}, {"by": 1}])
        assert isinstance(outcomes[0], StepTimeoutError)
        assert [seen(o) for o in outcomes[1:]] == [1, 1, 1]
        await pool.reset(indices=[0])
        await pool.send([{"by": 1, "pause": 2.0}] * 2, indices=[0, 1])
        with pytest.raises(PoolBusyError):
            await pool.send([{"by": 1}], indices=[2], wait_s=0.02)
        assert await pool.recv(2, timeout_s=0.01) == []
        await pool.send([{"by": 1}], indices=[2])
        assert len([ready async for ready in pool]) == 3


async def test_a_pool_that_was_not_started_says_so() -> None:
    pool = openenv.connect_pool(Walk, n=2, workers=0)
    with pytest.raises(OrderError, match="not been started"):
        await pool.reset()
    assert "not started" in repr(pool)
    await pool.close()
    pool = await openenv.connect_pool(Walk, n=2, workers=0)
    assert len(await pool.reset()) == 2
    assert "Walk" in repr(pool) or "walk" in repr(pool)
    await pool.close()


async def test_closing_wakes_whoever_waits() -> None:
    pool = await openenv.connect_pool(Walk, n=1, workers=1, host="thread")
    await pool.reset()
    waiting = asyncio.ensure_future(pool.step([{"by": 1, "pause": 1.0}]))
    await asyncio.sleep(0.1)
    await pool.close()
    with pytest.raises(OrderError, match="closed"):
        await waiting


def test_ctrl_c_in_a_call_leaves_the_pool_usable() -> None:
    with openenv.make_pool(Walk, n=3, workers=0) as pool:
        pool.reset()
        timer = threading.Timer(1.5, signal.raise_signal, [signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            pool.step([{"by": 1}, {"by": 1, "pause": 20.0}, {"by": 1}])
        timer.join()
        outcomes = {ready.slot: ready.outcome for ready in pool}
        assert seen(outcomes[0]) == seen(outcomes[2]) == 1
        assert isinstance(outcomes[1], InfrastructureError)
        assert "interrupted" in str(outcomes[1])
        assert pool.idle == [0, 1, 2]
        assert [seen(o) for o in pool.step([{"by": 1}] * 2, indices=[0, 2])] == [2, 2]
        assert seen(pool.reset(indices=[1])[0]) == 0


def test_another_event_loop_has_no_part_in_the_pool(workers: int) -> None:
    async def make() -> openenv.AsyncPool:
        return await openenv.connect_pool(Walk, n=1, workers=workers)

    async def use(pool: openenv.AsyncPool) -> None:
        with pytest.raises(UsageError, match="another event loop"):
            await pool.reset()

    loop = asyncio.new_event_loop()
    try:
        pool = loop.run_until_complete(make())
        asyncio.run(use(pool))
        loop.run_until_complete(pool.close())
    finally:
        loop.close()


def test_the_asynchronous_face_on_uvloop(workers: int) -> None:
    import uvloop

    async def drive() -> list[Any]:
        async with openenv.connect_pool(Walk, n=6, workers=workers, auto_reset="next-step") as pool:
            await pool.reset()
            await pool.send([{"by": 1}] * 6)
            counts = dict.fromkeys(range(6), 0)
            async for slot, outcome in pool:
                assert isinstance(outcome, StepResult)
                counts[slot] += 1
                if counts[slot] < 10:
                    await pool.send([{"by": 1}], indices=[slot])
            return list(counts.values())

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(drive()) == [10] * 6


def test_a_forked_process_has_no_part_in_the_pool(pool: openenv.Pool) -> None:
    pool.reset()
    child = os.fork()
    if not child:
        code = 1
        try:
            pool.step([{"by": 1}] * 5)
        except UsageError:
            pool.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [seen(o) for o in pool.step([{"by": 1}] * 5)] == [1] * 5
