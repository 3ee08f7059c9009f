"""Import paths of published environments and clients: re-exports only, each loaded when first used."""

# ruff: noqa: F403  (the star imports below are for type checkers; a test resolves every name)

from typing import TYPE_CHECKING

from openenv.core import env_server
from openenv.core._lazy import lazy_table

if TYPE_CHECKING:
    from openenv.core.env_client import EnvClient
    from openenv.core.env_server import *
    from openenv.core.generic_client import GenericAction, GenericEnvClient
    from openenv.core.mcp_client import MCPClientBase, MCPToolClient
    from openenv.core.sync_client import SyncEnvClient

__all__ = [
    "EnvClient",
    "GenericAction",
    "GenericEnvClient",
    "MCPClientBase",
    "MCPToolClient",
    "SyncEnvClient",
]
__all__ += env_server.__all__

_HOMES = {
    "EnvClient": "env_client",
    "GenericAction": "generic_client",
    "GenericEnvClient": "generic_client",
    "MCPClientBase": "mcp_client",
    "MCPToolClient": "mcp_client",
    "SyncEnvClient": "sync_client",
    **dict.fromkeys(env_server.__all__, "env_server"),
}
_FURTHER = ["client_types", "containers", "rubrics", "tools", "utils"]
_LATER = ["AnthropicClient", "LLMClient", "LLMResponse", "OpenAIClient", "ToolCall", "create_llm_client"]

__getattr__, __dir__ = lazy_table(
    __name__, _HOMES, _FURTHER, dict.fromkeys(_LATER, "call a model with its own client library")
)
