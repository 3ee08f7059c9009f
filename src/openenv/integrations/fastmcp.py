"""`MCPEnvironment`: an environment around a FastMCP server, as published packages write it.

The tools of the server are the environment's actions: a step with `ListToolsAction` lists them, one with
`CallToolAction` calls one, and any other action goes to `_step_impl`. FastMCP is imported when the first
instance is made; it comes with the extra `fastmcp`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from openenv.environment import Environment, ToolSpec, tool
from openenv.environment.toolcalls import tool_result
from openenv.environment.toolset import tool_spec
from openenv.errors import InvalidActionError, NotAvailableError, UsageError
from openenv.integrations.fastmcp_tools import (
    check_names,
    error_of,
    get_server_tools,
    import_fastmcp,
    listed,
    needs_session,
    published,
    result_payload,
)
from openenv.protocol.mcp_types import (
    CallToolAction,
    CallToolObservation,
    ListToolsAction,
    ListToolsObservation,
    ToolError,
    ToolErrorType,
)
from openenv.types import Action, Observation, State
from openenv.utils import run_async_safely

__all__ = ["MCP_TOOL_CALL_TIMEOUT", "VALID_MODES", "MCPEnvironment", "get_server_tools"]

MCP_TOOL_CALL_TIMEOUT = 30.0
"""Seconds a tool call may take if the step names no deadline."""

VALID_MODES = {"production", "simulation"}
"""Modes for which `MCPEnvironment.tool` can define a tool."""

T = TypeVar("T")
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


class MCPEnvironment(Environment[CallToolAction | ListToolsAction, Observation, State]):
    """Base of environments whose tools are a FastMCP server's.

    Subclasses define `reset`, `state` and, if there are actions other than tool calls, `_step_impl`.

    Args:
        mcp_server: the FastMCP server.
        transform: applied by `_apply_transform`.

    Attributes:
        mcp_server: the FastMCP server; None after `close`.
        mcp_client: a FastMCP client of it; None after `close`.

    Raises:
        ValueError: a tool has a reserved name.
        MissingExtraError: FastMCP is not installed.
    """

    _mode: str | None = None

    def __init__(self, mcp_server: Any, transform: Any | None = None) -> None:
        fastmcp = import_fastmcp()
        super().__init__(transform=transform)
        check_names(get_server_tools(mcp_server))
        self.mcp_server: Any = mcp_server
        self.mcp_client: Any = fastmcp.Client(mcp_server)
        self._mode_tools: dict[str, dict[str, _ModeTool]] = {}
        self._connected: Any = None

    # Tools of one mode -------------------------------------------------------------------------------

    def tool(self, mode: str | None = None) -> Callable[[FunctionT], FunctionT]:
        """Define a tool, in one mode only if `mode` is given.

        Args:
            mode: ``production`` or ``simulation``; None adds the tool to the FastMCP server.

        Raises:
            ValueError: an unknown mode, or a reserved name.
        """
        if mode is not None and mode not in VALID_MODES:
            raise ValueError(f"Invalid mode {mode!r}. Mode must be 'production', 'simulation', or None.")

        def define(function: FunctionT) -> FunctionT:
            check_names([function.__name__])
            if mode is None:
                self._server().tool(function)
            else:
                self._mode_tools.setdefault(function.__name__, {})[mode] = _ModeTool(function)
            return function

        return define

    # Steps -------------------------------------------------------------------------------------------

    def step(
        self, action: CallToolAction | ListToolsAction, timeout_s: float | None = None, **kwargs: Any
    ) -> Any:
        """List tools, call one, or hand any other action to `_step_impl`."""
        given: Any = action
        if isinstance(given, ListToolsAction | CallToolAction):
            return run_async_safely(self._tool_step(given, timeout_s))
        return self._step_impl(given, timeout_s=timeout_s, **kwargs)

    async def step_async(
        self, action: CallToolAction | ListToolsAction, timeout_s: float | None = None, **kwargs: Any
    ) -> Any:
        """Do what `step` does on the running loop; a subclass's own `step` runs in a thread."""
        cls, given = type(self), cast(Any, action)
        if cls.step is not MCPEnvironment.step and cls.step_async is MCPEnvironment.step_async:
            return await asyncio.to_thread(self.step, action, timeout_s=timeout_s, **kwargs)
        if isinstance(given, ListToolsAction | CallToolAction):
            return await self._tool_step(given, timeout_s)
        result = await asyncio.to_thread(self._step_impl, given, timeout_s=timeout_s, **kwargs)
        return await result if inspect.isawaitable(result) else result

    def _step_impl(self, action: Action, timeout_s: float | None = None, **kwargs: Any) -> Observation:
        """Take a step with an action that is not a tool call; subclasses override it."""
        raise InvalidActionError(
            f"{type(self).__name__} takes tool calls only: list_tools or call_tool, not "
            f"{type(action).__name__}"
        )

    async def _tool_step(
        self, action: ListToolsAction | CallToolAction, timeout_s: float | None
    ) -> ListToolsObservation | CallToolObservation:
        if isinstance(action, ListToolsAction):
            tools = await self._server().list_tools()
            own = [tool.spec.listed() for tool in self._tools_of_mode().values()]
            return ListToolsObservation(tools=[*map(listed, tools), *own])
        limit = MCP_TOOL_CALL_TIMEOUT if timeout_s is None else timeout_s
        name = action.tool_name
        try:
            result = await asyncio.wait_for(self._call(name, action.arguments), limit)
        except TimeoutError:
            error = ToolError(
                error_type=ToolErrorType.TIMEOUT, message=f"Tool {name!r} took over {limit:g} s"
            )
        except Exception as problem:  # boundary: the tool is an author's code; what it raises is its result
            error = error_of(problem, name)
        else:
            return CallToolObservation(tool_name=name, result=result)
        return CallToolObservation(tool_name=name, error=error)

    async def _call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if name in self._mode_tools:
            return await self._tool_of_mode(name).call(arguments)
        server = self._server()
        tool = await server.get_tool(name)
        if tool is None or not needs_session(server, tool):
            return result_payload(await server.call_tool(name, arguments))
        if self._connected is None or not self.mcp_client.is_connected():
            self._connected = await self.mcp_client.__aenter__()
        return result_payload(await self.mcp_client.call_tool(name, arguments))

    def _tools_of_mode(self) -> dict[str, _ModeTool]:
        modes = self._mode_tools.items()
        return {
            name: tools[self._mode] for name, tools in modes if self._mode is not None and self._mode in tools
        }

    def _tool_of_mode(self, name: str) -> _ModeTool:
        tool = self._tools_of_mode().get(name)
        if tool is None:
            raise import_fastmcp().exceptions.NotFoundError(
                f"Tool {name!r} not available in {self._mode} mode"
            )
        return tool

    # What published code calls -------------------------------------------------------------------------

    @asynccontextmanager
    async def mcp_session(self) -> AsyncIterator[Any]:
        """Hold an MCP session with the server; gives the connected client."""
        if self.mcp_client is None:
            raise UsageError("this environment is closed")
        async with self.mcp_client:
            yield self.mcp_client

    async def published_tools(self) -> list[dict[str, Any]]:
        """Give the server's tools as `tools/list` shows them."""
        return [published(tool) for tool in await self._server().list_tools()]

    def get_callables(self) -> dict[str, Callable[..., Any]]:
        """Give the functions behind the tools, by name."""
        tools = get_server_tools(self._server())
        found = {name: tool.fn for name, tool in tools.items() if callable(getattr(tool, "fn", None))}
        return {**found, **{name: tool.function for name, tool in self._tools_of_mode().items()}}

    @property
    def supports_code_mode(self) -> bool:
        """Whether `execute_code` works."""
        return False

    def execute_code(self, code: str) -> Observation:
        """Refuse: this would run an agent's code in the server's own process.

        Raises:
            NotAvailableError: always.
        """
        raise NotAvailableError(
            "execute_code is not part of this version of OpenEnv, because it would run an agent's code in "
            "the server's own process; call tools one by one."
        )

    def close(self) -> Any:
        """Let go of the server; gives something to await if a session with it has to be closed."""
        client, self.mcp_client, self.mcp_server = self.mcp_client, None, None
        connected, self._connected = self._connected, None
        if connected is None:
            return None
        try:
            return asyncio.get_running_loop().create_task(client.close())
        except RuntimeError:  # no loop runs here: the session's loop ended, and the session with it
            return None

    def _server(self) -> Any:
        if self.mcp_server is None:
            raise UsageError("this environment is closed")
        return self.mcp_server


class _TooLongError(Exception):
    """A call passed its deadline (a tool may raise `TimeoutError` for reasons of its own)."""


async def _within(limit: float, call: Coroutine[Any, Any, T]) -> T:
    """Await a call until its deadline; a thread that does not end is left behind."""
    task = asyncio.ensure_future(call)
    try:
        done, _ = await asyncio.wait({task}, timeout=limit)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if done:
        return task.result()
    task.cancel()
    task.add_done_callback(lambda left: left.cancelled() or left.exception())
    raise _TooLongError


class _ModeTool:
    """A tool that exists in one mode only; validated and answered like a native one."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        name = function.__name__
        methods = {name: staticmethod(tool(function)), "__module__": function.__module__}
        holder = type("tools", (), methods)
        self.spec: ToolSpec = tool_spec(holder, name, name)

    async def call(self, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            valid = self.spec.validate(arguments)
        except ValidationError as problem:
            raise import_fastmcp().exceptions.ValidationError(str(problem)) from problem
        if self.spec.is_async:
            return tool_result(self.spec, await self.function(**valid))
        return tool_result(self.spec, await asyncio.to_thread(self.function, **valid))
