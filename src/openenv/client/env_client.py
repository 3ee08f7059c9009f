"""`EnvClient`: the published client, for packages that subclass it.

Outside an event loop its methods run on the spot, inside one they are coroutines; the first use decides,
and ``with``, ``async with`` and ``.sync()`` decide explicitly. Synchronous use goes over a blocking socket
on the caller's own thread. A subclass may override `_step_payload`, `_parse_result` and `_parse_state`;
what it leaves out is derived from the types it names.
"""

from __future__ import annotations

import inspect
from abc import ABC
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, Self, cast

from openenv.client import typed_results
from openenv.client.address import request_headers, session_in, websocket_url
from openenv.client.endpoint import Endpoint
from openenv.client.ledger import Standing
from openenv.client.modes import checked_mode, claimed, completed, running_loop
from openenv.client.provisioning import Bootstrap, run_image, run_space, start, stop
from openenv.client.remote import AsyncRemoteSession, RemoteSession
from openenv.errors import OpenEnvError, OrderError, UsageError
from openenv.types import ActT, ObsT, StateT, StepResult

if TYPE_CHECKING:
    from openenv.client.sync_client import SyncEnvClient
    from openenv.protocol.plain import Reply

_OWN = "openenv.client."
_HOOKS = (
    "_close_async",
    "_connect_async",
    "_disconnect_async",
    "_reset_async",
    "_send_and_receive",
    "_state_async",
    "_step_async",
)


class EnvClient(ABC, Generic[ActT, ObsT, StateT]):
    """A client with one session on a server.

    Args:
        base_url: `http(s)://` or `ws(s)://` address of the server, or `unix:/path`.
        connect_timeout_s: limit for connecting.
        message_timeout_s: deadline of each call.
        max_message_size_mb: largest reply accepted.
        websocket_ping_interval_s: silence after which the server is asked for a sign of life; None never.
        websocket_ping_timeout_s: how long that may take before the session counts as lost; None for ever.
        provider: starts and stops the server; needed if there is no `base_url`.
        mode: `simulation` or `production`; `$OPENENV_CLIENT_MODE`, else `simulation`, if absent.
        headers: further HTTP headers; `$OPENENV_TOKEN` is sent as bearer token unless they authorize.

    Raises:
        ValueError: neither `base_url` nor `provider`, or an unknown mode.
    """

    _blocks_only = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        foreign = not cls.__module__.startswith(_OWN)
        if foreign and any(inspect.iscoroutinefunction(vars(cls).get(hook)) for hook in _HOOKS):
            cls._blocks_only = False

    def __init__(
        self,
        base_url: str | None = None,
        connect_timeout_s: float = 10.0,
        message_timeout_s: float = 60.0,
        max_message_size_mb: float = 100.0,
        websocket_ping_interval_s: float | None = 20.0,
        websocket_ping_timeout_s: float | None = 20.0,
        provider: Any = None,
        mode: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        if base_url is None and provider is None:
            raise ValueError("EnvClient requires either base_url or provider.")
        self._chosen_mode = checked_mode(mode)
        self._connect_timeout = connect_timeout_s
        self._message_timeout = message_timeout_s
        self._max_message_size = int(max_message_size_mb * 1024 * 1024)
        self._websocket_ping_interval_s = websocket_ping_interval_s
        self._websocket_ping_timeout_s = websocket_ping_timeout_s
        self._headers = headers
        self._provider = provider
        self._provider_runs = base_url is not None
        self._starts_provider = base_url is None
        self._base_url: str | None = None
        self._ws_url: str | None = None
        self._execution_mode: str | None = None
        self._session: RemoteSession | AsyncRemoteSession | None = None
        self._foreign_ws: Any = None
        self._ended = False
        self._sync_client: SyncEnvClient[ActT, ObsT, StateT] | None = None
        self._child_clients: list[EnvClient[Any, Any, Any]] = []
        if base_url is not None:
            self._set_base_url(base_url)

    @property
    def _mode(self) -> str:
        return self._chosen_mode

    @_mode.setter
    def _mode(self, value: str) -> None:
        raise AttributeError("Cannot modify mode after initialization")

    @property
    def base_url(self) -> str | None:
        """Address of the server; None while a provider has still to start it."""
        return self._base_url

    @property
    def _ws(self) -> Any:
        """The connection, None if there is none. Subclasses look at it and may put one of their own here."""
        if self._foreign_ws is not None:
            return self._foreign_ws
        return None if self._session is None else self._session.connection

    @_ws.setter
    def _ws(self, value: Any) -> None:
        self._foreign_ws = value

    # What subclasses override ---------------------------------------------------------------------------

    def _step_payload(self, action: ActT) -> dict[str, Any]:
        """The data of a step message, made from an action."""
        return typed_results.step_payload(action)

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[ObsT]:
        """A result, made from ``{"observation", "reward", "done"[, "metadata"]}``."""
        model = typed_results.named_types(type(self), EnvClient)[1]
        return typed_results.parse_result(payload, model)

    def _parse_state(self, payload: dict[str, Any]) -> StateT:
        """A state, made from the server's."""
        model = typed_results.named_types(type(self), EnvClient)[2]
        state = payload if model is None else typed_results.validated(model, payload)
        return cast(StateT, state)

    # The published calls --------------------------------------------------------------------------------

    def connect(self) -> Any:
        """Connect; returns the client. After a lost connection this starts a new session.

        Raises:
            ServerUnreachableError: nothing answers there (it is a `ConnectionError`).
            SessionCapacityError: the server is full.
        """
        return self._dispatch(self._connect_async)

    def disconnect(self) -> Any:
        """End the session and keep the server."""
        return self._dispatch(self._disconnect_async)

    def reset(self, **kwargs: Any) -> Any:
        """Start an episode; returns a `StepResult`.

        Args:
            **kwargs: seed, episode_id and whatever else the environment's reset takes.
        """
        return self._dispatch(lambda: self._reset_async(**kwargs))

    def step(self, action: ActT, **kwargs: Any) -> Any:
        """Take a step; returns a `StepResult`.

        Args:
            action: the action.
            **kwargs: `timeout_s` is the deadline of this call; others are ignored, as they always were.
        """
        return self._dispatch(lambda: self._step_async(action, **kwargs))

    def state(self) -> Any:
        """The environment's state."""
        return self._dispatch(self._state_async)

    def close(self) -> Any:
        """End the session, the sessions made with `new_session`, and the server if a provider runs it."""
        answer = self._dispatch(self._close_async)
        if answer is None and self._sync_client is not None:
            self._sync_client._stop_helper()
        return answer

    def new_session(self) -> Any:
        """Another client of the same kind, connected to the same server; closed with this one."""
        return self._dispatch(self._new_session_async)

    def sync(self) -> SyncEnvClient[ActT, ObsT, StateT]:
        """The synchronous client of this session."""
        from openenv.client.sync_client import SyncEnvClient

        if self._sync_client is None:
            self._sync_client = SyncEnvClient(self)
        return self._sync_client

    @classmethod
    def from_docker_image(cls, image: str, provider: Any = None, **kwargs: Any) -> Bootstrap[Self]:
        """Start an image and connect to it: ``await`` the answer, or call ``.sync()`` on it.

        Args:
            image: the image.
            provider: runs it; the local Docker if absent.
            **kwargs: what else the provider's `start_container` takes.
        """
        return cls._bootstrap(lambda: run_image(image, provider, dict(kwargs)))

    @classmethod
    def from_env(
        cls, repo_id: str, *, use_docker: bool = True, provider: Any = None, **provider_kwargs: Any
    ) -> Bootstrap[Self]:
        """Start a Hugging Face Space and connect to it: ``await`` the answer, or call ``.sync()`` on it.

        Args:
            repo_id: the Space, `owner/name`.
            use_docker: run its image; else its project, through uv.
            provider: what runs it.
            **provider_kwargs: options of the provider; `project_path` names a checkout.
        """
        return cls._bootstrap(lambda: run_space(repo_id, use_docker, provider, dict(provider_kwargs)))

    async def __aenter__(self) -> Self:
        self._claim_execution_mode("async")
        await self._connect_async()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._close_async()

    def __enter__(self) -> Self:
        self._run_sync(self._connect_async)
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Inside: coroutines that block instead of waiting when the client is used synchronously --------------

    async def _connect_async(self) -> Self:
        try:
            await self._provide()
            session = self._current()
            if isinstance(session, RemoteSession):
                session.connect()
            else:
                await session.connect()
        except BaseException:
            await self._blocking(self._stop_provider)
            raise
        self._ended = False
        return self

    async def _disconnect_async(self) -> None:
        session, self._session = self._session, None
        self._ended = True
        self._drop_foreign()
        if isinstance(session, RemoteSession):
            session.close()
        elif session is not None:
            await session.close()

    async def _reset_async(self, **kwargs: Any) -> StepResult[ObsT]:
        reply = await self._request("reset", kwargs)
        return self._finished("reset", kwargs, reply)

    async def _step_async(self, action: ActT, **kwargs: Any) -> StepResult[ObsT]:
        data = self._step_payload(action)
        reply = await self._request("step", data, kwargs.get("timeout_s"))
        return self._finished("step", data, reply)

    async def _state_async(self) -> StateT:
        reply = await self._request("state", None)
        return self._parse_state(reply.data or {})

    async def _close_async(self) -> None:
        children, self._child_clients = self._child_clients, []
        failures: list[OpenEnvError] = []
        try:
            for child in children:
                try:
                    await child._close_async()
                except OpenEnvError as problem:
                    failures.append(problem)  # the other children must be closed, too
        finally:
            try:
                await self._disconnect_async()
            finally:
                await self._blocking(self._stop_provider)
        if failures:
            raise failures[0]

    async def _new_session_async(self) -> Self:
        await self._provide()
        child = self._create_session_client()
        child._execution_mode = self._execution_mode
        await child._connect_async()
        self._child_clients.append(child)
        return child

    async def _send_and_receive(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a message of the plain protocol and return its reply; raises the error it carries."""
        reply = await self._request(message["type"], message.get("data"))
        return {"type": reply.type, "data": reply.data}

    async def _request(self, call: str, data: Any, timeout_s: float | None = None) -> Reply:
        if self._ended and call != "reset":
            raise OrderError(
                "This client is closed: connect() or reset() starts a new session",
                expected="connect or reset",
                actual=call,
            )
        if self._ws_url is None:
            await self._provide()
        session = self._current()
        self._ended = False
        if isinstance(session, RemoteSession):
            return session.call(call, data, timeout_s)
        return await session.call(call, data, timeout_s)

    def _finished(self, call: str, data: Any, reply: Reply) -> StepResult[ObsT]:
        session = self._session
        result = self._parse_result(reply.data)
        if session is not None:
            typed_results.complete(result, session.note(call, data, reply))
        return result

    # Which connection ------------------------------------------------------------------------------------

    def _current(self) -> RemoteSession | AsyncRemoteSession:
        """The session that suits the mode of use; one that cannot be used any more is replaced."""
        if self._foreign_ws is not None:
            self._drop_foreign()
        synchronous = self._execution_mode == "sync"
        session = self._session
        if isinstance(session, RemoteSession) and synchronous:
            return session
        if isinstance(session, AsyncRemoteSession) and not synchronous and not self._stranded(session):
            return session
        kind = RemoteSession if synchronous else AsyncRemoteSession
        self._session = fresh = kind(self._endpoint(), session_id=session_in(self._ws_url), strict=False)
        if session is not None:
            if isinstance(session, AsyncRemoteSession) and session.connection is not None:
                session.connection.abort()
            if session.ledger.standing not in (Standing.NEW, Standing.CLOSED):
                fresh.ledger.inherit(session.ledger, "the event loop it was opened on has ended")
        return fresh

    @staticmethod
    def _stranded(session: AsyncRemoteSession) -> bool:
        return session.connection is not None and session.connection.loop is not running_loop()

    def _endpoint(self) -> Endpoint:
        if self._ws_url is None:
            raise UsageError("This client has no server: give it a base_url or a provider")
        return Endpoint.at(
            self._ws_url,
            token="",
            headers=request_headers(None, self._headers),
            connect_timeout_s=self._connect_timeout,
            timeout_s=self._message_timeout,
            ping_interval_s=self._websocket_ping_interval_s,
            ping_timeout_s=self._websocket_ping_timeout_s,
            max_message_bytes=self._max_message_size,
        )

    def _set_base_url(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._ws_url = websocket_url(self._base_url)

    def _drop_foreign(self) -> None:
        """Close a connection that a subclass opened: this client speaks over its own."""
        foreign, self._foreign_ws = self._foreign_ws, None
        close = getattr(foreign, "close", None)
        if close is not None and not inspect.iscoroutinefunction(close):
            close()

    def _create_session_client(self) -> Self:
        known: dict[str, Any] = {
            "base_url": self._base_url,
            "connect_timeout_s": self._connect_timeout,
            "message_timeout_s": self._message_timeout,
            "max_message_size_mb": self._max_message_size / (1024 * 1024),
            "websocket_ping_interval_s": self._websocket_ping_interval_s,
            "websocket_ping_timeout_s": self._websocket_ping_timeout_s,
            "mode": self._mode,
            "headers": self._headers,
        }
        parameters = inspect.signature(type(self)).parameters
        anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
        return type(self)(**{k: v for k, v in known.items() if anything or k in parameters})

    # The server behind it ---------------------------------------------------------------------------------

    async def _provide(self) -> None:
        if self._ws_url is None and self._provider is not None:
            await self._blocking(self._start_provider)

    def _start_provider(self) -> None:
        try:
            self._provider_runs = True
            self._set_base_url(start(self._provider))
        except BaseException:
            self._stop_provider()
            raise

    def _stop_provider(self) -> None:
        provider, running = self._provider, self._provider_runs
        if provider is None or not running:
            return
        self._provider_runs = False
        try:
            stop(provider)
        finally:
            if self._starts_provider:
                self._base_url = self._ws_url = None

    @classmethod
    def _bootstrap(cls, launch: Callable[[], tuple[str, Any]]) -> Bootstrap[Self]:
        def make() -> Any:
            url, provider = launch()
            try:
                return cls(base_url=url, provider=provider)
            except BaseException:
                stop(provider)
                raise

        return Bootstrap(make, _connected)

    # Sync or async ----------------------------------------------------------------------------------------

    def _claim_execution_mode(self, mode: str) -> None:
        self._execution_mode = claimed(self._execution_mode, mode)

    def _dispatch(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        loop = running_loop()
        if self._execution_mode == "sync":
            helper = None if self._sync_client is None else self._sync_client._helper_loop
            return make() if loop is not None and loop is helper else self._run_sync(make)
        if loop is not None:
            return self._claimed(make)
        # No loop runs: what was asynchronous so far, inside an `asyncio.run` that has ended, goes on here.
        self._execution_mode = "sync"
        return self._run_sync(make)

    async def _claimed(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        self._claim_execution_mode("async")
        return await make()

    def _run_sync(self, make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        self._claim_execution_mode("sync")
        if not self._blocks_only:
            return self.sync()._run(make())
        return completed(make())

    async def _blocking(self, function: Callable[[], None]) -> None:
        """Run a function that blocks: here, or in a thread where an event loop must go on."""
        if self._execution_mode == "sync":
            function()
            return
        from asyncio import to_thread

        await to_thread(function)


async def _connected(make: Callable[[], Any]) -> Any:
    """Start a server in a thread and connect to it; a caller who gives up leaves no server behind."""
    import asyncio

    starting = asyncio.ensure_future(asyncio.to_thread(make))
    try:
        client = await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(_discard)
        raise
    client._claim_execution_mode("async")
    await client._connect_async()
    return client


def _discard(started: Any) -> None:
    if not started.cancelled() and started.exception() is None:
        started.result()._stop_provider()
