"""`Env`: one environment, driven by synchronous code, wherever it runs.

`reset` returns the first observation; `step` returns a `StepResult`, which unpacks into
``observation, reward, done, info``. The same object drives an environment in this process
(`openenv.make`) and one on a server (`openenv.make` of a URL, or `openenv.connect(URL).sync()`). It blocks
by design and has no event loop inside, so it also works in a notebook.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, Self

from pydantic import BaseModel

from openenv.client.actions import action_of
from openenv.client.tool_results import tool_call, tool_value
from openenv.types import ActT, ObsT, StateT, StepResult

if TYPE_CHECKING:
    import ssl

    from openenv.client.backends import Backend
    from openenv.client.endpoint import Endpoint
    from openenv.environment import EnvironmentSpec
    from openenv.protocol.mcp_types import Tool
    from openenv.session import Limits
    from openenv.spaces import ActionSpace
    from openenv.types import EnvironmentMetadata


class Env(Generic[ActT, ObsT, StateT]):
    """One environment with its current episode.

    Calls of several threads follow each other. A connection that breaks is replaced and the session resumed;
    where that is impossible every call raises `SessionLost` until `reset` starts a new episode. A process
    forked while the environment is open must call `reset` (a server) or make its own.

    Args:
        backend: where the environment is; use `openenv.make`, `Env.embedded` or `Env.remote`.

    Attributes:
        last: the result of the last `reset` or `step`, None before the first.
    """

    def __init__(self, backend: Backend) -> None:
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
            host: `inline` for the caller's thread, `thread` for one of its own; the environment's wish,
                and whether there are deadlines, decide if absent.
            timeout_s: deadline of every reset and step in seconds.
            limits: further bounds of episodes and calls.

        Raises:
            EnvironmentFactoryError: the environment's constructor raised.
        """
        from openenv.client.embedded import EmbeddedBackend, with_deadline

        return cls(EmbeddedBackend(spec, host=host, limits=with_deadline(limits, timeout_s)))

    @classmethod
    def remote(
        cls,
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
    ) -> Self:
        """Drive an environment on a server. The connection is opened by the first call.

        Args:
            url: `http(s)://`, `ws(s)://`, `unix:/path`, or `host:port`.
            token: bearer token; `$OPENENV_TOKEN` if absent.
            headers: further HTTP headers.
            timeout_s: deadline of every call that gives none, in seconds; None waits as long as the
                server is alive.
            connect_timeout_s: limit for connecting.
            ping_interval_s: silence after which the server is asked for a sign of life.
            ping_timeout_s: how long that may take before the session counts as lost.
            max_message_bytes: largest reply accepted.
            session_id: a session to attach to, made over HTTP or MCP.
            models: whether observations and states become models, learned from the server's schema;
                else they are dicts.
            ssl_context: for `https`.
            reconnect: whether a connection that breaks is replaced and the session resumed, where the
                server can; no call notices, and none is made twice.
            reconnect_timeout_s: how long that may take before the session counts as lost; the deadline of
                the call may end it sooner.
            arrays: whether arrays come as (read-only) NumPy arrays and bytes as bytes, where the server
                speaks MessagePack; else they come as JSON has them, as lists and text.

        Raises:
            TargetError: the URL names no server.
        """
        from openenv.client.endpoint import Endpoint

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
        return cls.over(endpoint, session_id=session_id, models=models)

    @classmethod
    def over(cls, endpoint: Endpoint, *, session_id: str | None = None, models: bool = True) -> Self:
        """`remote`, for an endpoint that was made before."""
        from openenv.client.remote_backend import RemoteBackend

        return cls(RemoteBackend(endpoint, session_id=session_id, models=models))

    # The episode ------------------------------------------------------------------------------------

    def reset(
        self,
        seed: int | None = None,
        *,
        episode_id: str | None = None,
        timeout_s: float | None = None,
        **options: Any,
    ) -> ObsT:
        """Start an episode and return its first observation. `last` holds the whole result.

        Args:
            seed: seed of the episode's generators; the environment draws one if absent.
            episode_id: name of the episode.
            timeout_s: deadline in seconds.
            **options: what else the environment's reset takes.

        Raises:
            InvalidActionError: an option does not fit.
            EnvironmentFailedError: the environment raised.
            StepTimeoutError: the deadline passed.
            InfrastructureError: there is no session to be had.
        """
        self.last = self._backend.reset(seed, episode_id, options, timeout_s)
        return self.last.observation

    def step(
        self, action: ActT | None = None, /, *, timeout_s: float | None = None, **fields: Any
    ) -> StepResult[ObsT]:
        """Take a step.

        Args:
            action: an action model or a dict; for an action with a single field, also its bare value.
            timeout_s: deadline in seconds; an environment in this process needs `host="thread"` for it.
            **fields: the action's fields, instead of `action`.

        Raises:
            InvalidActionError: the action does not fit; nothing ran and the episode goes on.
            OrderError: no episode is running.
            EnvironmentFailedError: the environment raised; there is no reward.
            StepTimeoutError: the deadline passed; the episode needs a reset.
            SessionLost: the connection broke; the episode is gone.
        """
        meant: Any = action
        if fields or not isinstance(action, dict | BaseModel):
            meant = action_of(action, fields, self._action_schema)
        result: StepResult[ObsT] = self._backend.step(meant, timeout_s)
        self.last = result
        return result

    def state(self) -> StateT:
        """The environment's public state."""
        state: StateT = self._backend.state()
        return state

    # Tools ------------------------------------------------------------------------------------------

    def list_tools(self) -> list[Tool]:
        """The tools of a tool environment: name, description, input_schema."""
        return self._backend.tools()

    def call_tool(self, name: str, /, **arguments: Any) -> Any:
        """Call a tool and return its value. It is a step: `last` holds reward, done and the rest.

        Args:
            name: the tool.
            **arguments: its arguments.

        Raises:
            ToolCallError: the tool failed, or there is none of that name, or the arguments do not fit.
        """
        self.last = self._backend.step(tool_call(name, arguments), None)
        return tool_value(name, self.last)

    # What it is -------------------------------------------------------------------------------------

    @property
    def action_space(self) -> ActionSpace:
        """The space of valid actions: `.sample()`, `.seed(s)`, `.contains(action)`."""
        if self._space is None:
            self._space = self._backend.action_space()
        return self._space

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schemas by name: `action`, `observation`, `state`, `reset_observation`."""
        return self._backend.schema()

    @property
    def metadata(self) -> EnvironmentMetadata:
        """What the environment says about itself."""
        return self._backend.metadata()

    @property
    def episode_id(self) -> str | None:
        """Id of the current episode, if known."""
        return None if self.last is None else self.last.episode_id

    @property
    def seed(self) -> int | None:
        """Seed of the current episode, if known."""
        return None if self.last is None else self.last.seed

    # Life -------------------------------------------------------------------------------------------

    def connect(self) -> Self:
        """Open the session now instead of at the first call; after a loss, open a new one."""
        self._backend.open()
        return self

    def close(self) -> None:
        """End the session. A second call does nothing."""
        self._backend.close()

    def __enter__(self) -> Self:
        return self.connect()

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._backend!r}>"

    def _action_schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = self._backend.schema().get("action") or {}
        return schema


def make_remote(url: str, **options: Any) -> Env[Any, Any, Any]:
    """An `Env` on a server; the options are those of `Env.remote`."""
    return Env[Any, Any, Any].remote(url, **options)
