"""Running tools: from a `CallToolAction` to its observation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from openenv.environment.content import content_blocks, is_content
from openenv.environment.observations import Transition, number
from openenv.environment.toolset import ToolSpec
from openenv.errors import InvalidActionError, OpenEnvError
from openenv.protocol.jsonvalue import to_jsonable
from openenv.protocol.mcp_types import (
    CallToolObservation,
    ListToolsAction,
    ListToolsObservation,
    ToolError,
    ToolErrorType,
)
from openenv.types import Outcome, StepOutcome


class ToolCalls:
    """The tools of one class, ready to be called.

    Args:
        cls: the environment class.
        tools: its tools.
    """

    def __init__(self, cls: type, tools: tuple[ToolSpec, ...]) -> None:
        self._cls = cls
        self._tools = {spec.name: spec for spec in tools}
        self._listed = [spec.listed() for spec in tools]

    def step(self, env: Any, action: Any, timeout_s: float | None, extra: Mapping[str, Any]) -> Any:
        """List tools or call one; returns a `Transition`, or an awaitable of one for asynchronous tools."""
        if isinstance(action, ListToolsAction):
            return Transition(ListToolsObservation(tools=self._listed))
        spec = self._tools.get(action.tool_name)
        if spec is None:
            return _failed(
                action.tool_name, ToolErrorType.TOOL_NOT_FOUND, f"Unknown tool: {action.tool_name!r}"
            )
        try:
            arguments = spec.validate(action.arguments)
        except ValidationError as error:
            return _failed(spec.name, ToolErrorType.INVALID_ARGS, str(error))
        except Exception as error:
            # Boundary: validators are an author's code; whatever they raise, the tool did not run.
            return _failed(spec.name, ToolErrorType.INVALID_ARGS, str(error))
        if spec.takes_timeout:
            arguments["timeout_s"] = timeout_s
        if spec.is_async:
            return self._call_async(env, spec, arguments)
        try:
            value = getattr(env, spec.method)(**arguments)
        except Exception as error:
            # Boundary: the tool is the author's code, and its failure is an observation.
            return _raised(spec, error)
        return self._returned(spec, value)

    async def _call_async(self, env: Any, spec: ToolSpec, arguments: dict[str, Any]) -> Transition:
        try:
            value = await getattr(env, spec.method)(**arguments)
        except Exception as error:
            # Boundary: the same as in `step`.
            return _raised(spec, error)
        return self._returned(spec, value)

    def _returned(self, spec: ToolSpec, value: Any) -> Transition:
        if not isinstance(value, Outcome):
            observation = CallToolObservation(tool_name=spec.name, result=tool_result(spec, value))
            return Transition(observation, metadata=observation.metadata)
        observation = CallToolObservation(
            tool_name=spec.name,
            result=tool_result(spec, value.value),
            done=bool(value.terminated or value.truncated),
            reward=number(self._cls, value.reward),
            metadata=dict(value.metadata),
        )
        return Transition(
            observation,
            reward=observation.reward,
            done=observation.done,
            terminated=bool(value.terminated),
            truncated=bool(value.truncated) and not value.terminated,
            reason=value.reason,
            components={name: float(score) for name, score in value.components.items()},
            metadata=observation.metadata,
        )


def _raised(spec: ToolSpec, error: Exception) -> Transition:
    if isinstance(error, InvalidActionError):
        return _failed(spec.name, ToolErrorType.INVALID_ARGS, error.message)
    if isinstance(error, OpenEnvError):
        # Machinery, deadlines and misuse are no tool's failure: they keep their own outcome.
        raise error
    return _failed(spec.name, ToolErrorType.EXECUTION_ERROR, f"Error calling tool {spec.name!r}: {error}")


def _failed(name: str, kind: ToolErrorType, message: str) -> Transition:
    observation = CallToolObservation(tool_name=name, error=ToolError(error_type=kind, message=message))
    failed = kind is ToolErrorType.EXECUTION_ERROR
    outcome = StepOutcome.TOOL_ERROR if failed else StepOutcome.INVALID_ACTION
    return Transition(observation, metadata=observation.metadata, outcome=outcome)


def tool_result(spec: ToolSpec, value: Any) -> dict[str, Any]:
    """Return the published result object of a tool's value."""
    plain = to_jsonable(value)
    if spec.as_float and type(plain) is int:
        data: Any = float(plain)
    else:
        data = plain
    content = content_blocks(value, plain)
    wrap = _wraps(spec, plain)
    if spec.shape == "none" or is_content(value) or (spec.shape == "any" and plain is None):
        structured, data = None, None
    elif wrap:
        structured = {"result": plain}
    else:
        structured = plain
    return {
        "content": content,
        "structured_content": structured,
        "meta": {"fastmcp": {"wrap_result": True}} if wrap and structured is not None else None,
        "data": data,
        "is_error": False,
    }


def _wraps(spec: ToolSpec, plain: Any) -> bool:
    """An object is structured content by itself; anything else needs a name around it."""
    return spec.shape == "wrapped" or not isinstance(plain, dict)
