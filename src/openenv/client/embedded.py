"""Backends in this process: a `Session` on the host that fits it, with no server in between.

`inline` runs the environment on the caller's own thread, in a few microseconds a step; a lock makes calls
of several threads follow each other. `thread` gives it a thread of its own, which is what a deadline
needs: a call can be left behind there. An asynchronous environment lives on an event loop: the caller's
own (`AsyncEnv`), or a private one (`Env`).
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

from openenv.errors import OrderError, UsageError
from openenv.session import (
    HostedSession,
    InlineHost,
    Limits,
    LoopHost,
    Phase,
    Session,
    SharedThread,
    ThreadHost,
)
from openenv.session.handle import CallKind
from openenv.session.hosts import Host
from openenv.types import StepResult

if TYPE_CHECKING:
    from openenv.client.loop_thread import LoopThread
    from openenv.environment import EnvironmentSpec
    from openenv.protocol.mcp_types import Tool
    from openenv.spaces import ActionSpace
    from openenv.types import EnvironmentMetadata

HostKind = Literal["inline", "thread"]

CLOSE_TIMEOUT_S = 5.0
"""How long `close` waits for an environment that runs elsewhere."""

_shared: SharedThread | None = None


class EmbeddedBackend:
    """A session in this process, for synchronous code.

    Args:
        spec: the environment.
        host: `inline`, `thread`, or None for what the environment and its deadlines need.
        limits: bounds on top of the author's.

    Raises:
        EnvironmentFactoryError: the environment's constructor raised.
    """

    def __init__(
        self, spec: EnvironmentSpec, *, host: HostKind | None = None, limits: Limits | None = None
    ) -> None:
        self.spec = spec
        self.session = Session(spec, limits=limits)
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._loop: LoopThread | None = None
        self._hosted: HostedSession | None = None
        kind = host_kind(spec, host, self.session.limits)
        if kind == "inline":
            self.session.start()
            return
        try:
            self._hosted = hosted(self.session, self._host(kind))
            self._hosted.call("start").result()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"{self.spec.name} in this process"

    def open(self) -> None:
        """The session is there from the start."""

    def reset(
        self, seed: int | None, episode_id: str | None, options: dict[str, Any], timeout_s: float | None
    ) -> StepResult[Any]:
        """Start an episode."""
        arguments: dict[str, Any] = {"seed": seed, "episode_id": episode_id, "options": options}
        arguments["timeout_s"] = timeout_s
        if self._hosted is not None:
            return cast(StepResult[Any], self._elsewhere("reset", **arguments))
        with self._mine():
            return self.session.reset(**arguments)

    def step(self, action: Any, timeout_s: float | None) -> StepResult[Any]:
        """Take a step."""
        if self._hosted is not None:
            return cast(StepResult[Any], self._elsewhere("step", action=action, timeout_s=timeout_s))
        with self._mine():
            return self.session.step(action, timeout_s=timeout_s)

    def state(self) -> Any:
        """The public state."""
        if self._hosted is not None:
            return self._elsewhere("state")
        with self._mine():
            return self.session.state()

    def schema(self) -> dict[str, Any]:
        """The environment's schemas."""
        return schemas(self.spec)

    def action_space(self) -> ActionSpace:
        """The space of valid actions; for a tool environment, of calls of its tools."""
        return space(self.spec, self.tools)

    def metadata(self) -> EnvironmentMetadata:
        """What the environment says about itself."""
        answer: EnvironmentMetadata = self._ask("metadata", self.spec.metadata)
        return answer

    def tools(self) -> list[Tool]:
        """Its tools."""
        if self.spec.tools:
            return [tool.listed() for tool in self.spec.tools]
        return list(self._ask("list_tools", ask_tools).tools)

    def close(self) -> None:
        """Close the environment; one that does not close in time is left behind."""
        hosted, self._hosted = self._hosted, None
        if hosted is None:
            with self._mine():
                self.session.close()
        elif self._pid != os.getpid():
            return  # the thread it lives on stayed in the parent
        elif self.session.phase is not Phase.CLOSED:
            try:
                hosted.call("close").result(CLOSE_TIMEOUT_S)
            except TimeoutError:
                hosted.host.abandon()
            hosted.host.stop()
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.stop()

    def _ask(self, name: str, question: Callable[[Any], Any]) -> Any:
        if self._hosted is not None:
            return self._elsewhere("ask", name=name, question=question)
        with self._mine():
            return self.session.ask(name, question)

    def _mine(self) -> threading.RLock:
        """The lock; a process forked while another thread held it gets a new one."""
        if self._pid != os.getpid():
            self._pid, self._lock = os.getpid(), threading.RLock()
        return self._lock

    def _elsewhere(self, kind: CallKind, **arguments: Any) -> Any:
        """Make a call where the environment lives, and wait for it."""
        if self._pid != os.getpid():
            raise UsageError(
                "This environment runs in a thread of the process that this one was forked from: "
                "make one here, or use host='inline'"
            )
        if self._hosted is None:
            raise OrderError("This environment is closed", expected="nothing", actual=kind)
        return self._hosted.call(kind, **arguments).result()

    def _host(self, kind: str) -> Host:
        if kind != "loop":
            return thread_host(self.spec)
        from openenv.client.loop_thread import LoopThread

        self._loop = LoopThread()

        async def make() -> Host:
            return LoopHost()

        return self._loop.run(make())


class AsyncEmbeddedBackend:
    """A session in this process, for coroutines.

    Args:
        spec: the environment.
        host: `thread` (what None means, so that a step never blocks the event loop) or `inline`.
        limits: bounds on top of the author's.
    """

    def __init__(
        self, spec: EnvironmentSpec, *, host: HostKind | None = None, limits: Limits | None = None
    ) -> None:
        self.spec = spec
        self.session = Session(spec, limits=limits)
        self._host = host
        self._hosted: HostedSession | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"{self.spec.name} in this process"

    async def open(self) -> None:
        """Build the environment, if that has not been done."""
        if self._hosted is None and not self._closed:
            asked: HostKind = "inline" if self._host == "inline" else "thread"
            kind = host_kind(self.spec, asked, self.session.limits)
            make = {"loop": LoopHost, "inline": InlineHost}.get(kind, lambda: thread_host(self.spec))
            self._hosted = hosted(self.session, make())
            try:
                await self._hosted.acall("start")
            except BaseException:
                await self.close()
                raise

    async def reset(
        self, seed: int | None, episode_id: str | None, options: dict[str, Any], timeout_s: float | None
    ) -> StepResult[Any]:
        """Start an episode."""
        session = await self._open()
        answer: StepResult[Any] = await session.acall(
            "reset", seed=seed, episode_id=episode_id, options=options, timeout_s=timeout_s
        )
        return answer

    async def step(self, action: Any, timeout_s: float | None) -> StepResult[Any]:
        """Take a step."""
        session = await self._open()
        answer: StepResult[Any] = await session.acall("step", action=action, timeout_s=timeout_s)
        return answer

    async def state(self) -> Any:
        """The public state."""
        return await (await self._open()).acall("state")

    async def schema(self) -> dict[str, Any]:
        """The environment's schemas."""
        return schemas(self.spec)

    async def action_space(self) -> ActionSpace:
        """The space of valid actions; for a tool environment, of calls of its tools."""
        known = await self.tools() if tool_style(self.spec) and not self.spec.tools else []
        return space(self.spec, lambda: known)

    async def metadata(self) -> EnvironmentMetadata:
        """What the environment says about itself."""
        session = await self._open()
        answer: EnvironmentMetadata = await session.acall("ask", name="metadata", question=self.spec.metadata)
        return answer

    async def tools(self) -> list[Tool]:
        """Its tools."""
        if self.spec.tools:
            return [tool.listed() for tool in self.spec.tools]
        session = await self._open()
        return list((await session.acall("ask", name="list_tools", question=ask_tools)).tools)

    async def close(self) -> None:
        """Close the environment; one that does not close in time is left behind."""
        import asyncio

        self._closed = True
        hosted, self._hosted = self._hosted, None
        if hosted is None:
            return
        closing = asyncio.wrap_future(hosted.call("close"))
        done, _ = await asyncio.wait([closing], timeout=CLOSE_TIMEOUT_S)
        if not done:
            hosted.host.abandon()
        hosted.host.stop()

    async def _open(self) -> HostedSession:
        await self.open()
        if self._hosted is None:
            raise OrderError("This environment is closed", expected="nothing", actual="a call")
        return self._hosted


def with_deadline(limits: Limits | None, timeout_s: float | None) -> Limits | None:
    """The limits, with a deadline for every reset and step where none is set."""
    if timeout_s is None:
        return limits
    limits = limits or Limits()
    return replace(
        limits,
        step_timeout_s=limits.step_timeout_s or timeout_s,
        reset_timeout_s=limits.reset_timeout_s or timeout_s,
    )


def host_kind(spec: EnvironmentSpec, asked: HostKind | None, limits: Limits) -> str:
    """Where an embedded session runs: `inline`, `thread` or `loop`.

    Raises:
        UsageError: `asked` is no host.
    """
    if asked not in (None, "inline", "thread"):
        raise UsageError(f"host: expected 'inline' or 'thread', got {asked!r}")
    if spec.is_async:
        return "loop"
    if asked is not None:
        return asked
    return "thread" if limits.has_deadlines or spec.host == "thread" else "inline"


def thread_host(spec: EnvironmentSpec) -> Host:
    """A thread for a session; the one they all share where the environment demands that."""
    global _shared
    if not spec.single_thread:
        return ThreadHost("openenv-embedded")
    if _shared is None:
        _shared = SharedThread("openenv-embedded")
    return _shared


def hosted(session: Session, host: Host) -> HostedSession:
    """The session on its host; an embedded one has no lease, its owner is this process."""
    return HostedSession(session, host, owner="embedded", lease_s=math.inf)


def schemas(spec: EnvironmentSpec) -> dict[str, Any]:
    """The schemas in the form in which a server gives them."""
    return {
        "action": spec.action_schema(),
        "observation": spec.observation_schema(),
        "state": spec.state_schema(),
        "reset_observation": spec.reset_observation_schema(),
    }


def tool_style(spec: EnvironmentSpec) -> bool:
    """Whether actions are calls of tools by name."""
    from openenv.client.actions import calls_tools

    return calls_tools(spec.action_schema())


def space(spec: EnvironmentSpec, tools: Callable[[], list[Tool]]) -> ActionSpace:
    """The action space of an environment; its tools are asked for where its spec does not know them."""
    from openenv.spaces import ActionSpace

    if tool_style(spec) and not spec.tools:
        return ActionSpace(spec, tools=tools())
    return ActionSpace(spec)


def ask_tools(env: Any) -> Any:
    """Ask a published tool environment which tools it has."""
    from openenv.protocol.mcp_types import ListToolsAction

    answer = env.step(ListToolsAction())
    if not hasattr(answer, "tools") and not hasattr(answer, "__await__"):
        raise UsageError(f"{type(env).__name__} has no tools")
    return answer
