"""The words of the framework: what goes in, what comes out, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypeVar

# With defaults, `class Guess(Environment)` and `StepResult` need no brackets under strict type checkers.
ActT = TypeVar("ActT", default=Any)
ObsT = TypeVar("ObsT", default=Any)
StateT = TypeVar("StateT", default=Any)
ValueT = TypeVar("ValueT")


class StepOutcome(StrEnum):
    """What became of one call (`reset` or `step`)."""

    OK = "ok"
    """It ran; observation and reward count."""
    INVALID_ACTION = "invalid_action"
    """The action did not fit the schema or the moment; nothing ran."""
    TOOL_ERROR = "tool_error"
    """The tool that the action called failed; the observation says how."""
    TIMEOUT = "timeout"
    """The deadline passed and the work was stopped; there is no reward."""
    ENV_ERROR = "env_error"
    """The environment's code failed; there is no reward."""
    INFRA_ERROR = "infra_error"
    """The machinery failed; there is no reward."""


class EpisodeStatus(StrEnum):
    """Where an episode stands."""

    RUNNING = "running"
    TERMINATED = "terminated"
    """It reached an end of the task."""
    TRUNCATED = "truncated"
    """A limit cut it off; `StepResult.reason` says which."""
    UNSCORED = "unscored"
    """It was lost to a failure: its return is unknown and must be masked."""


class Action(BaseModel):
    """Base of typed actions. Unknown fields are refused.

    Attributes:
        metadata: free-form remarks of the caller; environments ignore them unless they say otherwise.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True, arbitrary_types_allowed=True)

    metadata: dict[str, Any] = Field(default_factory=dict)


class Observation(BaseModel):
    """Base of typed observations.

    Attributes:
        done: whether the episode ended with this observation.
        reward: reward of the step; None where there is none.
        metadata: free-form facts beside the observation.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True, arbitrary_types_allowed=True)

    done: bool = False
    reward: bool | int | float | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class State(BaseModel):
    """Base of an environment's public state. Further fields are allowed.

    Attributes:
        episode_id: id of the current episode, None before the first reset.
        step_count: steps taken in the current episode.
    """

    model_config = ConfigDict(extra="allow", validate_assignment=True, arbitrary_types_allowed=True)

    episode_id: str | None = None
    step_count: int = Field(default=0, ge=0)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[ValueT]):
    """What an author's `step` or tool returns when a plain value does not say enough.

    Attributes:
        value: the observation, or the tool's result.
        reward: reward of this step; None leaves it to the rubric, or to be unscored.
        terminated: the task reached an end (won, lost, submitted).
        truncated: the episode is cut off for a reason outside the task.
        reason: one word or short phrase that says why it ended.
        components: named parts of the reward, for logs and trainers; not added to `reward`.
        metadata: facts that travel beside the observation.
    """

    value: ValueT = None  # type: ignore[assignment]
    reward: float | None = None
    terminated: bool = False
    truncated: bool = False
    reason: str | None = None
    components: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class StepResult(Generic[ObsT]):
    """What a caller gets back from a step.

    It unpacks in the Gymnasium-style four: ``observation, reward, done, info = env.step(action)``.

    Attributes:
        observation: the observation model (or a dict, from a generic client).
        reward: reward of the step; None where there is none or it is unknown.
        done: whether the episode ended.
        metadata: facts beside the observation, None if there are none.
        outcome: what became of the step: `ok` or `tool_error`, or `invalid_action` for a tool call that
            names no tool or has wrong arguments; every other outcome is an exception.
        status: where the episode stands after it.
        reason: why the episode ended, if it did.
        components: named parts of the reward.
        seed: the seed this episode was reset with.
        episode_id: id of the episode.
        step: how many steps the episode has taken, this one included (0 after a reset).
    """

    observation: ObsT
    reward: float | None = None
    done: bool = False
    metadata: dict[str, Any] | None = None
    outcome: StepOutcome = StepOutcome.OK
    status: EpisodeStatus = EpisodeStatus.RUNNING
    reason: str | None = None
    components: dict[str, float] = field(default_factory=dict)
    seed: int | None = None
    episode_id: str | None = None
    step: int | None = None

    @property
    def terminated(self) -> bool:
        """The task reached an end."""
        return self.status is EpisodeStatus.TERMINATED

    @property
    def truncated(self) -> bool:
        """A limit cut the episode off."""
        return self.status is EpisodeStatus.TRUNCATED

    @property
    def info(self) -> dict[str, Any]:
        """Everything beside observation, reward and done, as one dict in the manner of Gymnasium."""
        return {
            **(self.metadata or {}),
            "outcome": self.outcome.value,
            "status": self.status.value,
            "terminated": self.terminated,
            "truncated": self.truncated,
            "reason": self.reason,
            "components": dict(self.components),
            "seed": self.seed,
            "episode_id": self.episode_id,
            "step": self.step,
        }

    def __iter__(self) -> Iterator[Any]:
        """Yield observation, reward, done, info."""
        yield self.observation
        yield self.reward
        yield self.done
        yield self.info


class EnvironmentMetadata(BaseModel):
    """What an environment says about itself.

    Attributes:
        name: its name.
        description: what it is, for a reader who has never heard of it.
        readme_content: its README in Markdown, if it has one.
        version: version of the environment.
        author: who wrote it.
        documentation_url: where to read more.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    name: str
    description: str
    readme_content: str | None = None
    version: str | None = None
    author: str | None = None
    documentation_url: str | None = None
