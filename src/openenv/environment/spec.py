"""`EnvironmentSpec`: everything that is known of an environment, and how it is called.

Sessions, servers and clients work with a spec, never with a class: it validates actions, filters
arguments, and turns whatever an author returns into a `Transition`. All reflection happened in
`describe`; a call goes through functions planned there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from openenv.environment.actions import ActionContract
from openenv.environment.base import Environment
from openenv.environment.calls import ResetPlan, StepCall
from openenv.environment.episode import Episode, attach_episode
from openenv.environment.models import schema_of
from openenv.environment.observations import ObservationContract, Transition
from openenv.environment.scoring import Scoring
from openenv.environment.states import public_state
from openenv.environment.toolset import ToolSpec
from openenv.environment.validation import checked, refusal
from openenv.errors import EnvironmentFactoryError
from openenv.types import EnvironmentMetadata

_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Plan:
    """How instances of one class are called.

    Attributes:
        reset: plan of `reset`.
        step: plan of a step.
        observation: contract of what a step returns.
        initial: contract of what a reset returns.
        scoring: rubric and transforms.
    """

    reset: ResetPlan
    step: StepCall
    observation: ObservationContract
    initial: ObservationContract
    scoring: Scoring | None


@dataclass(frozen=True, eq=False)
class EnvironmentSpec:
    """An environment, described.

    Attributes:
        cls: its class; None where only a factory is known.
        factory: makes an instance.
        name: what it is called.
        description: what it is, for a reader who has never heard of it.
        version: its version.
        author: who wrote it.
        style: ``model``, ``typed``, ``actions`` or ``tools``.
        is_async: whether it belongs on an event loop: `async_reset` or `async_step`.
        async_reset: whether its reset is a coroutine.
        async_step: whether its step is, or one of its actions or tools.
        concurrent: whether several instances may run at once.
        single_thread: whether all instances must share one thread.
        host: where the author wants it to run: ``auto``, ``thread``, ``shard``, ``inline`` or ``process``.
        max_steps: steps after which an episode is truncated.
        step_timeout_s: deadline of a step in seconds.
        reset_timeout_s: deadline of a reset in seconds.
        episode_timeout_s: seconds after which an episode is truncated.
        deterministic: whether the same seed and actions give the same episode.
        requires_reset: whether a step before the first reset is refused.
        native: whether the class describes itself; False where its types were named from outside, as
            published packages do it.
        tools: its tools.
        tasks: the tasks it has.
        action: contract of its actions.
        state_type: type of its state.
    """

    cls: type | None
    factory: Callable[[], Any]
    name: str
    description: str
    version: str
    author: str
    style: str
    is_async: bool
    async_reset: bool
    async_step: bool
    concurrent: bool
    single_thread: bool
    host: str
    max_steps: int | None
    step_timeout_s: float | None
    reset_timeout_s: float | None
    episode_timeout_s: float | None
    deterministic: bool
    requires_reset: bool
    native: bool
    tools: tuple[ToolSpec, ...]
    tasks: Any
    action: ActionContract = field(repr=False)
    state_type: Any = field(repr=False)
    plan: Plan = field(repr=False)
    plan_for: Callable[[type], Plan] = field(repr=False)

    # Schemas ---------------------------------------------------------------------------------------

    def action_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of an action."""
        return self.action.schema()

    def observation_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of an observation."""
        return self.plan.observation.schema()

    def reset_observation_schema(self) -> dict[str, Any] | None:
        """Return the JSON Schema of the first observation, None if it is like the others."""
        initial = self.plan.initial
        return None if initial.type == self.plan.observation.type else initial.schema()

    def state_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the public state."""
        return schema_of(self.state_type)

    def reset_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of what a reset may be given: seed, episode id and options."""
        return self.plan.reset.schema()

    # Calls -----------------------------------------------------------------------------------------

    def validate_action(self, value: Any) -> Any:
        """Return the action that a value is, or stands for.

        Args:
            value: data off the wire, or an action object, which passes as it is.

        Raises:
            InvalidActionError: it does not fit; `errors` name the fields.
        """
        validate = self.action.validate
        try:
            return validate(value)
        except Exception as error:
            # Boundary: validators are an author's own code.
            if isinstance(error, ValidationError) and isinstance(value, BaseModel):
                # The same model under another module name (packages get imported twice) is welcome.
                return checked(validate, value.model_dump())
            raise refusal(error, value) from error

    def make(self) -> Any:
        """Build an instance.

        Raises:
            EnvironmentFactoryError: the constructor raised; its exception is the cause.
        """
        name = self.cls.__name__ if self.cls else getattr(self.factory, "__name__", self.name)
        try:
            env = self.factory()
        except (Exception, SystemExit) as error:
            # Boundary: the author's constructor.
            why = f"{type(error).__name__}: {error}"
            raise EnvironmentFactoryError(name, f"Failed to create environment from {name}: {why}") from error
        if env is None:
            raise EnvironmentFactoryError(name, f"Failed to create environment: {name} returned None")
        return env

    def begin(self, env: Any, episode: Episode) -> None:
        """Attach an episode to an instance: its generators start afresh and its rubric forgets."""
        attach_episode(env, episode)
        scoring = self._plan(env).scoring
        if scoring is not None:
            scoring.reset(env)

    def call_reset(
        self,
        env: Any,
        *,
        seed: int | None = None,
        episode_id: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call the instance's reset with the arguments it takes.

        Returns:
            What it returned, or an awaitable of that.

        Raises:
            InvalidActionError: an option does not fit its annotation (all styles but ``model``).
        """
        return self._plan(env).reset.call(env, seed, episode_id, options or _NOTHING)

    def call_step(
        self, env: Any, action: Any, *, timeout_s: float | None = None, extra: Mapping[str, Any] | None = None
    ) -> Any:
        """Do a validated action.

        Args:
            env: the instance.
            action: what `validate_action` returned.
            timeout_s: the caller's deadline, for a step that takes ``timeout_s``.
            extra: further keyword arguments; those that the step does not take are dropped.

        Returns:
            What the step returned, or an awaitable of that.
        """
        return self._plan(env).step(env, action, timeout_s, extra or _NOTHING)

    def transition(
        self, env: Any, action: Any, raw: Any, *, limit: str | None = None
    ) -> Transition | Awaitable[Transition]:
        """Return what a step came to, scored and transformed where that is the framework's part.

        Args:
            env: the instance.
            action: the action that was done.
            raw: what `call_step` returned.
            limit: the limit that this step reached, if one: it truncates the episode before the step is
                scored, so that a rubric over the trajectory sees its end.

        Raises:
            EnvironmentFailedError: what the step returned cannot be an observation.
        """
        plan = self._plan(env)
        seen = raw if type(raw) is Transition else plan.observation.observe(raw)
        if limit is not None and not seen.done:
            seen.cut(limit)
        return seen if plan.scoring is None else plan.scoring.step(env, action, seen)

    def initial(self, env: Any, raw: Any) -> Transition:
        """Return what a reset came to.

        Raises:
            EnvironmentFailedError: what the reset returned cannot be an observation.
        """
        plan = self._plan(env)
        seen = plan.initial.observe(raw)
        return seen if plan.scoring is None else plan.scoring.transform(env, seen)

    def read_state(self, env: Any) -> BaseModel | dict[str, Any]:
        """Return the public state of an instance."""
        return public_state(env.state)

    def metadata(self, env: Any = None) -> EnvironmentMetadata:
        """Say what the environment is.

        Args:
            env: an instance, which may have words of its own.
        """
        cls = type(env) if env is not None else self.cls
        own = cls is None or getattr(cls, "get_metadata", None) is not Environment.get_metadata
        if env is not None and (own or not self.native):
            metadata: EnvironmentMetadata = env.get_metadata()
            return metadata
        return EnvironmentMetadata(
            name=self.name,
            description=self.description,
            version=self.version or None,
            author=self.author or None,
        )

    def _plan(self, env: Any) -> Plan:
        return self.plan if type(env) is self.cls else self.plan_for(type(env))
