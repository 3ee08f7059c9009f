"""Calling the tools of a FastMCP server, and the published form of what they return.

A tool that takes no part in an MCP session is called on the server object (`FastMCP.call_tool`): its
middleware, validation and error handling run, and the JSON-RPC round trip through an in-memory client,
which costs several times as much as they do together, does not. A tool that asks for its `Context`, or a
server with a lifespan of its own, gets a real session.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from openenv.errors import MissingExtraError, OpenEnvError, UsageError
from openenv.protocol.jsonvalue import to_jsonable
from openenv.protocol.mcp_types import RESERVED_TOOL_NAMES, Tool, ToolError, ToolErrorType
from openenv.utils import run_async_safely

_SESSION_PARAMETERS = frozenset({"fastmcp", "uncalled_for", "docket"})
"""Packages whose objects stand as defaults of parameters that FastMCP fills in from the session."""
_PUBLISHED_KEYS = {"input_schema": "inputSchema", "output_schema": "outputSchema"}


def import_fastmcp() -> Any:
    """Import FastMCP.

    Raises:
        MissingExtraError: it is not installed, or is older than version 3.
    """
    try:
        import fastmcp
    except ImportError as problem:
        raise MissingExtraError("MCPEnvironment", "fastmcp") from problem
    if not hasattr(getattr(fastmcp, "FastMCP", None), "call_tool"):
        raise MissingExtraError("MCPEnvironment (FastMCP 2 is too old)", "fastmcp")
    return fastmcp


def get_server_tools(mcp_server: Any) -> dict[str, Any]:
    """Give a FastMCP server's tools by name."""
    return {tool.name: tool for tool in run_async_safely(mcp_server.list_tools(run_middleware=False))}


def check_names(names: Mapping[str, Any] | list[str]) -> None:
    """Refuse names that belong to the orchestrator.

    Raises:
        UsageError: a tool bears one (it is a ValueError too).
    """
    reserved = sorted(RESERVED_TOOL_NAMES.intersection(names))
    if reserved:
        raise ReservedNameError(
            f"MCP tools cannot use reserved names: {reserved}. Reserved are {sorted(RESERVED_TOOL_NAMES)}, "
            "because agents must not reach the orchestrator's calls."
        )


class ReservedNameError(UsageError, ValueError):
    """A tool has a name that belongs to the orchestrator."""


def listed(tool: Any) -> Tool:
    """Give a FastMCP tool as an agent sees it in an observation."""
    return Tool(name=tool.name, description=tool.description or "", input_schema=tool.parameters)


def published(tool: Any) -> dict[str, Any]:
    """Give a FastMCP tool as `tools/list` shows it, whichever version wrote it."""
    shown = to_jsonable(tool.to_mcp_tool().model_dump())
    return {_PUBLISHED_KEYS.get(key, key): value for key, value in shown.items()}


def needs_session(server: Any, tool: Any) -> bool:
    """Whether a tool takes part in an MCP session, so that it cannot be called without one."""
    lifespan = getattr(server, "_lifespan", None)
    if lifespan is not None and getattr(lifespan, "__name__", "") != "default_lifespan":
        return True
    function: Any = getattr(tool, "fn", None)
    code = getattr(function, "__code__", None)
    if code is None:
        return True
    defaults = [parameter.default for parameter in inspect.signature(function).parameters.values()]
    return "get_context" in code.co_names or any(
        type(default).__module__.partition(".")[0] in _SESSION_PARAMETERS for default in defaults
    )


def result_payload(result: Any) -> dict[str, Any]:
    """Give a tool's result in the published form."""
    meta = {key: value for key, value in (result.meta or {}).items() if "/" not in key} or None
    structured = to_jsonable(result.structured_content)
    wrapped = bool(((meta or {}).get("fastmcp") or {}).get("wrap_result"))
    return {
        "content": [_block(block) for block in result.content],
        "structured_content": structured,
        "meta": to_jsonable(meta),
        "data": structured["result"] if wrapped and structured else structured,
        "is_error": False,
    }


def _block(block: Any) -> Any:
    return block.model_dump(mode="json") if isinstance(block, BaseModel) else to_jsonable(block)


def error_of(problem: Exception, tool_name: str) -> ToolError:
    """Say what went wrong in a call.

    Raises:
        OpenEnvError: the failure is not the tool's.
    """
    if isinstance(problem, OpenEnvError):
        raise problem
    exceptions = import_fastmcp().exceptions
    text = str(problem)
    if isinstance(problem, exceptions.NotFoundError):
        kind = ToolErrorType.TOOL_NOT_FOUND
    elif isinstance(problem, exceptions.ValidationError | ValidationError) or _is_validation(problem, text):
        kind = ToolErrorType.INVALID_ARGS
    else:
        kind = ToolErrorType.EXECUTION_ERROR
        if not isinstance(problem, exceptions.ToolError):
            text = f"Error calling tool {tool_name!r}: {problem}"
    return ToolError(error_type=kind, message=text)


def _is_validation(problem: Exception, text: str) -> bool:
    """A session reports everything as text; pydantic's begins in one way only."""
    return type(problem).__name__ == "ToolError" and " validation error" in text.partition("\n")[0]
