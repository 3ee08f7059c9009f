"""A session together with the place where it runs, its owner and its lease.

Doors talk to a `HostedSession`. `post` is the fast path: the door's own decoding and encoding run where
the environment lives, so that a message crosses threads once. `call` and `acall` return the result.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Literal

from openenv.errors import InfrastructureError, OpenEnvError
from openenv.session.deadline import Abandoned
from openenv.session.hosts import Host
from openenv.session.session import Session

logger = logging.getLogger("openenv.session")

CallKind = Literal["start", "reset", "step", "state", "ask", "close"]
Prepared = tuple[CallKind, dict[str, Any]]
Prepare = Callable[[], Prepared | None]
Done = Callable[[Any, OpenEnvError | None], None]
Timed = Callable[[float], None]


def _untimed(seconds: float) -> None:
    """For whom the time does not matter."""


class HostedSession:
    """A session on its host.

    Args:
        session: the session.
        host: where it runs.
        owner: which door opened it (`ws`, `http`, `mcp`, `embedded` ...).
        lease_s: seconds without a call after which a session that nobody is attached to is reaped.
        timed: told how many seconds the construction and the end of the environment took.

    Attributes:
        attached: connections that hold the session; while there is one, the lease does not run.
    """

    def __init__(
        self, session: Session, host: Host, *, owner: str, lease_s: float, timed: Timed = _untimed
    ) -> None:
        self.session = session
        self.host = host
        self.owner = owner
        self.lease_s = lease_s
        self.timed = timed
        self.attached = 0
        self._lock = threading.Lock()
        self._submitted = 0
        self._completed = 0
        self._make_job = _LoopJob if host.asynchronous else _Job
        session.stoppable = host.stoppable
        session.on_abandon = host.abandon

    @property
    def id(self) -> str:
        """The session's id."""
        return self.session.id

    @property
    def pending(self) -> int:
        """Calls submitted and not answered."""
        return self._submitted - self._completed

    @property
    def idle_s(self) -> float:
        """Seconds since the last call ended; 0 while one runs."""
        return 0.0 if self.pending else time.monotonic() - self.session.last_activity

    @property
    def expired(self) -> bool:
        """Whether the lease ran out."""
        return not self.attached and self.idle_s > self.lease_s

    def post(self, prepare: Prepare, done: Done) -> None:
        """Make a call, in order with the others, and report to `done`.

        Args:
            prepare: runs where the environment lives; returns the kind of call and its arguments, or
                None if there is nothing to call. It may raise an `OpenEnvError`, which `done` is given.
            done: called exactly once, with the value or the error, where the environment lives or, if a
                deadline passed, in the watchdog's thread. It must not block.
        """
        self.enter()
        self.host.submit(self._make_job(self, prepare, done))

    def enter(self) -> None:
        """Count a call that is submitted to the host by somebody else, who also calls `leave`."""
        with self._lock:
            self._submitted += 1

    def leave(self) -> None:
        """Count the end of a call. Where the session runs."""
        self._completed += 1

    def call(self, kind: CallKind, **arguments: Any) -> Future[Any]:
        """Make a call; the future holds its value or raises its error."""
        future: Future[Any] = Future()

        def done(value: Any, error: OpenEnvError | None) -> None:
            if not future.set_running_or_notify_cancel():
                return
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

        self.post(lambda: (kind, arguments), done)
        return future

    async def acall(self, kind: CallKind, **arguments: Any) -> Any:
        """Make a call and await its value."""
        return await asyncio.wrap_future(self.call(kind, **arguments))


class _Job:
    """One posted call: runs on the host, and reports once, whoever comes first: the host or the watchdog."""

    __slots__ = ("_done", "_hosted", "_prepare")

    def __init__(self, hosted: HostedSession, prepare: Prepare, done: Done) -> None:
        self._hosted = hosted
        self._prepare = prepare
        self._done = done

    def __call__(self) -> Any:
        try:
            prepared = self._prepare()
            value = None if prepared is None else self._dispatch(*prepared)
        except OpenEnvError as error:
            self.report(None, error)
        except Abandoned:
            raise  # reported by the watchdog
        except BaseException as problem:  # Boundary: whoever waits must be answered, whatever happened.
            self.report(None, self._broken(problem))
            raise
        else:
            self.report(value, None)

    def _dispatch(self, kind: CallKind, arguments: dict[str, Any]) -> Any:
        session = self._hosted.session
        if kind == "step":
            return session.step(**arguments, on_expiry=self.expired)
        if kind == "reset":
            return session.reset(**arguments, on_expiry=self.expired)
        if kind not in ("start", "close"):
            return getattr(session, kind)(**arguments)
        started = time.monotonic()
        try:
            return getattr(session, kind)()
        finally:
            self._hosted.timed(time.monotonic() - started)

    def _broken(self, problem: BaseException) -> InfrastructureError:
        session_id = self._hosted.id
        return InfrastructureError(f"{type(problem).__name__} in session {session_id}", session=session_id)

    def report(self, value: Any, error: OpenEnvError | None) -> None:
        """Hand the value or the error to whoever waits for it."""
        self._hosted._completed += 1
        try:
            self._done(value, error)
        except Exception:  # Boundary: a door's callback must not end the session's thread.
            logger.exception("Answering a call of session %s failed", self._hosted.id[:8])

    def expired(self, error: OpenEnvError) -> None:
        """The deadline passed; the thread that made the call ends with `Abandoned` and never reports."""
        self.report(None, error)


class _LoopJob(_Job):
    """A posted call to an asynchronous session: what it returns is awaited by the host."""

    __slots__ = ()

    async def __call__(self) -> None:
        try:
            prepared = self._prepare()
            value = None if prepared is None else await self._adispatch(*prepared)
        except OpenEnvError as error:
            self.report(None, error)
        except BaseException as problem:  # Boundary: whoever waits must be answered, whatever happened.
            self.report(None, self._broken(problem))
            raise
        else:
            self.report(value, None)

    async def _adispatch(self, kind: CallKind, arguments: dict[str, Any]) -> Any:
        session = self._hosted.session
        if kind == "start":
            return session.start()
        if kind == "state":
            return await session.aask("state", session.spec.read_state)
        return await getattr(session, "a" + kind)(**arguments)
