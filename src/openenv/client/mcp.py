"""Published clients of tool environments: tools are listed and called by name.

Everything goes over the session's own WebSocket. A call is a step wherever the server takes it as one, so
that it counts and is rewarded; a server that has tools and no steps (production mode, or an environment
whose actions are not tool calls) is asked in JSON-RPC instead. Failures are errors: a server that is down
is not a server without tools.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict

from openenv.client.backends import tools_from
from openenv.client.env_client import EnvClient
from openenv.client.ledger import Standing
from openenv.client.remote import rpc_result
from openenv.client.tool_results import tool_value, unwrapped
from openenv.client.typed_results import step_payload
from openenv.errors import (
    EnvironmentFailedError,
    InvalidActionError,
    OrderError,
    ProtocolError,
    ToolCallError,
)
from openenv.protocol.mcp_types import (
    CallToolAction,
    CallToolObservation,
    ListToolsAction,
    ListToolsObservation,
    Tool,
    ToolError,
)
from openenv.types import Observation, State, StepResult


class GenericMCPObservation(Observation):
    """An observation of a tool environment that is neither a list of tools nor a tool's result."""

    model_config = ConfigDict(extra="allow", validate_assignment=True, arbitrary_types_allowed=True)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class MCPClientBase(EnvClient[Any, Observation, State]):
    """A client of a tool environment.

    Args:
        base_url: address of the server.
        connect_timeout_s: limit for connecting.
        message_timeout_s: deadline of each call.
        websocket_ping_interval_s: silence after which the server is asked for a sign of life; None never.
        websocket_ping_timeout_s: how long that may take before the session counts as lost; None for ever.
        provider: starts and stops the server.
        mode: `production`, the only one there is for tool clients.
        max_message_size_mb: largest reply accepted.
        headers: further HTTP headers.

    Raises:
        ValueError: another mode.
    """

    def __init__(
        self,
        base_url: str,
        connect_timeout_s: float = 10.0,
        message_timeout_s: float = 60.0,
        websocket_ping_interval_s: float | None = 20.0,
        websocket_ping_timeout_s: float | None = 20.0,
        provider: Any = None,
        mode: str | None = None,
        max_message_size_mb: float = 100.0,
        headers: dict[str, str] | None = None,
    ) -> None:
        if mode is not None and mode.lower() != "production":
            raise ValueError(
                f"{type(self).__name__} only supports 'production' mode, got '{mode}'. "
                "Use GenericEnvClient for simulation mode."
            )
        super().__init__(
            base_url=base_url,
            connect_timeout_s=connect_timeout_s,
            message_timeout_s=message_timeout_s,
            max_message_size_mb=max_message_size_mb,
            websocket_ping_interval_s=websocket_ping_interval_s,
            websocket_ping_timeout_s=websocket_ping_timeout_s,
            provider=provider,
            mode="production",
            headers=headers,
        )
        self.use_production_mode = True
        self._tools_cache: list[Tool] | None = None
        self._rpc_count = 0

    def list_tools(self, use_cache: bool = True) -> Any:
        """The environment's tools, a list of `Tool`.

        Args:
            use_cache: whether what was listed before is good enough.

        Raises:
            ToolCallError: the environment has no tools.
            InfrastructureError: the server could not be asked.
        """
        return self._dispatch(lambda: self._list_tools_async(use_cache))

    async def _list_tools_async(self, use_cache: bool = True) -> list[Tool]:
        if not use_cache or self._tools_cache is None:
            try:
                self._tools_cache = tools_from(await self._rpc("tools/list", {}))
            except EnvironmentFailedError as problem:
                raise ToolCallError("tools/list", f"Listing the tools failed: {problem}") from problem
        return self._tools_cache

    async def _rpc(self, method: str, params: dict[str, Any]) -> Any:
        self._rpc_count += 1
        request = {"jsonrpc": "2.0", "method": method, "params": params, "id": self._rpc_count}
        return rpc_result((await self._request("mcp", request)).data)

    def _step_payload(self, action: Any) -> dict[str, Any]:
        if isinstance(action, ListToolsAction):
            return {"type": "list_tools"}
        if isinstance(action, CallToolAction):
            return {"type": "call_tool", "tool_name": action.tool_name, "arguments": action.arguments}
        return step_payload(action)

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[Observation]:
        fields = payload.get("observation") or {}
        metadata = payload.get("metadata", fields.get("metadata")) or {}
        reward, done = payload.get("reward"), payload.get("done", False)
        beside: dict[str, Any] = {"reward": reward, "done": done, "metadata": metadata}
        observation: Observation
        if isinstance(fields.get("tools"), list):
            observation = ListToolsObservation(tools=tools_from(fields), **beside)
        elif "tool_name" in fields:
            error = ToolError(**fields["error"]) if fields.get("error") else None
            name, result = fields["tool_name"], fields.get("result")
            observation = CallToolObservation(tool_name=name, result=result, error=error, **beside)
        else:
            observation = GenericMCPObservation(**{**fields, **beside})
        return StepResult(observation, reward, done, payload.get("metadata"))

    def _parse_state(self, payload: dict[str, Any]) -> State:
        return State.model_validate(payload)


class MCPToolClient(MCPClientBase):
    """A client that calls tools by name."""

    _calls_are_steps: bool | None = None

    def call_tool(self, name: str, /, **kwargs: Any) -> Any:
        """Call a tool and return its value.

        Args:
            name: the tool.
            **kwargs: its arguments.

        Raises:
            ToolCallError: the tool failed, or there is none of that name, or the arguments do not fit; it
                is a `RuntimeError`.
            InfrastructureError: the server could not be asked.
        """
        return self._dispatch(lambda: self._call_tool_async(name, kwargs))

    def get_tool(self, name: str) -> Any:
        """The `Tool` of that name, None if there is none."""
        return self._dispatch(lambda: self._get_tool_async(name))

    def has_tool(self, name: str) -> Any:
        """Whether there is a tool of that name."""
        return self._dispatch(lambda: self._has_tool_async(name))

    async def _call_tool_async(self, name: str, arguments: dict[str, Any]) -> Any:
        if self._calls_are_steps is not False:
            try:
                result = await self._step_or_begin(CallToolAction(tool_name=name, arguments=arguments))
            except (ProtocolError, InvalidActionError):
                # No steps here, or none that call tools; once one has worked, it is an error like any other.
                if self._calls_are_steps:
                    raise
                self._calls_are_steps = False
            else:
                self._calls_are_steps = True
                return tool_value(name, result)
        return await self._call_by_rpc(name, arguments)

    async def _step_or_begin(self, action: CallToolAction) -> StepResult[Observation]:
        """Step; where a fresh session wants a reset first, which users of tools may not know, do that."""
        try:
            return await self._step_async(action)
        except OrderError:
            session = self._session
            if session is None or session.ledger.standing is not Standing.NEW:
                raise
        await self._reset_async()
        return await self._step_async(action)

    async def _call_by_rpc(self, name: str, arguments: dict[str, Any]) -> Any:
        try:
            result = await self._rpc("tools/call", {"name": name, "arguments": arguments})
        except (EnvironmentFailedError, InvalidActionError, ProtocolError) as problem:
            raise ToolCallError(name, f"Tool '{name}' failed: {problem}") from problem
        if isinstance(result, dict) and "tool_name" in result:
            return tool_value(name, StepResult(result))
        return unwrapped(result)

    async def _get_tool_async(self, name: str) -> Tool | None:
        return next((tool for tool in await self._list_tools_async() if tool.name == name), None)

    async def _has_tool_async(self, name: str) -> bool:
        return await self._get_tool_async(name) is not None
