"""How an environment class is called: planned once per class, so that a call needs no reflection.

`reset` and `step` get the arguments that their signatures take, as published servers do it; the rest is
dropped, unless the method takes ``**kwargs``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from openenv.environment.actions import Call
from openenv.environment.annotations import method_hints, own_parameters
from openenv.environment.base import Environment
from openenv.environment.docstrings import parse_docstring
from openenv.environment.models import build_model, parameter_fields, schema_of
from openenv.environment.validation import checked
from openenv.errors import DefinitionError

StepCall = Callable[[Any, Any, float | None, Mapping[str, Any]], Any]
ResetCall = Callable[[Any, int | None, str | None, Mapping[str, Any]], Any]

_RESET_FRAMEWORK = ("seed", "episode_id")
_RESET_PROPERTIES: dict[str, Any] = {
    "seed": {"type": "integer", "minimum": 0, "description": "Seed of the episode's random generators"},
    "episode_id": {"type": "string", "maxLength": 255, "description": "Name of the episode"},
}


class ResetOptions(BaseModel):
    """Base of the derived options of a `reset`; keys it does not know are ignored."""

    model_config = ConfigDict(extra="ignore", arbitrary_types_allowed=True)


def method_in_use(cls: type, name: str) -> str:
    """Return `name` or ``{name}_async``, whichever the class defines; the asynchronous one wins."""
    base = getattr(Environment, f"{name}_async")
    return f"{name}_async" if getattr(cls, f"{name}_async", base) is not base else name


@dataclass(frozen=True, slots=True)
class Accepted:
    """Keyword arguments that a method takes.

    Attributes:
        names: the declared ones.
        needed: those of them without a default.
        everything: whether it takes ``**kwargs``.
    """

    names: frozenset[str]
    needed: frozenset[str]
    everything: bool

    def pick(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments it takes."""
        if self.everything:
            return dict(given)
        return {name: value for name, value in given.items() if name in self.names}


def accepted(cls: type, method: str) -> Accepted:
    """Read the signature of a method."""
    parameters = own_parameters(cls, method)
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return Accepted(
        names=frozenset(p.name for p in named),
        needed=frozenset(p.name for p in named if p.default is p.empty),
        everything=any(p.kind is p.VAR_KEYWORD for p in parameters),
    )


def model_step(cls: type, method: str) -> StepCall:
    """Plan ``step(action)``: the action is one object."""
    takes = accepted(cls, method)
    parameters = own_parameters(cls, method)
    first = parameters[0] if parameters else None
    by_name = first.name if first is not None and first.kind is first.KEYWORD_ONLY else None

    def with_extras(env: Any, action: Any, timeout_s: float | None, extra: Mapping[str, Any]) -> Any:
        given = {name: value for name, value in extra.items() if name != "action"}
        if timeout_s is not None:
            given["timeout_s"] = timeout_s
        if by_name is not None:
            return getattr(env, method)(**{**takes.pick(given), by_name: action})
        return getattr(env, method)(action, **takes.pick(given))

    if method == "step_async" or by_name is not None:
        return with_extras

    def step(env: Any, action: Any, timeout_s: float | None, extra: Mapping[str, Any]) -> Any:
        if timeout_s is None and not extra:
            return env.step(action)
        return with_extras(env, action, timeout_s, extra)

    return step


def fields_step(call: Call) -> StepCall:
    """Plan a method that takes the action's fields as its arguments."""
    method, fields = call.method, call.fields

    def step(env: Any, action: Any, timeout_s: float | None, extra: Mapping[str, Any]) -> Any:
        values = action.__dict__
        arguments = {name: values[name] for name in fields}
        if call.timeout:
            arguments["timeout_s"] = timeout_s
        if call.extra:
            arguments.update((k, v) for k, v in extra.items() if k not in arguments)
        return getattr(env, method)(**arguments)

    return step


def marked_step(calls: Mapping[Any, Call]) -> StepCall:
    """Plan the `@action` methods: the action's class says which one."""
    plans = {model: fields_step(call) for model, call in calls.items()}

    def step(env: Any, action: Any, timeout_s: float | None, extra: Mapping[str, Any]) -> Any:
        return plans[type(action)](env, action, timeout_s, extra)

    return step


@dataclass(frozen=True, slots=True)
class ResetPlan:
    """How a class is reset.

    Attributes:
        call: does it.
        options: model of its options; None where they are not validated.
    """

    call: ResetCall
    options: type[BaseModel] | None
    cls: type

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of everything a reset may be given."""
        options = self.options or _lenient_options(self.cls)
        schema: dict[str, Any] = schema_of(options) if options is not None else {"type": "object"}
        own = schema.get("properties", {})
        schema["properties"] = {**_RESET_PROPERTIES, **own}
        return schema


def reset_plan(cls: type, *, validated: bool) -> ResetPlan:
    """Plan `reset`.

    Args:
        cls: the class.
        validated: whether options are checked against their annotations.
    """
    method = method_in_use(cls, "reset")
    takes = accepted(cls, method)
    model = reset_options(cls) if validated else None
    names = tuple(model.model_fields) if model else ()
    check = model.__pydantic_validator__.validate_python if model else None

    def reset(env: Any, seed: int | None, episode_id: str | None, options: Mapping[str, Any]) -> Any:
        arguments = takes.pick(options)
        if check is not None:
            valid = checked(check, dict(options), "reset option")
            arguments.update((name, getattr(valid, name)) for name in names)
        for name, value in (("seed", seed), ("episode_id", episode_id)):
            if value is not None and (takes.everything or name in takes.names):
                arguments[name] = value
            elif name in takes.needed:
                arguments.setdefault(name, None)
        return getattr(env, method)(**arguments)

    return ResetPlan(reset, model, cls)


def reset_options(cls: type) -> type[BaseModel]:
    """Derive the model of a class's own reset options."""
    method = method_in_use(cls, "reset")
    function = getattr(cls, method)
    parameters = [
        p
        for p in own_parameters(cls, method)
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in _RESET_FRAMEWORK
    ]
    hints = method_hints(cls, function) if parameters else {}
    doc = parse_docstring(function, [p.name for p in parameters])
    fields = parameter_fields(parameters, hints, doc.parameters)
    name = f"{cls.__name__}ResetOptions"
    return build_model(name, ResetOptions, fields, function, "")  # type: ignore[no-any-return]


def _lenient_options(cls: type) -> type[BaseModel] | None:
    """Derive the options of a published class, whose annotations were never meant for it."""
    try:
        return reset_options(cls)
    except DefinitionError:
        return None
