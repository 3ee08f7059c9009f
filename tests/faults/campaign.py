"""Many episodes under faults, and the verdict: equal to the fault-free run, or a typed loss.

The episodes are shared out over every way to drive a session: groups whose sessions step in one frame, groups
whose results are taken as they come, synchronous clients in threads, asynchronous clients of one loop.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.faults.chain import plan, trajectory

from openenv.client import AsyncEnv, SessionGroup, SessionOutcome, connect, make_remote
from openenv.errors import (
    OpenEnvError,
    ServerUnreachableError,
    SessionCapacityError,
    SessionLost,
    StepTimeoutError,
)

PATIENCE_S = 20.0
"""How long a client tries to get back to its server: longer than a killed one takes to start again."""

START_S = 60.0
"""How long a server may take to start again."""

NO_SESSION_YET = (ServerUnreachableError, SessionCapacityError)
"""What a client is told that found no server, or a busy one: nothing has begun."""

OPTIONS: dict[str, Any] = {
    "reconnect_timeout_s": PATIENCE_S,
    "ping_interval_s": 1.0,
    "ping_timeout_s": 1.0,
    "connect_timeout_s": 10.0,
}


@dataclass
class Report:
    """What became of the episodes.

    Attributes:
        equal: episodes whose trajectory was that of the fault-free run.
        lost: episodes that ended with a typed loss.
        late: episodes that ended with a deadline that passed here.
        wrong: what must not be: another observation, an untyped error, a loss that names the wrong place.
        reconnects: connections that were followed by another.
    """

    equal: int = 0
    lost: int = 0
    late: int = 0
    wrong: list[str] = field(default_factory=list)
    reconnects: int = 0
    ways: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def episodes(self) -> int:
        return self.equal + self.lost + self.late + len(self.wrong)


class Episode:
    """One episode as its driver sees it."""

    def __init__(self, key: str, steps: int) -> None:
        self.key = key
        self.actions = plan(key, steps)
        self.expected = trajectory(key, self.actions)
        self.seen: list[str] = []

    @property
    def steps_done(self) -> int:
        return len(self.seen) - 1

    @property
    def over(self) -> bool:
        return len(self.seen) == len(self.expected)

    def reset_options(self) -> dict[str, Any]:
        return {"key": self.key}

    def action(self) -> dict[str, int]:
        return {"by": self.actions[self.steps_done]}

    def observed(self, observation: Any, step: int | None) -> str | None:
        """Take an observation; what is wrong with it, None if nothing."""
        digest = observation["result"] if isinstance(observation, dict) else observation
        self.seen.append(digest)
        if digest != self.expected[self.steps_done]:
            return (
                f"{self.key}: step {self.steps_done} observed {digest}, not {self.expected[self.steps_done]}"
            )
        if step != self.steps_done:
            return f"{self.key}: step {self.steps_done} was counted as {step}"
        return None


def judge(report: Report, way: str, episode: Episode, problem: str | OpenEnvError | None) -> None:
    """Enter the end of an episode."""
    with report.lock:
        report.ways[way] += 1
        if problem is None:
            report.equal += 1
        elif type(problem) is SessionLost:
            named = (problem.episode, problem.step, bool(problem.session))
            if episode.seen and named != (episode.key, episode.steps_done, True):
                report.wrong.append(f"{episode.key}: lost at {episode.steps_done}, and told {named}")
            else:
                report.lost += 1
        elif type(problem) is StepTimeoutError:
            report.late += 1
        else:
            report.wrong.append(f"{episode.key}: {problem!r}"[:300])


def persistent(call: Callable[[], Any]) -> Any:
    """Repeat what opens a session until there is a server again."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            return call()
        except NO_SESSION_YET:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class Campaign:
    """Drives episodes until there are enough.

    Args:
        url: the server, behind a proxy or not.
        episodes: how many.
        steps: steps of each.
        name: prefix of the episodes' keys.
        seed: what the few deadlines are drawn from.
        deadlines: share of steps in single sessions that have a deadline of 0.2 s.
        until: `time.monotonic()` at which no further episode begins; None for no end but the number.
        connections: how many groups of each kind and clients of each kind there are at a time.

    Attributes:
        report: what has become of them so far.
        finished: whether all are over.
    """

    def __init__(
        self,
        url: str,
        episodes: int,
        steps: int = 20,
        *,
        name: str = "e",
        seed: int = 0,
        deadlines: float = 0.0,
        until: float | None = None,
        connections: int = 4,
    ) -> None:
        self.url = url
        self.steps = steps
        self.report = Report()
        self._keys = (f"{name}{number}" for number in itertools.count())
        self.finished = False
        self._left = episodes
        self._seed = seed
        self._deadlines = deadlines
        self._until = until
        self._connections = connections
        self._lock = threading.Lock()

    def run(self) -> Report:
        """Drive all episodes; every way gets what it can take."""
        threads = [
            threading.Thread(target=self._guarded, args=(drive, f"{way}-{number}"), daemon=True)
            for number in range(self._connections)
            for way, drive in (
                ("batch", self._batch),
                ("ready", self._as_ready),
                ("sync", self._sync),
            )
        ]
        threads.append(threading.Thread(target=self._guarded, args=(self._all_async, "async"), daemon=True))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.finished = True
        return self.report

    def _guarded(self, drive: Callable[[str], None], lane: str) -> None:
        try:
            drive(lane)
        except BaseException as problem:
            with self.report.lock:
                self.report.wrong.append(f"{lane} ended with {problem!r}")

    def _take(self, n: int = 1) -> list[Episode]:
        """The next episodes, fewer or none at the end."""
        if self._until is not None and time.monotonic() >= self._until:
            return []
        with self._lock:
            n = min(n, self._left)
            self._left -= n
            return [Episode(next(self._keys), self.steps) for _ in range(n)]

    def _options(self, lane: str) -> dict[str, Any]:
        return {**OPTIONS, "headers": {"X-Lane": lane}}

    # Groups --------------------------------------------------------------------------------------------

    def _batch(self, lane: str) -> None:
        self._group(lane, lambda group, indices, data: group.step(indices, data))

    def _as_ready(self, lane: str) -> None:
        self._group(lane, lambda group, indices, data: list(group.as_ready(indices, data)))

    def _group(
        self, lane: str, step: Callable[[SessionGroup, list[int], list[Any]], list[SessionOutcome]]
    ) -> None:
        with SessionGroup(self.url, **self._options(lane)) as group:
            while episodes := self._take(16):
                missing = len(episodes) - len(group.indices)
                if missing > 0:
                    persistent(lambda n=missing: group.open_many(n))
                if group.lost:
                    persistent(lambda: group.replace(group.lost))
                self._episodes(lane, group, dict(zip(group.indices, episodes, strict=False)), step)
            self.report.reconnects += group.statistics().reconnects

    def _episodes(
        self,
        lane: str,
        group: SessionGroup,
        running: dict[int, Episode],
        step: Callable[[SessionGroup, list[int], list[Any]], list[SessionOutcome]],
    ) -> None:
        indices = list(running)
        options = [running[index].reset_options() for index in indices]
        outcomes = group.reset(indices, episode_ids=[running[i].key for i in indices], options=options)
        while True:
            for outcome in outcomes:
                problem = self._taken(running[outcome.index], outcome)
                if problem is not None or running[outcome.index].over:
                    judge(self.report, lane.partition("-")[0], running.pop(outcome.index), problem)
            indices = list(running)
            if not indices:
                return
            outcomes = step(group, indices, [running[index].action() for index in indices])
            if sorted(outcome.index for outcome in outcomes) != sorted(indices):
                raise AssertionError(f"asked {indices}, got {[o.index for o in outcomes]}")

    @staticmethod
    def _taken(episode: Episode, outcome: SessionOutcome) -> str | OpenEnvError | None:
        if outcome.error is not None:
            return outcome.error
        result = outcome.unwrap()
        return episode.observed(result.observation, result.step)

    # Single sessions -------------------------------------------------------------------------------------

    def _deadline(self, random: Random) -> float | None:
        return 0.2 if random.random() < self._deadlines else None

    def _sync(self, lane: str) -> None:
        random = Random(f"{self._seed} {lane}")
        with make_remote(self.url, models=False, **self._options(lane)) as env:
            while episodes := self._take():
                [episode] = episodes
                problem: str | OpenEnvError | None = None
                try:
                    options = {"episode_id": episode.key, **episode.reset_options()}
                    observation = persistent(lambda options=options: env.reset(**options))
                    problem = episode.observed(observation, env.last and env.last.step)
                    while problem is None and not episode.over:
                        result = env.step(episode.action(), timeout_s=self._deadline(random))
                        problem = episode.observed(result.observation, result.step)
                except OpenEnvError as error:
                    problem = error
                judge(self.report, "sync", episode, problem)

    def _all_async(self, lane: str) -> None:
        async def all_of_them() -> None:
            await asyncio.gather(*(self._async(f"{lane}-{n}") for n in range(2 * self._connections)))

        asyncio.run(all_of_them())

    async def _async(self, lane: str) -> None:
        random = Random(f"{self._seed} {lane}")
        async with connect(self.url, models=False, **self._options(lane)) as env:
            while episodes := self._take():
                [episode] = episodes
                problem: str | OpenEnvError | None = None
                try:
                    observation = await self._begun(env, episode)
                    problem = episode.observed(observation, env.last and env.last.step)
                    while problem is None and not episode.over:
                        result = await env.step(episode.action(), timeout_s=self._deadline(random))
                        problem = episode.observed(result.observation, result.step)
                except OpenEnvError as error:
                    problem = error
                judge(self.report, "async", episode, problem)

    @staticmethod
    async def _begun(env: AsyncEnv, episode: Episode) -> Any:
        """The first observation; where nothing answers, the reset is made again when something does."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                return await env.reset(episode_id=episode.key, **episode.reset_options())
            except NO_SESSION_YET:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)
