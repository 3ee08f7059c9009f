"""Tools as actions: the published models by which a step lists tools or calls one."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from openenv.protocol.messages import BaseMessage
from openenv.types import Action, Observation

RESERVED_TOOL_NAMES = frozenset({"reset", "step", "state", "close"})
"""Names no tool may have: they are the orchestrator's, and an agent must not reach them."""


class Tool(BaseModel):
    """What an agent learns about a tool.

    Attributes:
        name: its name.
        description: what it does.
        input_schema: JSON Schema of its arguments.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="Unique identifier for the tool")
    description: str = Field(description="What the tool does")
    input_schema: dict[str, Any] = Field(description="JSON Schema of the tool's arguments")


class ToolErrorType(StrEnum):
    """Why a tool call failed."""

    EXECUTION_ERROR = "execution_error"
    """The tool ran and raised."""
    INVALID_ARGS = "invalid_args"
    """The arguments do not fit its schema; it did not run."""
    TRANSPORT_ERROR = "transport_error"
    """It could not be reached."""
    TOOL_NOT_FOUND = "tool_not_found"
    """There is no tool of that name."""
    TIMEOUT = "timeout"
    """It took too long."""


class ToolError(BaseModel):
    """A failed call; what a tool itself reports as a failure stands in the result instead.

    Attributes:
        error_type: the kind of failure.
        message: one sentence, or the tool's own words.
    """

    model_config = ConfigDict(extra="forbid")

    error_type: ToolErrorType = Field(description="Category of the error")
    message: str = Field(description="What went wrong")


class ListToolsAction(Action):
    """Ask which tools there are. Allowed at any time, before a reset too."""

    type: Literal["list_tools"] = Field(default="list_tools", description="Action type discriminator")


class CallToolAction(Action):
    """Call a tool.

    Attributes:
        type: always "call_tool".
        tool_name: its name.
        arguments: its arguments by name.
    """

    type: Literal["call_tool"] = Field(default="call_tool", description="Action type discriminator")
    tool_name: str = Field(description="Name of the tool to call")
    arguments: dict[str, Any] = Field(default_factory=dict, description="Arguments to pass to the tool")


class ListToolsObservation(Observation):
    """The tools there are.

    Attributes:
        tools: one entry per tool.
    """

    tools: list[Tool] = Field(description="Available tools with their schemas")


class CallToolObservation(Observation):
    """What came of a tool call.

    Attributes:
        tool_name: the tool that was called.
        result: what it returned, in the published form; None if it failed.
        error: why it failed, None if it did not.
    """

    tool_name: str = Field(description="Name of the tool that was called")
    result: Any = Field(default=None, description="What the tool returned")
    error: ToolError | None = Field(default=None, description="Why the call failed, if it did")


class WSMCPMessage(BaseMessage):
    """A JSON-RPC request in a WebSocket frame.

    Attributes:
        type: always "mcp".
        data: the request.
    """

    type: Literal["mcp"] = "mcp"
    data: dict[str, Any]


class WSMCPResponse(BaseModel):
    """A JSON-RPC response in a WebSocket frame.

    Attributes:
        type: always "mcp".
        data: the response.
    """

    model_config = ConfigDict(extra="forbid")

    type: str = "mcp"
    data: dict[str, Any]
