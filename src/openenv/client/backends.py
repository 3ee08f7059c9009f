"""What an `Env` drives: a session in this process, or one on a server.

Both answer the same calls with the same results, so that `Env` and `AsyncEnv` know nothing of the
difference. Observations come as models either way; a server's models are learned from its schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from openenv.types import StepResult

if TYPE_CHECKING:
    from openenv.protocol.mcp_types import Tool
    from openenv.spaces import ActionSpace
    from openenv.types import EnvironmentMetadata


class Backend(Protocol):
    """A session, called synchronously."""

    def open(self) -> None:
        """Make sure there is a session; starts a new one after a loss."""

    def reset(
        self, seed: int | None, episode_id: str | None, options: dict[str, Any], timeout_s: float | None
    ) -> StepResult[Any]:
        """Start an episode."""

    def step(self, action: Any, timeout_s: float | None) -> StepResult[Any]:
        """Take a step."""

    def state(self) -> Any:
        """The public state."""

    def schema(self) -> dict[str, Any]:
        """JSON Schemas: `action`, `observation`, `state`, `reset_observation`."""

    def action_space(self) -> ActionSpace:
        """The space of valid actions."""

    def metadata(self) -> EnvironmentMetadata:
        """What the environment says about itself."""

    def tools(self) -> list[Tool]:
        """Its tools."""

    def close(self) -> None:
        """End the session."""


class AsyncBackend(Protocol):
    """A session, called from coroutines."""

    async def open(self) -> None:
        """Make sure there is a session; starts a new one after a loss."""

    async def reset(
        self, seed: int | None, episode_id: str | None, options: dict[str, Any], timeout_s: float | None
    ) -> StepResult[Any]:
        """Start an episode."""

    async def step(self, action: Any, timeout_s: float | None) -> StepResult[Any]:
        """Take a step."""

    async def state(self) -> Any:
        """The public state."""

    async def schema(self) -> dict[str, Any]:
        """JSON Schemas: `action`, `observation`, `state`, `reset_observation`."""

    async def action_space(self) -> ActionSpace:
        """The space of valid actions."""

    async def metadata(self) -> EnvironmentMetadata:
        """What the environment says about itself."""

    async def tools(self) -> list[Tool]:
        """Its tools."""

    async def close(self) -> None:
        """End the session."""


def reset_options(seed: int | None, episode_id: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """The data of a reset message: what was given, and nothing else."""
    data = dict(options)
    if seed is not None:
        data["seed"] = seed
    if episode_id is not None:
        data["episode_id"] = episode_id
    return data


def tools_from(result: Any) -> list[Tool]:
    """The tools that a server listed, in either spelling of their schema."""
    from openenv.protocol.mcp_types import Tool

    listed = result.get("tools", []) if isinstance(result, dict) else []
    return [
        Tool(
            name=tool.get("name", ""),
            description=tool.get("description") or "",
            input_schema=tool.get("input_schema") or tool.get("inputSchema") or {},
        )
        for tool in listed
    ]


def metadata_from(document: Any) -> EnvironmentMetadata:
    """The metadata that a server gave; what this version does not know is left out."""
    from openenv.types import EnvironmentMetadata

    known = EnvironmentMetadata.model_fields
    fields = {key: value for key, value in document.items() if key in known}
    return EnvironmentMetadata(**{"name": "", "description": "", **fields})


def space_of(schema: dict[str, Any], tools: list[Tool] | None) -> ActionSpace:
    """The action space of a server's schema."""
    from openenv.spaces import ActionSpace

    return ActionSpace(schema, tools=tools)
