"""Bodies of the plain protocol as pydantic models: HTTP requests and replies, WebSocket messages.

They are the published contract in checkable form: OpenAPI is generated from them, published packages
import them, and a test parses every reply with them. The WebSocket path does not go through them
(`openenv.protocol.plain` reads and writes frames in one pass each).

`BaseMessage` refuses unknown fields. `ResetRequest` and `StepRequest` let them through: they are
options for the environment's `reset` and `step`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

Scalar = int | float | bool
"""A number or a truth value."""


class ServerMode(StrEnum):
    """Which interfaces a server has.

    `SIMULATION` has the orchestrator's (reset, step, state) and the agent's (tools); `PRODUCTION` has
    the agent's only.
    """

    SIMULATION = "simulation"
    PRODUCTION = "production"


class HealthStatus(StrEnum):
    """What `GET /health` says."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DEGRADED = "degraded"


class WSErrorCode(StrEnum):
    """Codes of error frames; `openenv.errors` maps exceptions to them and back."""

    INVALID_JSON = "INVALID_JSON"
    UNKNOWN_TYPE = "UNKNOWN_TYPE"
    VALIDATION_ERROR = "VALIDATION_ERROR"
    EXECUTION_ERROR = "EXECUTION_ERROR"
    CAPACITY_REACHED = "CAPACITY_REACHED"
    FACTORY_ERROR = "FACTORY_ERROR"
    SESSION_ERROR = "SESSION_ERROR"


class BaseMessage(BaseModel):
    """Base of messages that refuse unknown fields."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class ResetRequest(BaseModel):
    """Body of `POST /reset`; further keys are options of the environment's `reset`.

    Attributes:
        seed: seed of the episode.
        episode_id: id the caller gives to the episode.
    """

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"seed": 7, "episode_id": "train-0007"}, {}]},
    )

    seed: int | None = Field(default=None, ge=0)
    episode_id: str | None = Field(default=None, max_length=255)


class ResetResponse(BaseModel):
    """Reply to `POST /reset`.

    Attributes:
        observation: every field of the observation except reward and done.
        reward: reward, if a reset has one.
        done: whether the episode is over before it began.
        metadata: the observation's metadata, None if it is empty.
    """

    model_config = ConfigDict(extra="forbid")

    observation: dict[str, Any]
    reward: float | None = None
    done: bool = False
    metadata: dict[str, Any] | None = None


class StepRequest(BaseModel):
    """Body of `POST /step`; further keys are options of the environment's `step`.

    Attributes:
        action: the action's fields.
        timeout_s: deadline of this step in seconds.
        request_id: the caller's name for this request.
    """

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"action": {"guess": 12}, "timeout_s": 5.0}]},
    )

    action: dict[str, Any]
    timeout_s: float | None = Field(default=None, gt=0)
    request_id: str | None = Field(default=None, max_length=255)


class StepResponse(BaseModel):
    """Reply to `POST /step`; fields as in `ResetResponse`."""

    model_config = ConfigDict(extra="forbid")

    observation: dict[str, Any]
    reward: float | None = None
    done: bool = False
    metadata: dict[str, Any] | None = None


class CodeExecResult(BaseMessage):
    """What running a piece of code printed and how it ended.

    Attributes:
        stdout: text on standard output.
        stderr: text on standard error.
        exit_code: 0 for success.
    """

    stdout: str
    stderr: str
    exit_code: int


class SchemaResponse(BaseMessage):
    """Reply to `GET /schema`: JSON Schemas of what goes in and comes out.

    Attributes:
        action: schema of actions.
        observation: schema of observations.
        state: schema of the public state.
        reset_observation: schema of the first observation where it is another one; absent when None.
    """

    action: dict[str, Any]
    observation: dict[str, Any]
    state: dict[str, Any]
    reset_observation: dict[str, Any] | None = None

    @model_serializer(mode="wrap")
    def _leave_out_none(self, write: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        fields = write(self)
        if self.reset_observation is None:
            fields.pop("reset_observation", None)
        return fields


class HealthResponse(BaseMessage):
    """Reply to `GET /health`: the process is alive."""

    status: HealthStatus = HealthStatus.HEALTHY


class ListTasksRequest(BaseMessage):
    """Body of `POST /{env}/tasks`."""

    split: str


class NumTasksRequest(BaseMessage):
    """Body of `POST /{env}/num_tasks`."""

    split: str


class GetTaskRequest(BaseMessage):
    """Body of `POST /{env}/task`: the task at `index` of `split`."""

    split: str
    index: int


class GetTaskRangeRequest(BaseMessage):
    """Body of `POST /{env}/task_range`: tasks `start` (included) to `stop` (excluded) of `split`."""

    split: str
    start: int | None = None
    stop: int | None = None


class WSResetMessage(BaseMessage):
    """Client to server: begin an episode. `data` holds the options of reset."""

    type: Literal["reset"] = "reset"
    data: dict[str, Any] = Field(default_factory=dict)


class WSStepMessage(BaseMessage):
    """Client to server: take a step. `data` holds the action's fields."""

    type: Literal["step"] = "step"
    data: dict[str, Any]


class WSStateMessage(BaseMessage):
    """Client to server: what is the state?"""

    type: Literal["state"] = "state"


class WSCloseMessage(BaseMessage):
    """Client to server: close the session; the server closes the connection without a reply."""

    type: Literal["close"] = "close"


WSIncomingMessage = Annotated[
    WSResetMessage | WSStepMessage | WSStateMessage | WSCloseMessage, Field(discriminator="type")
]
"""Any message of a client, told apart by `type`."""


class WSObservationResponse(BaseModel):
    """Server to client: what a reset or a step led to."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["observation"] = "observation"
    data: dict[str, Any]


class WSStateResponse(BaseModel):
    """Server to client: the public state."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["state"] = "state"
    data: dict[str, Any]


class WSErrorResponse(BaseModel):
    """Server to client: a request failed; `data` has at least `message` and `code`."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["error"] = "error"
    data: dict[str, Any]


class ConcurrencyConfig(BaseMessage):
    """How many sessions a server runs at once.

    Attributes:
        max_concurrent_envs: sessions alive at the same time.
        session_timeout: seconds of silence after which a session is closed; None leaves the server's
            default lease.
    """

    max_concurrent_envs: int = Field(default=1, ge=1)
    session_timeout: float | None = Field(default=None, gt=0)


class ServerCapacityStatus(BaseMessage):
    """How full a server is."""

    active_sessions: int = Field(ge=0)
    max_sessions: int = Field(ge=1)

    @model_validator(mode="after")
    def check_capacity_bounds(self) -> Self:
        """Refuse more sessions than slots."""
        if self.active_sessions > self.max_sessions:
            raise ValueError(
                f"active_sessions ({self.active_sessions}) cannot exceed max_sessions ({self.max_sessions})"
            )
        return self

    @property
    def available_slots(self) -> int:
        """Sessions that can still be opened."""
        return self.max_sessions - self.active_sessions

    @property
    def is_at_capacity(self) -> bool:
        """Whether no slot is left."""
        return self.available_slots == 0

    @classmethod
    def from_counts(cls, active: int, max_sessions: int) -> ServerCapacityStatus:
        """Build from two numbers.

        Raises:
            ValueError: `active` is larger than `max_sessions`.
        """
        return cls(active_sessions=active, max_sessions=max_sessions)


class SessionInfo(BaseMessage):
    """One session as a server lists it.

    Attributes:
        session_id: its id.
        created_at: when it was opened, seconds since the epoch.
        last_activity_at: when it last finished a call, seconds since the epoch.
        step_count: steps taken in it.
        environment_type: name of the environment's class.
    """

    session_id: str
    created_at: float
    last_activity_at: float
    step_count: int = Field(default=0, ge=0)
    environment_type: str
