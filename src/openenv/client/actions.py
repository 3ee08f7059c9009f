"""What a caller may hand to `step`, and what it stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from typing import Any

from pydantic import BaseModel

from openenv.errors import UsageError


def action_of(value: Any, fields: dict[str, Any], schema: Callable[[], dict[str, Any]]) -> Any:
    """The action that a call of `step` means.

    Args:
        value: an action model, a mapping, a dataclass, a bare value for an action with a single field, or
            None where the fields are given by name.
        fields: fields given by name.
        schema: tells the action's schema; asked only where the value is bare.

    Returns:
        A model, or a dict.

    Raises:
        UsageError: value and fields were both given, or a bare value fits no single field.
    """
    if value is None:
        return fields
    if fields:
        raise UsageError(
            f"step() got an action and the fields {', '.join(fields)}: give an action, or its fields by name"
        )
    if isinstance(value, BaseModel):
        return value
    if isinstance(value, Mapping):
        return dict(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclass_fields(value)}
    return {single_field(schema(), value): value}


def single_field(schema: Mapping[str, Any], value: Any) -> str:
    """Name of the only field that an action has beside `metadata`.

    Raises:
        UsageError: it has none, or several.
    """
    names = [name for name in schema.get("properties", {}) if name != "metadata"]
    if len(names) == 1:
        return str(names[0])
    said = f"step() got the bare value {value!r:.60}"
    if not names:
        raise UsageError(f"{said}: this environment's action is not a single value; give a dict or a model")
    written = ", ".join(f"{name}=..." for name in names)
    raise UsageError(f"{said}: this environment's action has {len(names)} fields; write step({written})")


def calls_tools(schema: Any) -> bool:
    """Whether an action schema, or one of its variants, is a call of a tool by name."""
    if isinstance(schema, dict):
        if schema.get("const") == "call_tool":
            return True
        return any(calls_tools(part) for part in schema.values())
    return isinstance(schema, list) and any(calls_tools(part) for part in schema)
