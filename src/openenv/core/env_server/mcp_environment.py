"""Environments around a FastMCP server."""

from openenv.environment import Environment
from openenv.integrations.fastmcp import MCP_TOOL_CALL_TIMEOUT, VALID_MODES, MCPEnvironment, get_server_tools
from openenv.protocol.mcp_types import (
    RESERVED_TOOL_NAMES,
    CallToolAction,
    CallToolObservation,
    ListToolsAction,
    ListToolsObservation,
    Tool,
    ToolError,
    ToolErrorType,
)
from openenv.types import Action, Observation
from openenv.utils import run_async_safely

__all__ = [
    "MCP_TOOL_CALL_TIMEOUT",
    "RESERVED_TOOL_NAMES",
    "VALID_MODES",
    "Action",
    "CallToolAction",
    "CallToolObservation",
    "Environment",
    "ListToolsAction",
    "ListToolsObservation",
    "MCPEnvironment",
    "Observation",
    "Tool",
    "ToolError",
    "ToolErrorType",
    "get_server_tools",
    "run_async_safely",
]
