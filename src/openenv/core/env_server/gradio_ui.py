"""The Gradio page."""

from openenv.integrations.fastmcp import MCPEnvironment
from openenv.protocol.mcp_types import ListToolsAction
from openenv.server.gradio_page import build_gradio_app, get_gradio_display_title
from openenv.types import EnvironmentMetadata

__all__ = [
    "EnvironmentMetadata",
    "ListToolsAction",
    "MCPEnvironment",
    "build_gradio_app",
    "get_gradio_display_title",
]
