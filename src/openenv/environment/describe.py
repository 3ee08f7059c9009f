"""`describe`: from what an author wrote to an `EnvironmentSpec`."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

from openenv.environment.actions import (
    ACTION_MARK,
    FRAMEWORK_PARAMETERS,
    ActionContract,
    action_contract,
    marked_actions,
    own_parameters,
    typed_actions,
)
from openenv.environment.annotations import (
    EMPTY,
    generic_arguments,
    method_hints,
    strip_annotated,
    union_members,
)
from openenv.environment.base import Environment
from openenv.environment.calls import (
    StepCall,
    fields_step,
    is_coroutine,
    marked_step,
    method_in_use,
    model_step,
    reset_plan,
)
from openenv.environment.docstrings import parse_docstring
from openenv.environment.factories import class_of, probe
from openenv.environment.models import is_missing, is_model
from openenv.environment.observations import ObservationContract, declared, returned, step_annotations
from openenv.environment.options import ClassOptions, class_options
from openenv.environment.scoring import Scoring
from openenv.environment.source import definition_error
from openenv.environment.spec import EnvironmentSpec, Plan
from openenv.environment.states import state_annotation, state_model
from openenv.environment.toolcalls import ToolCalls
from openenv.environment.toolset import ToolSpec, marked_tools, tool_spec
from openenv.errors import EnvironmentFactoryError, UsageError
from openenv.protocol.mcp_types import (
    CallToolAction,
    CallToolObservation,
    ListToolsAction,
    ListToolsObservation,
)
from openenv.types import Observation, State

_CACHE = "_openenv_spec"
"""Class attribute that holds the spec of that very class."""


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
    types = (action_type, observation_type, state_type, reset_observation_type)
    plain = isinstance(target, type) and all(t is None for t in types) and name is None and not overrides
    if plain and _CACHE in vars(target):
        return vars(target)[_CACHE]  # type: ignore[no-any-return]
    cls = _class(target, named=action_type is not None)
    spec = _Describer(cls, target, types, name).spec()
    unknown = set(overrides) - {f.name for f in dataclasses.fields(EnvironmentSpec)}
    if unknown:
        raise TypeError(_unknown_setting(unknown.pop()))
    if overrides:
        spec = dataclasses.replace(spec, **overrides)
    if plain:
        setattr(target, _CACHE, spec)
    return spec


def _unknown_setting(name: str) -> str:
    near = difflib.get_close_matches(name, [f.name for f in dataclasses.fields(EnvironmentSpec)], n=1)
    return f"describe() has no setting {name!r}" + (f": did you mean {near[0]!r}?" if near else "")


def _class(target: Any, *, named: bool) -> type | None:
    cls = class_of(target)
    if cls is not None:
        return cls
    try:
        return probe(target)
    except EnvironmentFactoryError:
        # A server whose types are known can start all the same, and each session reports the failure.
        if named:
            return None
        raise


class _Describer:
    """Works out the spec of one target."""

    def __init__(
        self, cls: type | None, factory: Callable[[], Any], types: tuple[Any, ...], name: str | None
    ):
        self.cls: type = cls or Environment
        self.known = cls
        self.factory = factory
        self.action_type, self.observation_type, self.state_type, self.reset_observation_type = types
        self.given_name = name
        self.options: ClassOptions = class_options(self.cls)
        self.native = self.action_type is None
        self.generics = self._generics()

    def _generics(self) -> tuple[Any, Any, Any]:
        found = generic_arguments(self.cls, Environment)
        kinds = [None if isinstance(kind, TypeVar) or kind is Any else kind for kind in found]
        return tuple((*kinds, None, None, None)[:3])  # type: ignore[return-value]

    def spec(self) -> EnvironmentSpec:
        self.tools = self._tools() if self.known else ()
        style = self._style()
        action, step, observation = self._contracts(style)
        plan = self._plan(style, step, observation)
        options = self.options
        return EnvironmentSpec(
            cls=self.known,
            factory=self.factory,
            name=self._name(),
            description=self._description(),
            version=options.version or "1.0.0",
            author=str(getattr(self.cls, "__author__", "") or ""),
            style=style,
            is_async=self._is_async(style),
            concurrent=self._concurrent(),
            single_thread=bool(getattr(self.cls, "REQUIRES_SINGLE_THREAD_EXECUTOR", False)),
            host=options.host,
            max_steps=options.max_steps,
            step_timeout_s=options.step_timeout_s,
            reset_timeout_s=options.reset_timeout_s,
            episode_timeout_s=options.episode_timeout_s,
            deterministic=options.deterministic,
            requires_reset=self.native if options.requires_reset is None else options.requires_reset,
            native=self.native,
            tools=self.tools,
            tasks=options.tasks,
            action=action,
            state_type=self._state(),
            plan=plan,
            plan_for=_Plans(self, style),
        )

    # What the class has ----------------------------------------------------------------------------

    def _tools(self) -> tuple[ToolSpec, ...]:
        return tuple(tool_spec(self.cls, name, method) for name, method in marked_tools(self.cls).items())

    def _actions(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for base in reversed(self.cls.__mro__):
            for method, value in vars(base).items():
                kind = getattr(getattr(value, "__func__", value), ACTION_MARK, None)
                if isinstance(kind, str):
                    found = {k: m for k, m in found.items() if m != method} | {kind: method}
        return {kind: method for kind, method in found.items() if getattr(self.cls, method) is not None}

    def _steps(self) -> str | None:
        """Return the step method that the class defines, if it does."""
        for method in ("step_async", "step"):
            if getattr(self.cls, method, None) not in (None, getattr(Environment, method)):
                return method
        return None

    def _style(self) -> str:
        if self.known is None:
            return "model"
        cls, step, marked = self.cls, self._steps(), self._actions()
        ways = [("step", step), ("@action methods", marked), ("@tool methods", self.tools)]
        used = [what for what, found in ways if found]
        if not used:
            raise definition_error(
                cls,
                f"{cls.__name__} gives agents nothing to do: no step method, no @action and no @tool methods",
                "Write def step(self, guess: int) -> str, or mark methods with @tool",
            )
        if len(used) > 1:
            raise definition_error(
                self._culprit(step, marked),
                f"{cls.__name__} mixes {' and '.join(used)}, and the agent's action would be ambiguous",
                f"Keep one of them; for instance make every action one of the {used[-1]}",
            )
        if self.tools:
            return "tools"
        if marked:
            return "actions"
        return "model" if self._takes_model(str(step)) else "typed"

    def _culprit(self, step: str | None, marked: dict[str, str]) -> Any:
        method = step or next(iter(marked.values()))
        return getattr(self.cls, method)

    def _takes_model(self, step: str) -> bool:
        """Whether the step's one parameter is the action itself."""
        parameters = [
            p
            for p in own_parameters(inspect.getattr_static(self.cls, step))
            if p.kind is not p.VAR_KEYWORD and p.name not in FRAMEWORK_PARAMETERS
        ]
        if not self.native:
            return sum(p.default is p.empty for p in parameters if p.kind is not p.VAR_POSITIONAL) <= 1
        if not parameters or any(p.default is p.empty for p in parameters[1:]):
            return False
        hint = method_hints(self.cls, getattr(self.cls, step)).get(parameters[0].name, EMPTY)
        if hint is EMPTY or isinstance(hint, TypeVar):
            return self.generics[0] is not None
        return all(is_model(member) for member in union_members(strip_annotated(hint)))

    # The four styles -------------------------------------------------------------------------------

    def _contracts(self, style: str) -> tuple[ActionContract, StepCall, ObservationContract]:
        return {
            "model": self._model,
            "typed": self._typed,
            "actions": self._marked,
            "tools": self._called,
        }[style]()

    def _model(self) -> tuple[ActionContract, StepCall, ObservationContract]:
        kind, seen = self.action_type, self.observation_type
        if kind is None or seen is None:
            method = str(self._steps() or "step")
            hints = method_hints(self.cls, getattr(self.cls, method)) if self.native else {}
            if kind is None:
                kind = self._action_hint(method, hints)
            if seen is None:
                seen = self._observation_hint(hints)
        contract = seen if isinstance(seen, ObservationContract) else declared(self.cls, seen)
        return action_contract(kind), model_step(self.cls), contract

    def _action_hint(self, method: str, hints: dict[str, Any]) -> Any:
        first = own_parameters(inspect.getattr_static(self.cls, method))[0]
        hint = hints.get(first.name)
        return self.generics[0] if hint is None or isinstance(hint, TypeVar) else hint

    def _observation_hint(self, hints: dict[str, Any]) -> Any:
        hint = hints.get("return", EMPTY)
        if hint is EMPTY or hint is Any or isinstance(hint, TypeVar):
            return self.generics[1] or Observation
        if is_missing(hint):
            return Observation
        return returned(self.cls, hint, self.cls)

    def _typed(self) -> tuple[ActionContract, StepCall, ObservationContract]:
        method = method_in_use(self.cls, "step")
        contract, call = typed_actions(self.cls, method)
        return self._chosen(contract), fields_step(call), self._seen([method])

    def _marked(self) -> tuple[ActionContract, StepCall, ObservationContract]:
        methods = self._actions()
        contract, calls = marked_actions(self.cls, methods)
        return contract, marked_step(calls), self._seen(list(methods.values()))

    def _called(self) -> tuple[ActionContract, StepCall, ObservationContract]:
        calls = ToolCalls(self.cls, self.tools)
        kind = self.action_type or CallToolAction | ListToolsAction
        seen = self.observation_type or CallToolObservation | ListToolsObservation
        return action_contract(kind), calls.step, declared(self.cls, seen)

    def _chosen(self, contract: ActionContract) -> ActionContract:
        return contract if self.action_type is None else action_contract(self.action_type)

    def _seen(self, methods: list[str]) -> ObservationContract:
        if self.observation_type is not None:
            return declared(self.cls, self.observation_type)
        hints = [method_hints(self.cls, getattr(self.cls, method)) for method in methods]
        return returned(self.cls, step_annotations(hints), getattr(self.cls, methods[0]))

    # The rest --------------------------------------------------------------------------------------

    def _plan(self, style: str, step: StepCall, observation: ObservationContract) -> Plan:
        framework = style != "model"
        rubric = framework or self.options.rubric is not None
        applied = rubric or bool(self.options.transforms)
        return Plan(
            reset=reset_plan(self.cls, validated=framework),
            step=step,
            observation=observation,
            initial=self._initial(style, observation),
            scoring=Scoring(self.cls, rubric=rubric, transform=framework) if applied else None,
        )

    def _initial(self, style: str, observation: ObservationContract) -> ObservationContract:
        kind = self.reset_observation_type
        if kind is not None:
            return declared(self.cls, kind)
        method = method_in_use(self.cls, "reset")
        if getattr(self.cls, method, None) is Environment.reset:
            return ObservationContract(self.cls, Observation, optional=True)
        if not self.native:
            return observation
        hint = method_hints(self.cls, getattr(self.cls, method)).get("return", EMPTY)
        if hint is EMPTY or hint is Any or isinstance(hint, TypeVar):
            return (
                observation
                if style == "model"
                else returned(
                    self.cls, EMPTY, self.cls, f"{self.cls.__name__}ResetObservation", optional=True
                )
            )
        if is_missing(hint):
            return ObservationContract(self.cls, Observation, optional=True)
        own = returned(self.cls, hint, getattr(self.cls, method), f"{self.cls.__name__}ResetObservation")
        return observation if own.same_as(observation) else own

    def _state(self) -> Any:
        if self.state_type is not None:
            return self.state_type
        if self.known is None:
            return State
        if getattr(self.cls, "state", None) is Environment.state:
            return state_model(self.cls)
        return state_annotation(self.cls, self.generics[2]) if self.native else State

    def _is_async(self, style: str) -> bool:
        if style == "tools":
            return any(tool.is_async for tool in self.tools) or is_coroutine(self.cls, "reset")
        if style == "actions":
            methods = (getattr(self.cls, method) for method in self._actions().values())
            return any(map(inspect.iscoroutinefunction, methods)) or is_coroutine(self.cls, "reset")
        return is_coroutine(self.cls, "step") or is_coroutine(self.cls, "reset")

    def _concurrent(self) -> bool:
        for base in self.cls.__mro__:
            if base is not Environment and "SUPPORTS_CONCURRENT_SESSIONS" in vars(base):
                return bool(vars(base)["SUPPORTS_CONCURRENT_SESSIONS"])
        return self.native and self.known is not None

    def _name(self) -> str:
        if self.given_name or self.options.name:
            return str(self.given_name or self.options.name)
        if not self.native:
            return str(getattr(self.factory, "__name__", "environment"))
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", self.cls.__name__).strip("_").lower()
        return re.sub(r"_(environment|env)$", "", words)

    def _description(self) -> str:
        doc = parse_docstring(self.cls).summary if self.known else ""
        return doc or f"{self.cls.__name__} environment"


class _Plans:
    """Plans for instances of other classes than the one described (factories may choose)."""

    def __init__(self, describer: _Describer, style: str) -> None:
        self._describer = describer
        self._style = style
        self._plans: dict[type, Plan] = {}

    def __call__(self, cls: type) -> Plan:
        plan = self._plans.get(cls)
        if plan is None:
            like = self._describer
            types = (like.action_type, like.observation_type, like.state_type, like.reset_observation_type)
            plan = self._plans[cls] = _Describer(cls, cls, types, like.given_name).spec().plan
        return plan
