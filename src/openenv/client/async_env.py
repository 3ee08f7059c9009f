"""`AsyncEnv`: one environment, driven by coroutines, wherever it runs. The twin of `Env`."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, Self

from pydantic import BaseModel

from openenv.client.actions import action_of
from openenv.client.env import Env
from openenv.client.tool_results import tool_call, tool_value
from openenv.errors import UsageError
from openenv.types import ActT, ObsT, StateT, StepResult

if TYPE_CHECKING:
    import ssl

    from openenv.client.backends import AsyncBackend
    from openenv.environment import EnvironmentSpec
    from openenv.protocol.mcp_types import Tool
    from openenv.session import Limits
    from openenv.spaces import ActionSpace
    from openenv.types import EnvironmentMetadata


class AsyncEnv(Generic[ActT, ObsT, StateT]):
    """One environment with its current episode, for one event loop.

    ``async with openenv.connect(url) as env`` opens and closes it; ``env = await openenv.connect(url)``
    opens it; otherwise the first call does. Calls of several coroutines follow each other. A cancelled
    call may still have run: its reply is dropped, its effect on the episode is not.

    Args:
        backend: where the environment is; use `openenv.connect` or `AsyncEnv.embedded`.

    Attributes:
        last: the result of the last `reset` or `step`, None before the first.
    """

    def __init__(self, backend: AsyncBackend) -> None:
        self._backend = backend
        self._space: ActionSpace | None = None
        self.last: StepResult[ObsT] | None = None

    @classmethod
    def embedded(
        cls,
        spec: EnvironmentSpec,
        *,
        host: Literal["inline", "thread"] | None = None,
        timeout_s: float | None = None,
        limits: Limits | None = None,
    ) -> Self:
        """Run an environment in this process.

        Args:
            spec: the environment.
            host: `thread`, which is also what None means, keeps steps off the event loop; `inline` runs
                them on it. Asynchronous environments run on the event loop in any case.
            timeout_s: deadline of every reset and step in seconds.
            limits: further bounds of episodes and calls.
        """
        from openenv.client.embedded import AsyncEmbeddedBackend, with_deadline

        return cls(AsyncEmbeddedBackend(spec, host=host, limits=with_deadline(limits, timeout_s)))

    # The episode ------------------------------------------------------------------------------------

    async def reset(
        self,
        seed: int | None = None,
        *,
        episode_id: str | None = None,
        timeout_s: float | None = None,
        **options: Any,
    ) -> ObsT:
        """Start an episode and return its first observation; see `Env.reset`."""
        self.last = await self._backend.reset(seed, episode_id, options, timeout_s)
        return self.last.observation

    async def step(
        self, action: ActT | None = None, /, *, timeout_s: float | None = None, **fields: Any
    ) -> StepResult[ObsT]:
        """Take a step; see `Env.step`."""
        meant: Any = action
        if fields or not isinstance(action, dict | BaseModel):
            schema = {} if action is None else (await self._backend.schema()).get("action") or {}
            meant = action_of(action, fields, lambda: schema)
        result: StepResult[ObsT] = await self._backend.step(meant, timeout_s)
        self.last = result
        return result

    async def state(self) -> StateT:
        """The environment's public state."""
        state: StateT = await self._backend.state()
        return state

    # Tools ------------------------------------------------------------------------------------------

    async def list_tools(self) -> list[Tool]:
        """The tools of a tool environment: name, description, input_schema."""
        return await self._backend.tools()

    async def call_tool(self, name: str, /, **arguments: Any) -> Any:
        """Call a tool and return its value; see `Env.call_tool`."""
        self.last = await self._backend.step(tool_call(name, arguments), None)
        return tool_value(name, self.last)

    # What it is -------------------------------------------------------------------------------------

    async def action_space(self) -> ActionSpace:
        """The space of valid actions: `.sample()`, `.seed(s)`, `.contains(action)`."""
        if self._space is None:
            self._space = await self._backend.action_space()
        return self._space

    async def schema(self) -> dict[str, Any]:
        """JSON Schemas by name: `action`, `observation`, `state`, `reset_observation`."""
        return await self._backend.schema()

    async def metadata(self) -> EnvironmentMetadata:
        """What the environment says about itself."""
        return await self._backend.metadata()

    @property
    def episode_id(self) -> str | None:
        """Id of the current episode, if known."""
        return None if self.last is None else self.last.episode_id

    @property
    def seed(self) -> int | None:
        """Seed of the current episode, if known."""
        return None if self.last is None else self.last.seed

    # Life -------------------------------------------------------------------------------------------

    async def connect(self) -> Self:
        """Open the session now instead of at the first call; after a loss, open a new one."""
        await self._backend.open()
        return self

    async def close(self) -> None:
        """End the session. A second call does nothing."""
        await self._backend.close()

    def sync(self) -> Env[ActT, ObsT, StateT]:
        """The synchronous twin: an `Env` with the same settings and a session of its own.

        Raises:
            UsageError: a session is open here already, or the environment is not on a server.
        """
        from openenv.client.remote_backend import AsyncRemoteBackend

        backend = self._backend
        if not isinstance(backend, AsyncRemoteBackend):
            raise UsageError("sync() is for servers; for an environment in this process use openenv.make")
        if backend.session.connection is not None:
            raise UsageError("This environment has an open session: call sync() before using it")
        return Env[ActT, ObsT, StateT].over(
            backend.endpoint, session_id=backend.session_id, models=backend.models
        )

    def __await__(self) -> Generator[Any, None, Self]:
        return self.connect().__await__()

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._backend!r}>"


def connect(
    url: str,
    *,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
    connect_timeout_s: float = 10.0,
    ping_interval_s: float | None = 20.0,
    ping_timeout_s: float | None = 60.0,
    max_message_bytes: int = 100 * 1024 * 1024,
    session_id: str | None = None,
    models: bool = True,
    ssl_context: ssl.SSLContext | None = None,
    reconnect: bool = True,
    reconnect_timeout_s: float = 10.0,
    arrays: bool = False,
) -> AsyncEnv[Any, Any, Any]:
    """An environment on a server, for coroutines; ``.sync()`` is its synchronous twin.

    Nothing is sent before the first call, `await` or `async with`. The arguments are those of `Env.remote`.

    Raises:
        TargetError: the URL names no server.
    """
    from openenv.client.endpoint import Endpoint
    from openenv.client.remote_backend import AsyncRemoteBackend

    endpoint = Endpoint.at(
        url,
        token=token,
        headers=headers,
        connect_timeout_s=connect_timeout_s,
        timeout_s=timeout_s,
        ping_interval_s=ping_interval_s,
        ping_timeout_s=ping_timeout_s,
        max_message_bytes=max_message_bytes,
        ssl_context=ssl_context,
        reconnect=reconnect,
        reconnect_timeout_s=reconnect_timeout_s,
        arrays=arrays,
    )
    return AsyncEnv(AsyncRemoteBackend(endpoint, session_id=session_id, models=models))
