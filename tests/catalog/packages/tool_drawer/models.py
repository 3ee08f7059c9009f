from typing import Literal

from openenv.core.env_server.mcp_types import CallToolAction


class DrawerAction(CallToolAction):
    """A tool call that may also list the tools."""

    type: Literal["call_tool", "list_tools"] = "call_tool"
    tool_name: str = ""
