"""What an agent may send: the action type of each style, and how a call becomes an action object.

A parameter list becomes a model with one field per parameter. Several `@action` methods become a union
told apart by ``type``, the method's name. Tools are the published pair `CallToolAction` and
`ListToolsAction`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, overload

from pydantic import Field, TypeAdapter, ValidationError

from openenv.environment.annotations import method_hints, own_parameters, union_members, union_of
from openenv.environment.docstrings import parse_docstring
from openenv.environment.models import build_model, is_model, parameter_fields, schema_of
from openenv.environment.source import definition_error
from openenv.protocol.mcp_types import CallToolAction, ListToolsAction
from openenv.types import Action

ACTION_MARK = "_openenv_action"
"""Attribute that `@action` sets on a method."""

FRAMEWORK_PARAMETERS = frozenset({"timeout_s"})
"""Parameters of a step that the framework fills in; they are no part of the action."""

_F = TypeVar("_F", bound=Callable[..., Any])


@overload
def action(method: _F, /) -> _F: ...
@overload
def action(*, name: str | None = None) -> Callable[[_F], _F]: ...
def action(method: Any = None, /, *, name: str | None = None) -> Any:
    """Mark a method as one of the environment's actions.

    The parameters are the action's fields, the docstring describes them, and what the method returns is
    the observation, as for a typed `step`.

    Args:
        method: the method.
        name: value of the action's ``type``; the method's name by default.
    """

    def mark(function: Any) -> Any:
        setattr(function, ACTION_MARK, name or function.__name__)
        return function

    return mark if method is None else mark(method)


@dataclass(frozen=True, slots=True)
class ActionContract:
    """The actions of an environment.

    Attributes:
        type: a model class, or a union of them.
        validate: turns data into an action, or raises pydantic's `ValidationError`.
    """

    type: Any
    validate: Callable[[Any], Any]

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of an action."""
        return schema_of(self.type)


@dataclass(frozen=True, slots=True)
class Call:
    """How one method is called with the fields of an action.

    Attributes:
        method: name of the method.
        fields: names of the parameters that are the action's fields.
        timeout: whether it takes ``timeout_s``.
        extra: whether it takes any further keyword.
    """

    method: str
    fields: tuple[str, ...]
    timeout: bool
    extra: bool


def call_of(cls: type, method: str) -> tuple[Call, list[inspect.Parameter]]:
    """Return how a typed method is called, and the parameters that an action must fill.

    Raises:
        DefinitionError: a parameter that cannot be filled by name.
    """
    parameters = own_parameters(cls, method)
    kinds = {p.kind for p in parameters}
    if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY}:
        raise definition_error(
            getattr(cls, method),
            f"{cls.__name__}.{method} takes positional-only parameters or *args: they have no names to send",
            "Declare ordinary parameters with annotations",
        )
    fields = [p for p in parameters if p.kind is not p.VAR_KEYWORD and p.name not in FRAMEWORK_PARAMETERS]
    call = Call(
        method=method,
        fields=tuple(p.name for p in fields),
        timeout=any(p.name == "timeout_s" for p in parameters),
        extra=inspect.Parameter.VAR_KEYWORD in kinds,
    )
    return call, fields


def parameter_model(
    cls: type,
    method: str,
    name: str,
    parameters: list[inspect.Parameter],
    extra: Mapping[str, Any] | None = None,
) -> type[Action]:
    """Build the action model of a method's parameters.

    Raises:
        DefinitionError: a parameter without an annotation, or of a type that cannot be validated.
    """
    function = getattr(cls, method)
    hints = method_hints(cls, function)
    for parameter in parameters:
        if parameter.name not in hints:
            raise definition_error(
                function,
                f"{cls.__name__}.{method}: parameter {parameter.name!r} has no type",
                f"Annotate it, for instance {parameter.name}: int, so that agents know what to send",
            )
        if parameter.name.startswith("_"):
            raise definition_error(
                function,
                f"{cls.__name__}.{method}: parameter {parameter.name!r} starts with an underscore",
                "Rename it: an action's fields are public",
            )
    doc = parse_docstring(function, [p.name for p in parameters])
    fields = {**(extra or {}), **parameter_fields(parameters, hints, doc.parameters)}
    model: type[Action] = build_model(name, Action, fields, function, doc.description)
    return model


def typed_actions(cls: type, method: str) -> tuple[ActionContract, Call]:
    """Derive the action of a typed `step`."""
    call, parameters = call_of(cls, method)
    return action_contract(parameter_model(cls, method, f"{cls.__name__}Action", parameters)), call


def marked_actions(cls: type, methods: Mapping[str, str]) -> tuple[ActionContract, dict[Any, Call]]:
    """Derive the actions of a class's `@action` methods.

    Args:
        cls: the class.
        methods: method name per action type.

    Returns:
        The contract, and the call for each action model.
    """
    calls: dict[Any, Call] = {}
    for kind, method in methods.items():
        call, parameters = call_of(cls, method)
        if any(p.name == "type" for p in parameters):
            raise definition_error(
                getattr(cls, method),
                f"{cls.__name__}.{method}: 'type' tells actions apart",
                "Rename the parameter",
            )
        tag = (Literal[kind], kind if len(methods) == 1 else ...)
        model = parameter_model(cls, method, f"{cls.__name__}{_camel(kind)}", parameters, {"type": tag})
        calls[model] = call
    models = tuple(calls)
    if len(models) == 1:
        return action_contract(models[0]), calls
    return action_contract(Annotated[union_of(models), Field(discriminator="type")]), calls


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def action_contract(kind: Any) -> ActionContract:
    """Return the contract of an action type: a model class or a union of them.

    The published special case is kept: where the type is `Action` or one of the tool family, ``type`` says
    whether tools are listed or one is called. The same holds for a union of one model with both of them.
    """
    if is_model(kind) and (kind is Action or issubclass(kind, CallToolAction | ListToolsAction)):
        return ActionContract(kind, _tool_aware(kind))
    members = union_members(kind)
    if {CallToolAction, ListToolsAction} < set(members) and len(members) == 3:
        # A model beside the tool family: data without a tool's ``type`` is that model, and so is the schema.
        (own,) = (member for member in members if member not in (CallToolAction, ListToolsAction))
        return ActionContract(own, _tool_aware(own))
    return ActionContract(kind, _validator(kind))


def _validator(kind: Any) -> Callable[[Any], Any]:
    if is_model(kind):
        if not kind.__pydantic_complete__:
            kind.model_rebuild()
        validate: Callable[[Any], Any] = kind.__pydantic_validator__.validate_python
        return validate
    return TypeAdapter(_discriminated(kind)).validator.validate_python


def _discriminated(kind: Any) -> Any:
    """Tell the members of a plain union apart by ``type`` where each has a constant one: errors get clear."""
    members = union_members(kind)
    tags = [_tags(member) for member in members]
    flat = [tag for part in tags for tag in part]
    if get_origin(kind) is Annotated or len(members) < 2 or not all(tags) or len(set(flat)) != len(flat):
        return kind
    return Annotated[kind, Field(discriminator="type")]


def _tags(member: Any) -> tuple[Any, ...]:
    field = member.model_fields.get("type") if is_model(member) else None
    annotation = field.annotation if field is not None else None
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _tool_aware(kind: Any) -> Callable[[Any], Any]:
    validate, list_tools, call_tool = map(_validator, (kind, ListToolsAction, CallToolAction))
    own_calls = issubclass(kind, CallToolAction) and kind is not CallToolAction

    def choose(value: Any) -> Any:
        if isinstance(value, (CallToolAction, ListToolsAction)):
            return value
        named = value.get("type") if isinstance(value, dict) else None
        if own_calls:
            # A package's own subclass decides first: some widen `type` to list tools themselves.
            try:
                return validate(value)
            except ValidationError:
                if named != "list_tools":
                    raise
        if named == "list_tools":
            return list_tools(value)
        return call_tool(value) if named == "call_tool" else validate(value)

    return choose
