"""`SyncEnvClient`: the synchronous side of an `EnvClient`, for code that wants to be sure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, Self

from openenv.client.modes import running_loop
from openenv.types import ActT, ObsT, StateT, StepResult

if TYPE_CHECKING:
    from openenv.client.env_client import EnvClient
    from openenv.client.loop_thread import LoopThread


class SyncEnvClient(Generic[ActT, ObsT, StateT]):
    """Calls an `EnvClient` synchronously, also inside a running event loop (a notebook).

    The calls run on the caller's thread. Only coroutines that a subclass wrote itself need an event loop:
    they get a private one, in a thread that exists from their first use until `close`.

    Args:
        async_client: the client; from here on it is used synchronously.
    """

    def __init__(self, async_client: EnvClient[ActT, ObsT, StateT]) -> None:
        self._async = async_client
        self._loop_thread: LoopThread | None = None

    @property
    def async_client(self) -> EnvClient[ActT, ObsT, StateT]:
        """The client underneath."""
        return self._async

    def connect(self) -> Self:
        """Connect; after a lost connection this starts a new session."""
        self._claim()
        self._finish(self._async._run_sync(self._async._connect_async))
        return self

    def disconnect(self) -> None:
        """End the session and keep the server."""
        self._claim()
        self._finish(self._async.disconnect())

    def reset(self, **kwargs: Any) -> StepResult[ObsT]:
        """Start an episode."""
        self._claim()
        result: StepResult[ObsT] = self._finish(self._async.reset(**kwargs))
        return result

    def step(self, action: ActT, **kwargs: Any) -> StepResult[ObsT]:
        """Take a step."""
        self._claim()
        result: StepResult[ObsT] = self._finish(self._async.step(action, **kwargs))
        return result

    def state(self) -> StateT:
        """The environment's state."""
        self._claim()
        state: StateT = self._finish(self._async.state())
        return state

    def close(self) -> None:
        """End the session and whatever this client started."""
        self._claim()
        try:
            self._finish(self._async.close())
        finally:
            self._stop_helper()

    def new_session(self) -> SyncEnvClient[ActT, ObsT, StateT]:
        """Another synchronous client of the same kind on the same server; closed with this one."""
        self._claim()
        child: EnvClient[ActT, ObsT, StateT] = self._finish(self._async.new_session())
        return child.sync()

    def __enter__(self) -> Self:
        return self.connect()

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(self._async, name)
        if not callable(found) or not (inspect.ismethod(found) or inspect.iscoroutinefunction(found)):
            return found
        return self._finishing(found)

    def _step_payload(self, action: ActT) -> dict[str, Any]:
        return self._async._step_payload(action)

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[ObsT]:
        return self._async._parse_result(payload)

    def _parse_state(self, payload: dict[str, Any]) -> StateT:
        return self._async._parse_state(payload)

    def _claim(self) -> None:
        client = self._async
        if client._execution_mode == "async" and running_loop() is None:
            client._execution_mode = "sync"  # its event loop has ended
        client._claim_execution_mode("sync")

    def _finishing(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            self._claim()
            return self._finish(method(*args, **kwargs))

        return call

    def _finish(self, value: Any) -> Any:
        """The value, or what the coroutine comes to that a subclass returned instead."""
        return self._run(value) if inspect.iscoroutine(value) else value

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        from openenv.client.loop_thread import LoopThread

        if self._loop_thread is None:
            self._loop_thread = LoopThread("openenv-sync-client-loop")
        return self._loop_thread.run(coroutine)

    def _stop_helper(self) -> None:
        loop, self._loop_thread = self._loop_thread, None
        if loop is not None:
            loop.stop()

    @property
    def _helper_loop(self) -> Any:
        return None if self._loop_thread is None else self._loop_thread.loop
