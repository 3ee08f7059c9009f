"""Random episodes for `openenv run`: what happened in each, and the sum of all.

An episode that failed is `unscored`: it counts as an episode and its steps count, its return does not.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from openenv.errors import EnvironmentFailedError, InfrastructureError, InvalidActionError, OpenEnvError
from openenv.protocol.jsonvalue import to_jsonable
from openenv.types import EpisodeStatus, StepOutcome, StepResult

Event = dict[str, Any]


class Space(Protocol):
    """Where actions come from."""

    def seed(self, seed: int | None = None, /) -> Any: ...
    def sample(self) -> Any: ...


class Drivable(Protocol):
    """The part of `openenv.client.Env` that a rollout needs."""

    def reset(self, *, seed: int | None = None) -> Any: ...
    def step(self, action: Any, /) -> StepResult[Any]: ...

    @property
    def action_space(self) -> Space: ...
    @property
    def last(self) -> StepResult[Any] | None: ...


@dataclass(slots=True)
class Rollout:
    """One episode.

    Attributes:
        episode: its number in the run, from 0.
        seed: what it was reset with.
        steps: steps that ran.
        total: sum of the rewards; None if the episode is unscored.
        status: how it ended; ``running`` if the run's own limit of steps cut it off.
        reason: why, if the environment said so.
        outcomes: how many calls had which outcome.
        error: what failed, if something did.
        seconds: how long it took.
    """

    episode: int
    seed: int
    steps: int = 0
    total: float | None = 0.0
    status: str = EpisodeStatus.RUNNING.value
    reason: str | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    error: str | None = None
    seconds: float = 0.0

    @property
    def lost(self) -> bool:
        """Whether the machinery failed, so that the run cannot go on."""
        return StepOutcome.INFRA_ERROR.value in self.outcomes

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able form."""
        facts = asdict(self)
        facts["return"] = facts.pop("total")
        return {**facts, "outcomes": dict(self.outcomes)}


def rollouts(
    env: Drivable, episodes: int, *, seed: int, max_steps: int, record: Callable[[Event], None] | None = None
) -> Iterator[Rollout]:
    """Run episodes of random actions; stops early only when the machinery fails.

    Args:
        env: the environment.
        episodes: how many.
        seed: seed of the first episode and of its actions; the next has the next.
        max_steps: steps after which an episode that has not ended is left.
        record: is given every reset and step as JSON.
    """
    for number in range(episodes):
        rollout = Rollout(number, seed + number)
        started = time.perf_counter()
        _run(env, rollout, max_steps, record)
        rollout.seconds = time.perf_counter() - started
        yield rollout
        if rollout.lost:
            return


def _run(env: Drivable, rollout: Rollout, max_steps: int, record: Callable[[Event], None] | None) -> None:
    try:
        env.reset(seed=rollout.seed)
        if record and env.last is not None:
            record(_event("reset", rollout, None, env.last))
        env.action_space.seed(rollout.seed)
        for _ in range(max_steps):
            action = env.action_space.sample()
            result = _step(env, action, rollout)
            if result is None:
                continue
            if record:
                record(_event("step", rollout, action, result))
            if result.done:
                rollout.status, rollout.reason = result.status.value, result.reason
                return
    except (EnvironmentFailedError, InfrastructureError) as error:
        _lose(rollout, error)
        if record:
            record(
                {
                    "kind": "error",
                    "episode": rollout.episode,
                    "outcome": error.outcome.value,
                    "message": str(error),
                }
            )


def _step(env: Drivable, action: Any, rollout: Rollout) -> StepResult[Any] | None:
    """The result of one step, counted; None if the action was refused."""
    try:
        result = env.step(action)
    except InvalidActionError as error:
        rollout.outcomes[error.outcome.value] += 1
        return None
    rollout.steps += 1
    rollout.outcomes[result.outcome.value] += 1
    if rollout.total is not None:
        rollout.total += float(result.reward or 0.0)
    return result


def _lose(rollout: Rollout, error: OpenEnvError) -> None:
    rollout.outcomes[error.outcome.value] += 1
    rollout.status, rollout.total = EpisodeStatus.UNSCORED.value, None
    rollout.error = f"{type(error).__name__} in step {rollout.steps + 1}: {error}"


def _event(kind: str, rollout: Rollout, action: Any, result: StepResult[Any]) -> Event:
    return {
        "kind": kind,
        "episode": rollout.episode,
        "step": result.step if result.step is not None else rollout.steps,
        "action": to_jsonable(action),
        "observation": to_jsonable(result.observation),
        "reward": result.reward,
        "done": result.done,
        "outcome": result.outcome.value,
        "status": result.status.value,
        "seed": rollout.seed,
    }


def summary(done: list[Rollout], seconds: float) -> dict[str, Any]:
    """The sum of a run.

    Args:
        done: its episodes.
        seconds: how long the run took.
    """
    returns = [rollout.total for rollout in done if rollout.total is not None]
    lengths = [rollout.steps for rollout in done]
    steps = sum(lengths)
    return {
        "episodes": len(done),
        "steps": steps,
        "return": _spread(returns),
        "length": _spread([float(length) for length in lengths]),
        "statuses": dict(Counter(rollout.status for rollout in done)),
        "reasons": dict(Counter(rollout.reason for rollout in done if rollout.reason)),
        "outcomes": dict(sum((rollout.outcomes for rollout in done), Counter())),
        "seconds": round(seconds, 4),
        "steps_per_s": round(steps / seconds, 1) if seconds > 0 else None,
        "errors": [
            {"episode": rollout.episode, "seed": rollout.seed, "error": rollout.error}
            for rollout in done
            if rollout.error
        ],
    }


def _spread(values: list[float]) -> dict[str, float] | None:
    """Mean, standard deviation (of the population), least and greatest; None of nothing."""
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    return {"mean": mean, "std": deviation, "min": min(values), "max": max(values)}
