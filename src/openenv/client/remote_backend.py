"""Backends over a server: a remote session, and the models learned from the server's schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openenv.client.actions import calls_tools
from openenv.client.backends import metadata_from, reset_options, space_of, tools_from
from openenv.client.endpoint import Endpoint
from openenv.client.http import fetch_json
from openenv.client.learned import Learned, generic
from openenv.client.remote import AsyncRemoteSession, RemoteSession
from openenv.types import StepResult

if TYPE_CHECKING:
    from openenv.protocol.mcp_types import Tool
    from openenv.spaces import ActionSpace
    from openenv.types import EnvironmentMetadata


class RemoteBackend:
    """A session on a server, for synchronous code.

    Args:
        endpoint: the server.
        session_id: a session to attach to.
        models: whether observations and states become models; else they stay dicts.
    """

    def __init__(self, endpoint: Endpoint, *, session_id: str | None = None, models: bool = True) -> None:
        self.endpoint = endpoint
        self.session = RemoteSession(endpoint, session_id=session_id)
        self._models = models
        self._learned: Learned | None = None

    def __repr__(self) -> str:
        return f"at {self.endpoint.address.url}"

    def open(self) -> None:
        """Connect, if not connected."""
        self.session.connect()

    def reset(
        self, seed: int | None, episode_id: str | None, options: dict[str, Any], timeout_s: float | None
    ) -> StepResult[Any]:
        """Start an episode."""
        learned = self._learn() if self._models else None
        result = self.session.reset(reset_options(seed, episode_id, options), timeout_s)
        return learned.read(result, first=True) if learned else generic(result)

    def step(self, action: Any, timeout_s: float | None) -> StepResult[Any]:
        """Take a step."""
        learned = self._learn() if self._models else None
        result = self.session.step(action, timeout_s)
        return learned.read(result) if learned else generic(result)

    def state(self) -> Any:
        """The public state."""
        data = self.session.state()
        return self._learn().read_state(data) if self._models else data

    def schema(self) -> dict[str, Any]:
        """The server's schemas."""
        return self._learn().schema

    def action_space(self) -> ActionSpace:
        """The space of valid actions; for a tool environment, of calls of its tools."""
        schema = self._learn().schema.get("action") or {}
        return space_of(schema, self.tools() if calls_tools(schema) else None)

    def metadata(self) -> EnvironmentMetadata:
        """What the server says about the environment."""
        return metadata_from(fetch_json(self.endpoint, "/metadata"))

    def tools(self) -> list[Tool]:
        """The session's tools."""
        return tools_from(self.session.rpc("tools/list", {}))

    def close(self) -> None:
        """End the session."""
        self.session.close()

    def _learn(self) -> Learned:
        if self._learned is None:
            self._learned = Learned(fetch_json(self.endpoint, "/schema"))
        return self._learned


class AsyncRemoteBackend:
    """A session on a server, for coroutines.

    Args:
        endpoint: the server.
        session_id: a session to attach to.
        models: whether observations and states become models; else they stay dicts.
    """

    def __init__(self, endpoint: Endpoint, *, session_id: str | None = None, models: bool = True) -> None:
        self.endpoint = endpoint
        self.session_id = session_id
        self.models = models
        self.session = AsyncRemoteSession(endpoint, session_id=session_id)
        self._learned: Learned | None = None

    def __repr__(self) -> str:
        return f"at {self.endpoint.address.url}"

    async def open(self) -> None:
        """Connect, if not connected."""
        await self.session.connect()

    async def reset(
        self, seed: int | None, episode_id: str | None, options: dict[str, Any], timeout_s: float | None
    ) -> StepResult[Any]:
        """Start an episode."""
        learned = await self._learn() if self.models else None
        result = await self.session.reset(reset_options(seed, episode_id, options), timeout_s)
        return learned.read(result, first=True) if learned else generic(result)

    async def step(self, action: Any, timeout_s: float | None) -> StepResult[Any]:
        """Take a step."""
        learned = await self._learn() if self.models else None
        result = await self.session.step(action, timeout_s)
        return learned.read(result) if learned else generic(result)

    async def state(self) -> Any:
        """The public state."""
        data = await self.session.state()
        return (await self._learn()).read_state(data) if self.models else data

    async def schema(self) -> dict[str, Any]:
        """The server's schemas."""
        return (await self._learn()).schema

    async def action_space(self) -> ActionSpace:
        """The space of valid actions; for a tool environment, of calls of its tools."""
        schema = (await self._learn()).schema.get("action") or {}
        return space_of(schema, await self.tools() if calls_tools(schema) else None)

    async def metadata(self) -> EnvironmentMetadata:
        """What the server says about the environment."""
        return metadata_from(await self._fetch("/metadata"))

    async def tools(self) -> list[Tool]:
        """The session's tools."""
        return tools_from(await self.session.rpc("tools/list", {}))

    async def close(self) -> None:
        """End the session."""
        await self.session.close()

    async def _learn(self) -> Learned:
        if self._learned is None:
            self._learned = Learned(await self._fetch("/schema"))
        return self._learned

    async def _fetch(self, route: str) -> Any:
        from asyncio import to_thread

        return await to_thread(fetch_json, self.endpoint, route)
