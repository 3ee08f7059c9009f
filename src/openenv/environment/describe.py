"""`describe`: from what an author wrote to an `EnvironmentSpec`."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from openenv.environment.actions import ActionContract, action_contract, marked_actions, typed_actions
from openenv.environment.annotations import EMPTY, generic_arguments, method_hints, own_parameters
from openenv.environment.base import Environment
from openenv.environment.calls import (
    StepCall,
    fields_step,
    marked_step,
    method_in_use,
    model_step,
    reset_plan,
)
from openenv.environment.docstrings import parse_docstring
from openenv.environment.factories import class_of, probe
from openenv.environment.models import is_missing
from openenv.environment.observations import ObservationContract, returned, returned_by_any
from openenv.environment.options import ClassOptions, class_options
from openenv.environment.scoring import Scoring
from openenv.environment.spec import EnvironmentSpec, Plan
from openenv.environment.states import state_annotation, state_model
from openenv.environment.styles import is_coroutine, marked_methods, step_method, style_of
from openenv.environment.toolcalls import ToolCalls
from openenv.environment.toolset import ToolSpec, marked_tools, tool_spec
from openenv.errors import EnvironmentFactoryError, UsageError
from openenv.protocol.mcp_types import CallToolAction, CallToolObservation
from openenv.types import Observation, State

_CACHE = "_openenv_spec"
"""Class attribute that holds the spec of that very class."""


class Named(NamedTuple):
    """The types that were named from outside; None for those that the class tells itself."""

    action: Any = None
    observation: Any = None
    state: Any = None
    reset_observation: Any = None


def describe(
    target: Any,
    *,
    action_type: Any = None,
    observation_type: Any = None,
    state_type: Any = None,
    reset_observation_type: Any = None,
    name: str | None = None,
    **overrides: Any,
) -> EnvironmentSpec:
    """Describe an environment.

    Args:
        target: an environment class, or a callable that makes instances.
        action_type: the action model, where it is named from outside (published `create_app`).
        observation_type: the observation model, likewise.
        state_type: the state model, likewise.
        reset_observation_type: model of the first observation, likewise.
        name: what the environment is called.
        **overrides: other settings of the spec, for instance ``max_steps=10``.

    Returns:
        The spec; for a class without further arguments always the same object.

    Raises:
        DefinitionError: the class cannot be served as written; names file and line and what to do.
        EnvironmentFactoryError: the factory had to be called to see its class, and raised.
        UsageError: `target` is not callable.
    """
    if not callable(target):
        raise UsageError(f"{target!r} is not an environment class or a factory of one")
    named = Named(action_type, observation_type, state_type, reset_observation_type)
    as_written = isinstance(target, type) and named == Named() and name is None and not overrides
    if as_written and _CACHE in vars(target):
        found: EnvironmentSpec = vars(target)[_CACHE]
        return found
    settings = {f.name for f in dataclasses.fields(EnvironmentSpec)}
    for setting in overrides:
        if setting not in settings:
            raise TypeError(f"describe() has no setting {setting!r}{_nearest(setting, settings)}")
    spec = _Describer(_class(target, named), target, named, name).spec()
    if as_written:
        setattr(target, _CACHE, spec)
    return dataclasses.replace(spec, **overrides) if overrides else spec


def _nearest(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {near[0]!r}?" if near else ""


def _class(target: Any, named: Named) -> type | None:
    cls = class_of(target)
    if cls is not None:
        return cls
    try:
        return probe(target)
    except EnvironmentFactoryError:
        # A server whose types are known starts all the same, and each session reports the failure.
        if named.action is not None:
            return None
        raise


class _Describer:
    """Works out the spec of one class.

    Args:
        cls: the class; None where a factory does not tell.
        factory: makes instances.
        named: types named from outside.
        name: what the environment is called, if that was said.
    """

    def __init__(
        self, cls: type | None, factory: Callable[[], Any], named: Named, name: str | None = None
    ) -> None:
        self.known = cls
        self.cls: type = cls or Environment
        self.factory = factory
        self.named = named
        self.name = name
        self.native = named.action is None
        self.options: ClassOptions = class_options(self.cls)
        self.generics = self._generics()
        self.style = "model"
        if cls is not None:
            self.style = style_of(cls, named=not self.native, generic=self.generics[0])

    def spec(self) -> EnvironmentSpec:
        """Return the spec."""
        tools, action, plan = self._parts()
        options = self.options
        async_reset = is_coroutine(self.cls, method_in_use(self.cls, "reset"))
        async_step = self._has_async_step(tools)
        return EnvironmentSpec(
            cls=self.known,
            factory=self.factory,
            name=self._name(),
            description=self._description(),
            version=options.version or "1.0.0",
            author=str(getattr(self.cls, "__author__", None) or ""),
            style=self.style,
            is_async=async_reset or async_step,
            async_reset=async_reset,
            async_step=async_step,
            concurrent=self._is_concurrent(),
            single_thread=bool(getattr(self.cls, "REQUIRES_SINGLE_THREAD_EXECUTOR", False)),
            host=options.host,
            max_steps=options.max_steps,
            step_timeout_s=options.step_timeout_s,
            reset_timeout_s=options.reset_timeout_s,
            episode_timeout_s=options.episode_timeout_s,
            deterministic=options.deterministic,
            requires_reset=self.native if options.requires_reset is None else options.requires_reset,
            native=self.native,
            tools=tools,
            tasks=options.tasks,
            action=action,
            state_type=self._state(),
            plan=plan,
            plan_for=_Plans(self.named),
        )

    def plan(self) -> Plan:
        """Return how instances are called."""
        return self._parts()[2]

    def _parts(self) -> tuple[tuple[ToolSpec, ...], ActionContract, Plan]:
        tools: tuple[ToolSpec, ...] = ()
        if self.style == "tools":
            tools = tuple(tool_spec(self.cls, *named) for named in marked_tools(self.cls).items())
            action, step, observation = self._tools_style(tools)
        elif self.style == "actions":
            action, step, observation = self._actions_style()
        elif self.style == "typed":
            action, step, observation = self._typed_style()
        else:
            action, step, observation = self._model_style()
        framework = self.style != "model"
        rubric = framework or self.options.rubric is not None
        applied = rubric or bool(self.options.transforms)
        plan = Plan(
            reset=reset_plan(self.cls, validated=framework),
            step=step,
            observation=observation,
            initial=self._initial(observation),
            scoring=Scoring(self.cls, rubric=rubric, transform=framework) if applied else None,
        )
        return tools, action, plan

    def _generics(self) -> tuple[Any, Any, Any]:
        found = generic_arguments(self.cls, Environment)
        action, observation, state, *_ = (*found, None, None, None)
        return _concrete(action), _concrete(observation), _concrete(state)

    # The four styles -------------------------------------------------------------------------------

    def _model_style(self) -> tuple[ActionContract, StepCall, ObservationContract]:
        kind, seen = self.named.action, self.named.observation
        method = step_method(self.cls) or "step"
        hints = method_hints(self.cls, getattr(self.cls, method)) if self.native else {}
        if kind is None:
            first = own_parameters(self.cls, method)[0].name
            kind = _concrete(hints.get(first)) or self.generics[0]
        return action_contract(kind), model_step(self.cls, method), self._observation(seen, hints)

    def _typed_style(self) -> tuple[ActionContract, StepCall, ObservationContract]:
        method = step_method(self.cls) or "step"
        contract, call = typed_actions(self.cls, method)
        return self._chosen(contract), fields_step(call), self._wrapped([method])

    def _actions_style(self) -> tuple[ActionContract, StepCall, ObservationContract]:
        methods = marked_methods(self.cls)
        contract, calls = marked_actions(self.cls, methods)
        return contract, marked_step(calls), self._wrapped(list(methods.values()))

    def _tools_style(
        self, tools: tuple[ToolSpec, ...]
    ) -> tuple[ActionContract, StepCall, ObservationContract]:
        # As published servers describe themselves: listing tools is understood, but not in the schemas.
        kind = self.named.action or CallToolAction
        seen = self.named.observation or CallToolObservation
        step = ToolCalls(self.cls, tools).step
        return action_contract(kind), step, ObservationContract(self.cls, seen)

    def _chosen(self, contract: ActionContract) -> ActionContract:
        return contract if self.native else action_contract(self.named.action)

    def _wrapped(self, methods: list[str]) -> ObservationContract:
        """Return the contract of methods whose values the framework wraps."""
        if self.named.observation is not None:
            return ObservationContract(self.cls, self.named.observation)
        hints = [method_hints(self.cls, getattr(self.cls, method)) for method in methods]
        return returned(self.cls, returned_by_any(hints), getattr(self.cls, methods[0]))

    def _observation(self, seen: Any, hints: dict[str, Any]) -> ObservationContract:
        """Return the contract of a model-style step."""
        hint = hints.get("return", EMPTY)
        if seen is None and _concrete(hint) is None:
            seen = self.generics[1] or Observation
        if seen is None and is_missing(hint):
            seen = Observation
        return returned(self.cls, hint, self.cls) if seen is None else ObservationContract(self.cls, seen)

    def _initial(self, observation: ObservationContract) -> ObservationContract:
        """Return the contract of what `reset` returns."""
        if self.named.reset_observation is not None:
            return ObservationContract(self.cls, self.named.reset_observation)
        method = method_in_use(self.cls, "reset")
        if getattr(self.cls, method, None) is Environment.reset:
            return ObservationContract(self.cls, Observation, optional=True)
        if not self.native:
            return observation
        function = getattr(self.cls, method)
        hint = method_hints(self.cls, function).get("return", EMPTY)
        name = f"{self.cls.__name__}ResetObservation"
        if _concrete(hint) is None:
            free = self.style != "model"
            return returned(self.cls, EMPTY, function, name, optional=True) if free else observation
        if is_missing(hint):
            return ObservationContract(self.cls, Observation, optional=True)
        own = returned(self.cls, hint, function, name)
        return observation if own.same_as(observation) else own

    # The rest --------------------------------------------------------------------------------------

    def _state(self) -> Any:
        if self.named.state is not None:
            return self.named.state
        if self.known is None:
            return State
        if getattr(self.cls, "state", None) is Environment.state:
            return state_model(self.cls)
        return state_annotation(self.cls, self.generics[2]) if self.native else State

    def _has_async_step(self, tools: tuple[ToolSpec, ...]) -> bool:
        if self.style == "tools":
            return any(tool.is_async for tool in tools)
        if self.style == "actions":
            return any(is_coroutine(self.cls, method) for method in marked_methods(self.cls).values())
        return self.known is not None and is_coroutine(self.cls, step_method(self.cls) or "step")

    def _is_concurrent(self) -> bool:
        for base in self.cls.__mro__:
            if base is not Environment and "SUPPORTS_CONCURRENT_SESSIONS" in vars(base):
                return bool(vars(base)["SUPPORTS_CONCURRENT_SESSIONS"])
        return self.native and self.known is not None

    def _name(self) -> str:
        said = self.name or self.options.name
        if said is not None:
            return said
        if not self.native:
            return str(getattr(self.factory, "__name__", "environment"))
        snake = "_".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", self.cls.__name__)).lower()
        return re.sub(r"_(environment|env)$", "", snake) or self.cls.__name__

    def _description(self) -> str:
        doc = parse_docstring(self.cls).summary if self.known else ""
        return doc or f"{self.cls.__name__} environment"


def _concrete(hint: Any) -> Any:
    """Return an annotation that says something, else None."""
    return None if hint is EMPTY or hint is Any or isinstance(hint, TypeVar) else hint


class _Plans:
    """Plans for instances of other classes than the one described: factories may choose."""

    def __init__(self, named: Named) -> None:
        self._named = named
        self._plans: dict[type, Plan] = {}

    def __call__(self, cls: type) -> Plan:
        plan = self._plans.get(cls)
        if plan is None:
            plan = self._plans[cls] = _Describer(cls, cls, self._named).plan()
        return plan
