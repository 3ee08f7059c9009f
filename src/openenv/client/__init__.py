"""Clients: one environment, driven from Python, wherever it runs.

`connect` (asynchronous) and `Env` (synchronous) are the clients to use. `EnvClient` and its relatives are
the published ones, for packages that subclass them. Each is imported when it is first used: a
synchronous client loads neither asyncio nor ssl.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openenv.client.async_env import AsyncEnv, connect
    from openenv.client.async_group import AsyncSessionGroup
    from openenv.client.env import Env, make_remote
    from openenv.client.env_client import EnvClient
    from openenv.client.generic import GenericAction, GenericEnvClient
    from openenv.client.group import SessionGroup
    from openenv.client.mcp import GenericMCPObservation, MCPClientBase, MCPToolClient
    from openenv.client.models import GenericObservation, model_from_schema
    from openenv.client.roster import GroupStatistics, SessionOutcome
    from openenv.client.sync_client import SyncEnvClient

__all__ = [
    "AsyncEnv",
    "AsyncSessionGroup",
    "Env",
    "EnvClient",
    "GenericAction",
    "GenericEnvClient",
    "GenericMCPObservation",
    "GenericObservation",
    "GroupStatistics",
    "MCPClientBase",
    "MCPToolClient",
    "SessionGroup",
    "SessionOutcome",
    "SyncEnvClient",
    "connect",
    "make_remote",
    "model_from_schema",
]

_HOMES = {
    "AsyncEnv": "async_env",
    "AsyncSessionGroup": "async_group",
    "Env": "env",
    "EnvClient": "env_client",
    "GenericAction": "generic",
    "GenericEnvClient": "generic",
    "GenericMCPObservation": "mcp",
    "GenericObservation": "models",
    "GroupStatistics": "roster",
    "MCPClientBase": "mcp",
    "MCPToolClient": "mcp",
    "SessionGroup": "group",
    "SessionOutcome": "roster",
    "SyncEnvClient": "sync_client",
    "connect": "async_env",
    "make_remote": "env",
    "model_from_schema": "models",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"openenv.client.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'openenv.client' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
