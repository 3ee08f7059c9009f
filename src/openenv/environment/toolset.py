"""Tools: methods that an agent calls by name with arguments, and the published form of what they return.

A tool's schema is its signature, its description the docstring. What it returns travels as the published
result object::

    {"content": [{"type": "text", "text": "3", "annotations": null, "meta": null}],
     "structured_content": {"result": 3}, "meta": {"fastmcp": {"wrap_result": true}},
     "data": 3, "is_error": false}

Objects (dicts, dataclasses, models) are their own `structured_content`; any other value is wrapped as
``{"result": value}`` and marked so. A tool that raises, an unknown name and wrong arguments are ordinary
observations with `error` set: the episode goes on.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast, overload

from pydantic import TypeAdapter

from openenv.environment.annotations import (
    EMPTY,
    method_hints,
    own_parameters,
    strip_annotated,
    without_outcome,
)
from openenv.environment.docstrings import parse_docstring
from openenv.environment.models import UNUSABLE, JsonSchemas, is_missing, value_fields
from openenv.environment.schemas import compact
from openenv.environment.source import definition_error
from openenv.protocol.mcp_types import (
    RESERVED_TOOL_NAMES,
    Tool,
)

TOOL_MARK = "_openenv_tool"
"""Attribute that `@tool` sets on a method."""

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class _Mark:
    name: str
    description: str | None


@overload
def tool(method: _F, /) -> _F: ...
@overload
def tool(*, name: str | None = None, description: str | None = None) -> Callable[[_F], _F]: ...
def tool(method: Any = None, /, *, name: str | None = None, description: str | None = None) -> Any:
    """Mark a method as a tool.

    Parameters need annotations; their descriptions come from the docstring's ``Args:`` or from
    ``Annotated[int, Field(description=...)]``. The tool returns any value with a JSON form, or an
    `Outcome` where it rewards or ends the episode.

    Args:
        method: the method, sync or async.
        name: the tool's name; the method's by default.
        description: what it does; the docstring by default.
    """

    def mark(function: Any) -> Any:
        target = getattr(function, "__func__", function)
        setattr(target, TOOL_MARK, _Mark(name or target.__name__, description))
        return function

    return mark if method is None else mark(method)


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """One tool.

    Attributes:
        name: its name.
        description: what it does.
        input_schema: JSON Schema of its arguments.
        output_schema: JSON Schema of `structured_content`; None where it has none.
        method: name of the method.
        is_async: whether the method is a coroutine function.
        takes_timeout: whether it takes ``timeout_s``.
        validate: turns arguments into keyword arguments, or raises pydantic's `ValidationError`.
        shape: how the value becomes `structured_content`: ``object``, ``wrapped``, ``none``, or ``any`` where
            the value decides.
        as_float: whether a whole number is a float by annotation.
    """

    name: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    method: str
    is_async: bool
    takes_timeout: bool
    validate: Callable[[Any], dict[str, Any]] = field(repr=False)
    shape: str = "any"
    as_float: bool = False

    def listed(self) -> Tool:
        """Return the tool as `list_tools` shows it."""
        return Tool(name=self.name, description=self.description, input_schema=self.input_schema)


def marked_tools(cls: type) -> dict[str, str]:
    """Return method name per tool name, in the order of definition, those of base classes first.

    Raises:
        DefinitionError: a reserved or doubly used name.
    """
    marks: dict[str, _Mark] = {}
    for base in reversed(cls.__mro__):
        for method, value in vars(base).items():
            mark = getattr(getattr(value, "__func__", value), TOOL_MARK, None)
            if isinstance(mark, _Mark):
                marks[method] = mark
    found: dict[str, str] = {}
    for method, mark in marks.items():
        function = getattr(cls, method)
        if function is None:
            continue
        if mark.name in RESERVED_TOOL_NAMES:
            raise definition_error(
                function,
                f"{cls.__name__}: {mark.name!r} is no name for a tool: it belongs to the orchestrator",
                "Rename the method, or give @tool(name=...)",
            )
        if mark.name in found:
            raise definition_error(
                function, f"{cls.__name__}: two tools are called {mark.name!r}", "Give one another name"
            )
        found[mark.name] = method
    return found


def tool_spec(cls: type, name: str, method: str) -> ToolSpec:
    """Derive a tool from its method.

    Raises:
        DefinitionError: its signature cannot be called by name, or a type cannot be validated.
    """
    function = getattr(cls, method)
    parameters = own_parameters(cls, method)
    takes_timeout = any(p.name == "timeout_s" for p in parameters)
    parameters = [p for p in parameters if p.name != "timeout_s"]
    for p in parameters:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.POSITIONAL_ONLY):
            raise definition_error(
                function,
                f"{cls.__name__}.{method}: {p} has no name that an agent could use",
                "Declare ordinary parameters with annotations",
            )
    hints = method_hints(cls, function)
    doc = parse_docstring(function, [p.name for p in parameters])
    mark = _mark_of(cls, method)
    adapter = _arguments(cls, function, name, parameters, hints, doc.parameters)
    promised = without_outcome(hints.get("return", EMPTY))
    value_schema = _value_schema(promised)
    shape = _shape(promised, value_schema)
    return ToolSpec(
        name=name,
        description=mark.description or doc.description,
        input_schema=_input_schema(adapter, doc.parameters),
        output_schema=_output_schema(shape, value_schema),
        method=method,
        is_async=inspect.iscoroutinefunction(function),
        takes_timeout=takes_timeout,
        validate=adapter.validator.validate_python,
        shape=shape,
        as_float=promised is float,
    )


def _mark_of(cls: type, method: str) -> _Mark:
    for base in cls.__mro__:
        value = vars(base).get(method)
        mark = getattr(getattr(value, "__func__", value), TOOL_MARK, None)
        if isinstance(mark, _Mark):
            return mark
    raise KeyError(method)


def _arguments(
    cls: type,
    function: Any,
    name: str,
    parameters: list[inspect.Parameter],
    hints: Mapping[str, Any],
    docs: Mapping[str, str],
) -> TypeAdapter[Any]:
    """Return the validator of a tool's arguments: a function of its signature that returns them.

    Validating a call, not a model, gives the published error texts ("Missing required argument").
    """

    def call(**arguments: Any) -> dict[str, Any]:
        return arguments

    annotations = {p.name: hints.get(p.name, Any) for p in parameters}
    call.__name__ = call.__qualname__ = name
    call.__annotations__ = annotations
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(annotation=annotations[p.name]) for p in parameters]
    )
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(cast(Any, call))
        return adapter
    except UNUSABLE as error:
        raise definition_error(
            function,
            f"{cls.__name__}: no schema can be made of the tool {name!r}: {error}",
            "Use types that pydantic can validate",
        ) from error


def _input_schema(adapter: TypeAdapter[Any], docs: Mapping[str, str]) -> dict[str, Any]:
    schema = compact(adapter.json_schema(schema_generator=JsonSchemas))
    for name, text in docs.items():
        if name in schema["properties"] and "description" not in schema["properties"][name]:
            schema["properties"][name]["description"] = text
    return schema


def _shape(promised: Any, schema: dict[str, Any] | None) -> str:
    if promised is EMPTY or promised is Any:
        return "any"
    if is_missing(promised):
        return "none"
    if schema is None:
        return "any"
    return "object" if schema.get("type") == "object" else "wrapped"


def _value_schema(promised: Any) -> dict[str, Any] | None:
    """Return the schema of a tool's value; None where its annotation says nothing that has one."""
    if promised is EMPTY or promised is Any or is_missing(promised):
        return None
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(promised)
        return compact(adapter.json_schema(schema_generator=JsonSchemas, mode="serialization"))
    except UNUSABLE:
        fields = value_fields(strip_annotated(promised))
        return None if fields is None else {"type": "object"}


def _output_schema(shape: str, schema: dict[str, Any] | None) -> dict[str, Any] | None:
    if shape != "wrapped":
        return schema
    return {
        "properties": {"result": schema},
        "required": ["result"],
        "type": "object",
        "x-fastmcp-wrap-result": True,
    }
