"""Pools over real servers: ours and one that speaks the plain protocol only."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.client.scripted import ScriptedServer, counting
from tests.pool.environments import Dice, Walk

import openenv
from openenv.errors import (
    AuthenticationError,
    EnvironmentFailedError,
    InvalidActionError,
    OrderError,
    ServerUnreachableError,
    SessionCapacityError,
    SessionLost,
    StepTimeoutError,
    UsageError,
)
from openenv.pool import PoolResult
from openenv.server.app import make_app
from openenv.server.run import BackgroundServer
from openenv.server.settings import ServerSettings
from openenv.types import StepResult

pytestmark = pytest.mark.timeout(120)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    running: list[BackgroundServer] = []

    def start(target: type = Walk, **settings: Any) -> str:
        given = ServerSettings(**{"host": "127.0.0.1", "max_sessions": 64, **settings})
        running.append(BackgroundServer(make_app(target, given)))
        return running[-1].start()

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def process() -> Iterator[Callable[..., tuple[str, subprocess.Popen[str]]]]:
    """Servers in processes of their own, which can be killed."""
    running: list[subprocess.Popen[str]] = []

    def start(most: int) -> tuple[str, subprocess.Popen[str]]:
        program = (
            "from openenv.server.app import make_app; from openenv.server.run import BackgroundServer\n"
            "from openenv.server.settings import ServerSettings; from tests.pool.environments import Walk\n"
            f"settings = ServerSettings(host='127.0.0.1', max_sessions={most})\n"
            "server = BackgroundServer(make_app(Walk, settings))\n"
            "print(server.start(), flush=True); input()"
        )
        command = [sys.executable, "-c", program]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        running.append(server)
        assert server.stdout is not None
        return server.stdout.readline().strip(), server

    yield start
    for server in running:
        server.kill()
        server.communicate()


def places(outcomes: list[Any]) -> list[Any]:
    return [o.observation.result if isinstance(o, StepResult) else type(o) for o in outcomes]


def test_it_is_the_same_pool_over_a_server(serve: Callable[..., str]) -> None:
    with openenv.make_pool(serve(), n=5) as pool:
        first = pool.reset(seeds=[1, 2, 3, 4, None])
        assert places(first) == [0] * 5
        assert [o.seed for o in first[:4]] == [1, 2, 3, 4]  # type: ignore[union-attr]
        outcomes = pool.step([{"by": 1}, {"by": 13}, {"by": "x"}, {"by": 50}, {"by": 99}])
        assert places(outcomes) == [1, EnvironmentFailedError, InvalidActionError, 50, 99]
        assert outcomes[3].components == {"far": 0.5}  # type: ignore[union-attr]
        assert outcomes[4].done  # type: ignore[union-attr]
        assert places(pool.step([{"by": 2}] * 5)) == [3, 2, 2, 52, OrderError]
        assert places(pool.reset(indices=[4], options={"start": 7})) == [7]
        assert places(pool.step([{"by": 1}, {"by": 1}], indices=[4, 0])) == [8, 4]
        assert pool.action_space.sample() is not None
        statistics = pool.statistics()
        assert (statistics.steps, statistics.episodes, statistics.lost) == (9, 6, 0)
        assert statistics.workers >= 1
        assert "127.0.0.1" in repr(pool)


def test_results_arrive_as_they_are_there(serve: Callable[..., str]) -> None:
    with openenv.make_pool(serve(), n=3) as pool:
        pool.reset()
        pool.send([{"by": 1, "pause": 4.0}, {"by": 1}, {"by": 1, "pause": 1.0}])
        order = []
        for ready in pool:
            order.append(ready.slot)
            if ready.slot == 1 and order.count(1) < 3:
                pool.send([{"by": 1}], indices=[1])
        assert sorted(order) == [0, 1, 1, 1, 2]
        assert (order[0], order[-1]) == (1, 0)


def test_deadlines_travel(serve: Callable[..., str]) -> None:
    with openenv.make_pool(serve(), n=2) as pool:
        pool.reset()
        outcomes = pool.step([{"by": 1, "pause": 30}, {"by": 1}], timeout_s=2.0)
        assert places(outcomes) == [StepTimeoutError, 1]
        assert places(pool.step([{"by": 1}] * 2)) == [OrderError, 2]
        assert places(pool.reset(indices=[0])) == [0]


@pytest.mark.parametrize("policy", ["next-step", "same-step"])
def test_automatic_resets(serve: Callable[..., str], policy: Any) -> None:
    with openenv.make_pool(serve(Dice), n=2, auto_reset=policy) as pool:
        pool.reset(seeds=[1, 2])
        for turn in range(6):
            outcomes = pool.step([{"end": True}, {"end": False}])
            assert all(isinstance(outcome, StepResult) for outcome in outcomes), outcomes
            assert isinstance(outcomes[0], PoolResult) == (policy == "same-step")
            assert outcomes[0].done == (policy == "same-step" or turn % 2 == 0)  # type: ignore[union-attr]


def test_sessions_are_spread_over_servers(serve: Callable[..., str]) -> None:
    urls = [serve() for _ in range(3)]
    with openenv.make_pool(urls, n=12) as pool:
        assert places(pool.reset()) == [0] * 12
        counts = [server.count for server in pool._backend._servers]  # type: ignore[attr-defined]
        assert sum(counts) == 12
        assert max(counts) - min(counts) <= 1
        assert places(pool.step([{"by": n} for n in range(12)])) == list(range(12))


def test_ten_times_more_slots_than_sessions_fail_no_episode(serve: Callable[..., str]) -> None:
    url = serve(max_sessions=4, queue_timeout_s=0.2)
    with openenv.make_pool(url, n=40, auto_reset="disabled") as pool:
        pool.send_reset(seeds=0)
        wanted, done, most_waiting = dict.fromkeys(range(40), 2), 0, 0
        for ready in pool:
            outcome = ready.outcome
            assert isinstance(outcome, StepResult), outcome
            most_waiting = max(most_waiting, pool.statistics().waiting)
            if not outcome.done:
                by = 99 if outcome.step == 3 else 1
                assert outcome.observation.result == outcome.step, "one episode, one session"
                pool.send([{"by": by}], indices=[ready.slot])
                continue
            done += 1
            wanted[ready.slot] -= 1
            if wanted[ready.slot]:
                pool.send_reset(indices=[ready.slot])
        assert done == 80
        assert most_waiting >= 30
        statistics = pool.statistics()
        assert (statistics.episodes, statistics.errors, statistics.waiting) == (80, 0, 0)


def test_a_slot_waits_no_longer_than_its_deadline(serve: Callable[..., str]) -> None:
    url = serve(max_sessions=2, queue_timeout_s=0.1)
    with openenv.make_pool(url, n=4, capacity_timeout_s=1.0) as pool:
        began = time.monotonic()
        outcomes = pool.reset()
        assert 0.9 < time.monotonic() - began < 30
        assert sorted(map(str, map(type, outcomes))) == sorted(
            [str(StepResult)] * 2 + [str(SessionCapacityError)] * 2
        )
        late = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, SessionCapacityError)]
        assert "no session within 1 s" in str(outcomes[late[0]])
        assert isinstance(pool.step([{"by": 1}], indices=late[:1])[0], OrderError)
        lucky = next(n for n in range(4) if n not in late)
        pool.send_reset(indices=late[:1])
        assert pool.step([{"by": 99}], indices=[lucky])[0].done  # type: ignore[union-attr]
        (ready,) = pool.recv()
        assert places([ready.outcome]) == [0]


def test_a_killed_server_loses_its_sessions_only(process: Callable[..., Any]) -> None:
    (stays, _), (dies, doomed) = process(8), process(8)
    with openenv.make_pool([stays, dies], n=6, reconnect_timeout_s=0.5, auto_reset="next-step") as pool:
        first = pool.reset()
        assert places(pool.step([{"by": 1}] * 6)) == [1] * 6
        doomed.kill()
        outcomes = pool.step([{"by": 1}] * 6)
        assert places(outcomes).count(2) == 3
        lost = [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, StepResult)]
        assert len(lost) == 3
        for index in lost:
            error = outcomes[index]
            assert isinstance(error, SessionLost)
            assert (error.episode, error.step) == (first[index].episode_id, 1)  # type: ignore[union-attr]
        again = pool.step([{"by": 1}] * 6)
        assert [places(again)[index] for index in lost] == [0, 0, 0], "on the server that is left"
        assert pool.statistics().lost == 3
        assert pool.statistics().replaced == 3


def test_a_server_that_speaks_the_plain_protocol() -> None:
    server = ScriptedServer(counting)
    try:
        with openenv.make_pool(server.url, n=4, models=False) as pool:
            first = pool.reset()
            assert all(isinstance(outcome, StepResult) for outcome in first), first
            outcomes = pool.step([{"by": n} for n in range(4)])
            assert all(isinstance(outcome, StepResult) for outcome in outcomes), outcomes
            assert pool.statistics().workers == 4
    finally:
        server.stop()


def test_servers_that_are_not_there_or_not_ours(serve: Callable[..., str]) -> None:
    with pytest.raises(ServerUnreachableError):
        openenv.make_pool("http://127.0.0.1:9", n=2)
    with pytest.raises(AuthenticationError):
        openenv.make_pool(serve(token="right"), n=2, token="wrong")
    with openenv.make_pool(["http://127.0.0.1:9", serve()], n=2) as pool:
        assert places(pool.reset()) == [0, 0]
    with pytest.raises(UsageError, match="no such option"):
        openenv.make_pool("http://127.0.0.1:9", n=2, colour="red")
    with pytest.raises(UsageError, match="capacity_timeout_s"):
        openenv.make_pool("http://127.0.0.1:9", n=2, capacity_timeout_s=0)


async def test_the_asynchronous_face(serve: Callable[..., str]) -> None:
    async with openenv.connect_pool([serve(), serve()], n=8) as pool:
        await pool.reset()

        async def drive(index: int) -> Any:
            for _ in range(5):
                (outcome,) = await pool.step([{"by": index}], indices=[index])
            return places([outcome])[0]

        assert await asyncio.gather(*map(drive, range(8))) == [5 * index for index in range(8)]


def test_close_ends_the_sessions_of_the_server(serve: Callable[..., str]) -> None:
    url = serve(max_sessions=2, queue_timeout_s=5.0)
    for _ in range(3):
        with openenv.make_pool(url, n=2) as pool:
            assert places(pool.reset()) == [0, 0]


def test_a_connection_that_breaks_loses_nothing(serve: Callable[..., str]) -> None:
    with openenv.make_pool(serve(), n=8) as pool:
        first = pool.reset()
        assert places(pool.step([{"by": 1}] * 8)) == [1] * 8
        inner: Any = pool._backend
        group = inner._servers[0].group
        inner._thread.loop.call_soon_threadsafe(group._lanes[0]._transport.abort)
        outcomes = pool.step([{"by": 1}] * 8)
        assert places(outcomes) == [2] * 8
        assert [o.episode_id for o in outcomes] == [o.episode_id for o in first]  # type: ignore[union-attr]
        assert (pool.statistics().lost, pool.statistics().workers) == (0, 1)
        until = time.monotonic() + 30
        while not group.statistics().reconnects and time.monotonic() < until:
            pool.step([{"by": 0}] * 8)
        assert group.statistics().reconnects == 1
