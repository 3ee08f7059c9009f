"""A tool call as an action, and the value in what it came to."""

from __future__ import annotations

from typing import Any

from openenv.errors import ToolCallError
from openenv.types import StepResult


def tool_call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The action that calls a tool."""
    return {"type": "call_tool", "tool_name": name, "arguments": arguments}


def tool_value(name: str, result: StepResult[Any]) -> Any:
    """The value that a tool returned.

    Args:
        name: the tool.
        result: the step that called it; its observation is a model or a dict.

    Raises:
        ToolCallError: the call failed.
    """
    observation = result.observation
    error = _part(observation, "error")
    if error is not None:
        kind = _part(error, "error_type")
        said = _part(error, "message") or str(error)
        raise ToolCallError(
            name, f"Tool '{name}' failed: {said}", error_type=str(getattr(kind, "value", kind) or "")
        )
    return unwrapped(_part(observation, "result"))


def unwrapped(result: Any) -> Any:
    """The plain value in a tool's published result form, which carries it as `data`."""
    if isinstance(result, dict) and "data" in result:
        return result["data"]
    return getattr(result, "data", result) if hasattr(result, "is_error") else result


def _part(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)
