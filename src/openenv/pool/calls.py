"""The words of a pool: what goes to a backend, what comes back, and what a caller is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple, Protocol

from openenv.errors import OpenEnvError
from openenv.types import ObsT, StepResult


class AutoReset(StrEnum):
    """What a pool does when an episode ended. The names are Gymnasium's."""

    DISABLED = "disabled"
    """Nothing: a step after the end is an `OrderError`, until `reset` is called for that slot."""
    NEXT_STEP = "next-step"
    """The next step of that slot ignores its action, resets, and returns the first observation."""
    SAME_STEP = "same-step"
    """The step that ends the episode also resets; see `PoolResult`."""

    @classmethod
    def _missing_(cls, value: object) -> AutoReset | None:
        """Take Gymnasium's own spelling as well (`NextStep`, also as a member of its `AutoresetMode`)."""
        said = getattr(value, "value", value)
        folded = said.replace("-", "").replace("_", "").lower() if isinstance(said, str) else None
        return next((policy for policy in cls if policy.value.replace("-", "") == folded), None)


@dataclass(slots=True)
class PoolResult(StepResult[ObsT]):
    """What a step returns that ended an episode under `AutoReset.SAME_STEP`.

    Reward, done, outcome, status, reason and components are those of the step that ended the episode;
    observation, metadata, seed, episode_id and step (0) are those of the episode that has begun.

    Attributes:
        final: the whole result of the step that ended the episode.
        reset_error: why no new episode could begin; the observation is then the final one, and the next
            step of the slot tries to reset again.
    """

    final: StepResult[ObsT] | None = None
    reset_error: OpenEnvError | None = None


Answer = StepResult[Any] | OpenEnvError
"""What becomes of one call: its result, or the typed error."""


class Ready(NamedTuple):
    """One result as it arrives.

    Attributes:
        slot: the slot it belongs to.
        outcome: the result, or the typed error.
    """

    slot: int
    outcome: Answer


@dataclass(slots=True)
class Call:
    """One call of one slot, on its way.

    Attributes:
        slot: index of the slot.
        kind: `reset` or `step`.
        action: the action of a step: a model or a dict.
        seed: seed of a reset.
        options: further options of a reset.
        timeout_s: deadline in seconds.
    """

    slot: int
    kind: Literal["reset", "step"]
    action: Any = None
    seed: int | None = None
    options: dict[str, Any] | None = None
    timeout_s: float | None = None


Arrival = tuple[int, Answer]
"""What a backend reports: a slot, and what became of its call; of a slot without a call, that it is lost."""


@dataclass(frozen=True, slots=True)
class BackendStatistics:
    """A backend's counts.

    Attributes:
        workers: worker processes, or connections, alive now.
        replaced: how many were replaced because they were lost.
        shared_bytes: shared memory mapped for arrays, in bytes.
        waiting: slots that wait for a session of a full server.
    """

    workers: int = 0
    replaced: int = 0
    shared_bytes: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """A pool's counts so far.

    Attributes:
        size: slots.
        in_flight: slots whose call runs.
        arrived: results that nobody has taken.
        episodes: resets that succeeded.
        steps: steps that ran.
        errors: calls that ended with an error.
        lost: episodes lost to a failure of machinery.
        workers: worker processes, or connections, alive now.
        replaced: workers, or sessions of a server, that were replaced because they were lost.
        shared_bytes: shared memory mapped for arrays, in bytes.
        waiting: slots that wait for a session of a full server.
    """

    size: int
    in_flight: int
    arrived: int
    episodes: int
    steps: int
    errors: int
    lost: int
    workers: int
    replaced: int
    shared_bytes: int
    waiting: int


class Backend(Protocol):
    """Where a pool's sessions run. Nothing here blocks but `close`; one thread at a time calls it.

    Attributes:
        stoppable: whether a single call may have a deadline.
    """

    stoppable: bool

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that are alive."""

    def fileno(self) -> int:
        """A descriptor that is readable when `pump` has something to do."""

    def submit(self, calls: Sequence[Call], together: bool = False) -> None:
        """Take calls of slots that have none running.

        Args:
            calls: the calls.
            together: whether the caller waits for all of them, so that one answer for all is best.
        """

    def pump(self) -> list[Arrival]:
        """Do what is due and return what has arrived."""

    def alarm(self) -> float | None:
        """The `time.monotonic()` at which `pump` must be called even if nothing is readable."""

    def action_schema(self) -> dict[str, Any]:
        """The JSON Schema of an action."""

    def statistics(self) -> BackendStatistics:
        """Counts so far."""

    def close(self) -> None:
        """End every session and leave nothing behind."""
