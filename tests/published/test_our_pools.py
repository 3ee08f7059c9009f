"""Our pools over servers of the published package: one plain connection per session, driven concurrently."""

from __future__ import annotations

from typing import Any

import pytest
from tests.published.conftest import PublishedServer, Serve

import openenv
from openenv.errors import OrderError
from openenv.types import StepResult


@pytest.fixture(scope="module")
def counter(serve_published: Serve) -> PublishedServer:
    return serve_published("counter")


def counts(outcomes: list[Any]) -> list[Any]:
    return [o.observation.count if isinstance(o, StepResult) else type(o) for o in outcomes]


def test_a_pool_is_a_pool(counter: PublishedServer) -> None:
    with openenv.make_pool(counter.url, n=6) as pool:
        assert counts(pool.reset(seeds=0)) == [0] * 6
        assert counts(pool.step([{"by": n} for n in range(-2, 4)])) == [-2, -1, 0, 1, 2, 3]
        assert counts(pool.step([{"by": 1}, {"by": 1}], indices=[5, 0])) == [4, -1]
        pool.send([{"by": 1, "seconds": 0.0}] * 6)
        assert sorted(ready.slot for ready in pool) == list(range(6))
        assert pool.statistics().workers == 6


def test_slots_beyond_its_capacity_wait(counter: PublishedServer) -> None:
    """It has 8 sessions, no queue, and refuses the ninth: 40 slots take turns."""
    with openenv.make_pool(counter.url, n=40) as pool:
        pool.send_reset()
        steps = dict.fromkeys(range(40), 0)
        for slot, outcome in pool:
            assert isinstance(outcome, StepResult), outcome
            if not outcome.done:
                steps[slot] += 1
                mode = "end" if steps[slot] == 4 else "count"
                pool.send([{"by": 1, "mode": mode}], indices=[slot])
        assert set(steps.values()) == {4}
        statistics = pool.statistics()
        assert (statistics.episodes, statistics.errors) == (40, 0)
        assert isinstance(pool.step([{"by": 1}], indices=[0])[0], OrderError)
