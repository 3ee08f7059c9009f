"""Everything OpenEnv raises, in one tree.

Catch at the altitude you need::

    OpenEnvError
    ├── ActionError                     the caller's fault; the session goes on
    │   ├── InvalidActionError          the action does not fit the schema (outcome invalid_action)
    │   │   └── TaskNotFoundError       a reset names a split or task that the environment does not have
    │   └── OrderError                  step before reset, step after the end, call after close
    ├── EnvironmentFailedError          the environment's fault (outcome env_error)
    │   ├── StepTimeoutError            its deadline passed; the work was stopped (outcome timeout)
    │   │   └── CallCancelledError      its caller took it back; the work was stopped
    │   └── RubricError                 a rubric's score is not a finite number
    ├── InfrastructureError             the machinery's fault: mask it, retry it (outcome infra_error)
    │   ├── SessionLost                 the episode is gone; never continued on a fresh environment
    │   ├── ReplyGoneError              the call ran, and its reply is not kept any more
    │   ├── SessionNotFoundError        no such session here (closed, expired, never opened)
    │   ├── SessionCapacityError        the server is full; ``retry_after`` says when to come back
    │   ├── PoolBusyError               a pool has as many calls on their way as it may have
    │   ├── SessionCreationError        a session could not be set up
    │   ├── EnvironmentFactoryError     the environment's constructor raised
    │   ├── ServerUnreachableError      nothing answers at that address
    │   ├── LaunchError                 a server could not be started (process, container)
    │   │   └── LaunchTimeoutError      it was started and did not get ready in time
    │   ├── SandboxError                a sandbox could not be made, or an operation on one failed
    │   │   ├── IsolationError          this machine cannot isolate as strongly as was asked
    │   │   ├── SandboxGoneError        it was killed, or died
    │   │   ├── SandboxFileError        a file inside could not be read or written
    │   │   └── BranchRefusedError      the session cannot be forked as it is
    │   └── AuthenticationError         the server wants a token, or another one
    ├── ToolCallError                   a tool called by `call_tool` failed; the session goes on
    ├── ProtocolError                   a message that is not of the protocol
    └── UsageError                      a mistake in the program that uses OpenEnv
        ├── DefinitionError             an environment class that cannot be served as written
        ├── TargetError                 a TARGET that names nothing
        ├── ConcurrencyConfigurationError   more sessions than the environment allows
        ├── SandboxOptionError      an option of a sandbox that makes no sense
        ├── ProblemFormatError          a line of a problem file that cannot become a problem
        ├── SamplingError               a schema from which no valid action can be drawn
        ├── MissingExtraError           an optional dependency is not installed
        └── NotAvailableError           a part of OpenEnv that this version does not have

``OpenEnvError`` derives from ``RuntimeError`` because that is what published OpenEnv clients raise
for a server's error: code that catches it keeps working.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openenv.types import StepOutcome


class OpenEnvError(RuntimeError):
    """Base of every OpenEnv error.

    Attributes:
        message: one sentence for a person.
        code: the wire code of the plain protocol.
        outcome: what became of the step, for callers that mask or retry.
        retryable: whether the same call may succeed later.
        session: id of the session concerned, if any.
        episode: id of the episode concerned, if any.
        step: number of completed steps of that episode, if known.
        session_fate: what became of the session: ``alive``, ``needs_reset`` or ``closed``.
        data: further facts that travel with the error on the wire; JSON-able.
    """

    code: str = "EXECUTION_ERROR"
    outcome: StepOutcome = StepOutcome.INFRA_ERROR
    retryable: bool = False
    session_fate: str = "alive"

    def __init__(
        self,
        message: str = "",
        *,
        session: str | None = None,
        episode: str | None = None,
        step: int | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.session = session
        self.episode = episode
        self.step = step
        self.data: dict[str, Any] = data or {}


class ActionError(OpenEnvError):
    """The caller sent something that cannot be done now; nothing changed and the session goes on."""

    outcome = StepOutcome.INVALID_ACTION


class InvalidActionError(ActionError):
    """An action that does not fit the environment's action schema.

    Attributes:
        errors: one entry per problem, ``{type, loc, msg, input}``, all JSON-able; ``loc`` names the field.
    """

    code = "VALIDATION_ERROR"

    def __init__(self, message: str = "", *, errors: Sequence[dict[str, Any]] = (), **context: Any) -> None:
        super().__init__(message, **context)
        self.errors: list[dict[str, Any]] = list(errors)


class TaskNotFoundError(InvalidActionError, IndexError):
    """A split or a task that the environment does not have.

    It is an ``IndexError`` too because that is what published task providers raise.
    """


class OrderError(ActionError):
    """A call that the session's state does not allow.

    Attributes:
        expected: what the session was ready for.
        actual: what was asked.
    """

    def __init__(self, message: str = "", *, expected: str = "", actual: str = "", **context: Any) -> None:
        super().__init__(message, **context)
        self.expected = expected
        self.actual = actual


class EnvironmentFailedError(OpenEnvError):
    """The environment's own code raised, or returned something that cannot be an observation."""

    outcome = StepOutcome.ENV_ERROR


class StepTimeoutError(EnvironmentFailedError, TimeoutError):
    """A call passed its deadline and was stopped; no reward exists for it.

    Attributes:
        timeout_s: the deadline that passed, in seconds.
        partial: what the environment had reported before it was stopped, if anything.
    """

    outcome = StepOutcome.TIMEOUT
    retryable = True
    session_fate = "needs_reset"

    def __init__(
        self, message: str = "", *, timeout_s: float | None = None, partial: Any = None, **context: Any
    ) -> None:
        super().__init__(message, **context)
        self.timeout_s = timeout_s
        self.partial = partial


class CallCancelledError(StepTimeoutError):
    """A call that its caller took back before it was over; no reward exists for it.

    One that had not begun left nothing behind; one that ran was stopped like a call whose deadline passed.
    """

    code = "CANCELLED"
    retryable = False


class EnvironmentCrashedError(EnvironmentFailedError):
    """The process of the environment ended in the middle of a call; only its session is concerned.

    The episode is lost. The next reset starts another process.
    """

    retryable = True
    session_fate = "needs_reset"


class RubricError(EnvironmentFailedError):
    """A rubric returned something that cannot be a reward.

    Attributes:
        rubric: dotted path of the rubric below the one that was called, empty for that one itself.
        score: what it returned.
    """

    def __init__(self, message: str = "", *, rubric: str = "", score: Any = None, **context: Any) -> None:
        super().__init__(message, **context)
        self.rubric = rubric
        self.score = score


class InfrastructureError(OpenEnvError):
    """The machinery failed, not the policy and not the environment: reward is unknown, never zero."""

    code = "SESSION_ERROR"
    retryable = True
    session_fate = "closed"


class SessionLost(InfrastructureError, ConnectionError):
    """The connection or the host of a session went away in the middle of an episode.

    The episode cannot go on. Open a new session and reset; a step is never sent to a fresh,
    un-reset environment on the caller's behalf.
    """

    code = "SESSION_LOST"


class ReplyGoneError(InfrastructureError):
    """A request that came twice, and the reply to the first is not kept any more: it is not run again."""

    code = "REPLY_GONE"
    retryable = False
    session_fate = "alive"


class SessionNotFoundError(InfrastructureError):
    """No session of that id lives here."""

    retryable = False

    def __init__(self, session_id: str, message: str | None = None, **context: Any) -> None:
        super().__init__(message or f"Unknown session_id: {session_id}", **context)
        self.session_id = session_id


class SessionCapacityError(InfrastructureError):
    """All session slots are taken.

    Attributes:
        active_sessions: sessions alive now.
        max_sessions: slots the server has.
        retry_after: seconds after which a slot may be free.
    """

    code = "CAPACITY_REACHED"

    def __init__(
        self,
        active_sessions: int,
        max_sessions: int,
        message: str | None = None,
        *,
        retry_after: float = 1.0,
        **context: Any,
    ) -> None:
        text = message or (
            f"Server at capacity: {active_sessions}/{max_sessions} sessions active. "
            "Cannot accept new connections."
        )
        context.setdefault("data", {"active_sessions": active_sessions, "max_sessions": max_sessions})
        super().__init__(text, **context)
        self.active_sessions = active_sessions
        self.max_sessions = max_sessions
        self.retry_after = retry_after


class PoolBusyError(InfrastructureError):
    """A pool had no room for another call in time; nothing was sent."""

    session_fate = "alive"


class SessionCreationError(InfrastructureError):
    """A session could not be set up.

    Attributes:
        reason: why.
    """

    def __init__(self, reason: str, message: str | None = None, **context: Any) -> None:
        super().__init__(message or f"Failed to create session: {reason}", **context)
        self.reason = reason


class EnvironmentFactoryError(InfrastructureError):
    """The environment's constructor raised.

    Attributes:
        factory_name: name of the class or factory.
    """

    code = "FACTORY_ERROR"
    retryable = False

    def __init__(self, factory_name: str, message: str | None = None, **context: Any) -> None:
        context.setdefault("data", {"factory_name": factory_name})
        super().__init__(message or f"Failed to create environment from {factory_name}", **context)
        self.factory_name = factory_name


class ServerUnreachableError(InfrastructureError, ConnectionError):
    """Nothing answers at the address."""


class LaunchError(InfrastructureError):
    """A server could not be started where it should run; the message quotes what it printed."""


class LaunchTimeoutError(LaunchError, TimeoutError):
    """A server was started and did not get ready in time."""


class SandboxError(InfrastructureError):
    """A sandbox could not be made, or an operation on one failed."""


class IsolationError(SandboxError):
    """This machine cannot isolate as strongly as was asked; nothing was started.

    Attributes:
        wanted: the tier asked for.
        available: the tier that this machine reaches.
        reasons: what failed, one sentence each, with the fix.
    """

    retryable = False

    def __init__(
        self,
        message: str = "",
        *,
        wanted: str = "",
        available: str = "",
        reasons: Sequence[str] = (),
        **context: Any,
    ) -> None:
        super().__init__(message, **context)
        self.wanted = wanted
        self.available = available
        self.reasons = tuple(reasons)


class SandboxGoneError(SandboxError):
    """The sandbox was killed, or died; what ran inside is lost."""


class SandboxFileError(SandboxError):
    """A file inside a sandbox could not be read or written.

    Attributes:
        path: the file.
        reason: class name of the cause, for example ``FileNotFoundError``.
    """

    retryable = False
    session_fate = "alive"

    def __init__(self, message: str = "", *, path: str = "", reason: str = "", **context: Any) -> None:
        super().__init__(message, **context)
        self.path = path
        self.reason = reason


class BranchRefusedError(SandboxError):
    """The session cannot be forked as it is: it has threads, or the process limit is reached."""

    retryable = False
    session_fate = "alive"


class AuthenticationError(InfrastructureError):
    """The server asks for a bearer token and got none, or not the right one."""

    retryable = False


class ToolCallError(OpenEnvError):
    """A tool that a client called by name failed, does not exist, or refused its arguments.

    Attributes:
        tool: its name.
        error_type: `execution_error`, `invalid_args`, `tool_not_found`, `transport_error` or `timeout`.
    """

    code = "EXECUTION_ERROR"
    outcome = StepOutcome.TOOL_ERROR
    tool: str = ""
    error_type: str = ""

    def __init__(self, tool: str, message: str = "", *, error_type: str = "", **context: Any) -> None:
        super().__init__(message or f"Tool '{tool}' failed", **context)
        self.tool = tool
        self.error_type = error_type


class ProtocolError(OpenEnvError):
    """A message that is not of the protocol."""

    code = "UNKNOWN_TYPE"
    outcome = StepOutcome.INVALID_ACTION


class UsageError(OpenEnvError):
    """The program that uses OpenEnv asked for something that makes no sense."""

    outcome = StepOutcome.INVALID_ACTION


class DefinitionError(UsageError, TypeError):
    """An environment class that cannot be served as written; the message names file and line."""


class TargetError(UsageError):
    """A TARGET (path, module, name or URL) that leads to no environment."""


class ConcurrencyConfigurationError(UsageError):
    """More concurrent sessions are configured than the environment says it supports."""

    def __init__(
        self, environment_name: str, max_concurrent_envs: int, message: str | None = None, **context: Any
    ) -> None:
        text = message or (
            f"Environment '{environment_name}' is not marked as SUPPORTS_CONCURRENT_SESSIONS: "
            f"max_concurrent_envs={max_concurrent_envs} is not possible. Set the class attribute to True "
            "if instances share nothing, or use max_concurrent_envs=1."
        )
        super().__init__(text, **context)
        self.environment_name = environment_name
        self.max_concurrent_envs = max_concurrent_envs


class SandboxOptionError(UsageError, ValueError):
    """An option of a sandbox that makes no sense.

    Attributes:
        option: name of the option.
    """

    def __init__(self, message: str = "", *, option: str = "", **context: Any) -> None:
        super().__init__(message, **context)
        self.option = option


class ProblemFormatError(UsageError, ValueError):
    """A line of a problem file that cannot become a problem.

    Attributes:
        path: the file.
        line: number of the line, from 1; 0 if no line is concerned.
    """

    def __init__(self, message: str = "", *, path: str = "", line: int = 0, **context: Any) -> None:
        super().__init__(message, **context)
        self.path = path
        self.line = line


class SamplingError(UsageError):
    """No valid action could be drawn from a schema.

    Attributes:
        field: dotted path of the field concerned, empty for the action itself.
    """

    def __init__(self, message: str = "", *, field: str = "", **context: Any) -> None:
        super().__init__(message, **context)
        self.field = field


class MissingExtraError(UsageError, ImportError):
    """An optional dependency is not installed.

    Attributes:
        extra: the extra that brings it.
    """

    def __init__(self, what: str, extra: str, **context: Any) -> None:
        super().__init__(f"{what} needs the extra '{extra}': pip install 'openenv[{extra}]'", **context)
        self.extra = extra


class NotAvailableError(UsageError, ImportError):
    """A published part of OpenEnv that this version does not have; the message says what works today."""
