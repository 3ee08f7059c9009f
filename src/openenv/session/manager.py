"""All sessions of a server: capacity, a waiting queue, leases, drain.

A session holds a slot from `open` until its environment is closed. When all slots are taken, `open`
waits in a bounded queue and is handed the next free slot, in order. A session that nobody is attached to
and that was not called for its lease is closed. The manager belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openenv.environment import EnvironmentSpec
from openenv.errors import SessionCapacityError, SessionNotFoundError, UsageError
from openenv.session.handle import HostedSession
from openenv.session.hosts import Host, InlineHost, LoopHost, SharedThread, ThreadHost
from openenv.session.limits import Limits
from openenv.session.pace import Pace
from openenv.session.quarantine import Quarantine
from openenv.session.session import Observer, Session
from openenv.session.shards import AVAILABLE as HAS_SHARDS
from openenv.session.shards import CHECK_S, Shards
from openenv.session.slots import SharedSlots
from openenv.types import StepOutcome

if TYPE_CHECKING:
    from openenv.session.process_host import ProcessPlace

logger = logging.getLogger("openenv.session")

CLOSE_TIMEOUT_S = 5.0
"""How long a closing session may take before its slot is given away and its thread left behind."""

HOST_KINDS = ("auto", "thread", "shard", "inline", "process")


@dataclass(frozen=True, slots=True)
class ManagerStatistics:
    """Counts of a manager.

    Attributes:
        active: sessions that hold a slot.
        queued: callers that wait for a slot.
        max_sessions: slots.
        opened: sessions opened so far.
        closed: sessions closed so far.
        reaped: sessions closed because their lease ran out.
        rejected: openings refused for want of a slot.
        quarantined: environments stuck in a call that passed its deadline.
        owners: active sessions by door.
        draining: whether no new session is accepted.
    """

    active: int
    queued: int
    max_sessions: int
    opened: int
    closed: int
    reaped: int
    rejected: int
    quarantined: int
    owners: dict[str, int]
    draining: bool


class SessionManager:
    """Opens, finds, leases and closes sessions of one environment.

    Args:
        spec: the environment.
        max_sessions: slots.
        queue_size: callers that may wait for a slot; 0 refuses at once.
        queue_timeout_s: seconds a caller waits for a slot before it is refused.
        lease_s: lease of a session that nobody is attached to, in seconds.
        host: `thread`, `shard`, `inline`, `process`, or `auto` for what the environment's class says; if it
            says nothing, a thread of its own for each session until the class has proven fast, then shards.
        limits: bounds of every session, on top of the author's.
        max_quarantined: stuck environments beyond which no new one is built.
        observer: called after each call of each session (name, outcome, seconds).
        shared: counts the slots if other processes have sessions of this server too; the queue is its
            business then.
    """

    def __init__(
        self,
        spec: EnvironmentSpec,
        *,
        max_sessions: int = 1000,
        queue_size: int = 0,
        queue_timeout_s: float = 10.0,
        lease_s: float = 300.0,
        host: str = "auto",
        limits: Limits | None = None,
        max_quarantined: int = 64,
        observer: Observer | None = None,
        shared: SharedSlots | None = None,
    ) -> None:
        if host not in HOST_KINDS:
            raise UsageError(f"host: expected one of {', '.join(HOST_KINDS)}, got {host!r}")
        self.spec = spec
        self.max_sessions = max_sessions
        self.lease_s = lease_s
        self.quarantine = Quarantine(max_quarantined)
        self._queue_size = queue_size
        self._queue_timeout_s = queue_timeout_s
        self._host_kind = _host_kind(spec, host)
        self._place = _warm_place(spec) if self._host_kind == "process" else None
        self._limits = self._possible(limits or Limits())
        self.pace = Pace()
        self._observer = self._observing(observer)
        self._shards = Shards(self.pace, self.quarantine)
        self._guard: asyncio.Task[None] | None = None
        self._sessions: dict[str, HostedSession] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._held = 0
        self._slots = shared
        self._draining = False
        self._shared: SharedThread | None = None
        self._reaper: asyncio.Task[None] | None = None
        self._closers: set[asyncio.Task[None]] = set()
        self._counts: Counter[str] = Counter()

    def _possible(self, limits: Limits) -> Limits:
        """The limits without deadlines where calls cannot be stopped; an author's own are refused."""
        if self._host_kind not in ("inline", "shared"):
            return limits
        if limits.within(self.spec).has_deadlines and not limits.has_deadlines:
            raise UsageError(
                f"{self.spec.name}: declares a deadline, and host '{self._host_kind}' cannot stop a call"
            )
        if limits.has_deadlines:
            logger.warning(
                "%s runs on host '%s', where calls cannot be stopped: deadlines are off",
                self.spec.name,
                self._host_kind,
            )
        return Limits(max_steps=limits.max_steps, episode_timeout_s=limits.episode_timeout_s)

    def _observing(self, observer: Observer | None) -> Observer:
        """What is called after each call: the given observer, and what keeps the pace if that matters."""
        if self._host_kind != "auto":
            return observer or (lambda name, outcome, seconds: None)
        record = self.pace.record

        def observe(name: str, outcome: StepOutcome, seconds: float) -> None:
            record(seconds)
            if observer is not None:
                observer(name, outcome, seconds)

        return observe

    @property
    def active(self) -> int:
        """Slots taken."""
        return self._held

    @property
    def draining(self) -> bool:
        """Whether no new session is accepted."""
        return self._draining

    async def open(
        self,
        *,
        owner: str,
        wait: bool = True,
        auto_reset: bool = False,
        lease_s: float | None = None,
        client: str | None = None,
    ) -> HostedSession:
        """Open a session and build its environment.

        Args:
            owner: which door asks.
            wait: whether to queue for a slot.
            auto_reset: a first step without a reset resets first.
            lease_s: lease of this session, if not the manager's.
            client: address of the caller.

        Raises:
            SessionCapacityError: no slot, or none in time.
            EnvironmentFactoryError: the environment's constructor raised.
        """
        await self._take_slot(wait, client)
        hosted = None
        try:
            self.quarantine.check()
            session_id = uuid.uuid4().hex + (self._slots.suffix if self._slots is not None else "")
            host = self._make_host(session_id)
            session = Session(
                getattr(host, "spec", self.spec),
                id=session_id,
                limits=self._limits,
                auto_reset=auto_reset,
                observer=self._observer,
            )
            session.interactive = False
            hosted = HostedSession(
                session,
                host,
                owner=owner,
                lease_s=self.lease_s if lease_s is None else lease_s,
                timed=self.pace.record,
            )
            await hosted.acall("start")
        except BaseException:
            if hosted is None:
                self._free_slot()
            else:
                self._close_later(hosted)
            raise
        self._sessions[hosted.id] = hosted
        self._counts["opened"] += 1
        if self._reaper is None or self._reaper.done():  # the last one ended with its loop
            self._reaper = asyncio.get_running_loop().create_task(self._reap(), name="openenv-reaper")
        return hosted

    def get(self, session_id: str) -> HostedSession:
        """The open session of that id.

        Raises:
            SessionNotFoundError: there is none.
        """
        try:
            return self._sessions[session_id]
        except KeyError:
            missing = SessionNotFoundError if self._slots is None else self._slots.missing
            raise missing(session_id) from None

    def sessions(self) -> list[HostedSession]:
        """All open sessions."""
        return list(self._sessions.values())

    async def close(self, session_id: str) -> bool:
        """Close a session and wait until its environment is closed, for a bounded time.

        Returns:
            Whether there was such a session.
        """
        hosted = self._sessions.pop(session_id, None)
        if hosted is None:
            return False
        await asyncio.shield(self._close_later(hosted))
        return True

    async def drain(self, timeout_s: float = 10.0) -> None:
        """Accept nothing more, let running calls finish, close everything.

        Args:
            timeout_s: how long running calls may take.
        """
        self._draining = True
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(self._refusal())
        for session_id in list(self._sessions):
            self._close_later(self._sessions.pop(session_id), timeout_s)
        if self._closers:
            await asyncio.wait(self._closers, timeout=timeout_s + CLOSE_TIMEOUT_S)
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None
        self._shards.shutdown()
        if self._shared is not None:
            self._shared.shutdown()
            self._shared = None

    def statistics(self) -> ManagerStatistics:
        """Counts so far."""
        return ManagerStatistics(
            active=self._held,
            queued=len(self._waiters) + (self._slots.waiting if self._slots is not None else 0),
            max_sessions=self.max_sessions,
            opened=self._counts["opened"],
            closed=self._counts["closed"],
            reaped=self._counts["reaped"],
            rejected=self._counts["rejected"],
            quarantined=self.quarantine.count,
            owners=dict(Counter(s.owner for s in self._sessions.values())),
            draining=self._draining,
        )

    # Slots -------------------------------------------------------------------------------------------

    async def _take_slot(self, wait: bool, client: str | None) -> None:
        if self._draining:
            raise self._refusal()
        if self._slots is not None:
            await self._take_shared(self._slots, wait, client)
            return
        if self._held < self.max_sessions:
            self._held += 1
            return
        if not wait or len(self._waiters) >= self._queue_size:
            raise self._refusal()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await asyncio.wait_for(waiter, self._queue_timeout_s)
        except TimeoutError:
            raise self._refusal() from None
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._free_slot()  # the slot came in the moment the caller went away
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    async def _take_shared(self, slots: SharedSlots, wait: bool, client: str | None) -> None:
        try:
            await slots.take(wait, client)
        except SessionCapacityError:
            self._counts["rejected"] += 1
            raise
        self._held += 1
        if self._draining:
            self._free_slot()
            raise self._refusal()

    def _free_slot(self) -> None:
        if self._slots is not None:
            self._held -= 1
            self._slots.give_back()
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)  # the slot changes hands and stays held
                return
        self._held -= 1

    def _refusal(self) -> SessionCapacityError:
        self._counts["rejected"] += 1
        message = "The server is shutting down and accepts no new sessions." if self._draining else None
        retry_after = 1.0 + len(self._waiters) * 0.1
        return SessionCapacityError(self._held, self.max_sessions, message, retry_after=retry_after)

    # Closing -----------------------------------------------------------------------------------------

    def _close_later(self, hosted: HostedSession, timeout_s: float = CLOSE_TIMEOUT_S) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._close(hosted, timeout_s))
        self._closers.add(task)
        task.add_done_callback(self._closers.discard)
        return task

    async def _close(self, hosted: HostedSession, timeout_s: float) -> None:
        """Close the environment on its host, after the calls before.

        If that takes too long, the slot is given away anyway and the environment left behind.
        """
        future = asyncio.wrap_future(hosted.call("close"))
        try:
            await asyncio.wait_for(asyncio.shield(future), timeout_s)
        except TimeoutError:
            logger.warning("Session %s did not close within %g s: left behind", hosted.id[:8], timeout_s)
            if hosted.host.stoppable:
                self.quarantine.enter()
                future.add_done_callback(lambda _: self.quarantine.leave())
        finally:
            hosted.host.stop()
            self._counts["closed"] += 1
            self._free_slot()

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(min(max(self.lease_s / 4, 0.02), 5.0))
            for hosted in self.sessions():
                if hosted.expired and self._sessions.pop(hosted.id, None) is not None:
                    logger.info("Session %s: lease of %g s ran out", hosted.id[:8], hosted.lease_s)
                    self._counts["reaped"] += 1
                    self._close_later(hosted)

    def _make_host(self, session_id: str) -> Host:
        kind = self._host_kind
        if self._place is not None:
            from openenv.session.process_host import ProcessHost

            return ProcessHost(self._place, session_id, self.quarantine)
        if kind == "loop":
            return LoopHost(f"openenv-{session_id[:8]}")
        if kind == "inline":
            return InlineHost()
        if kind == "shared":
            if self._shared is None:
                self._shared = SharedThread()
            return self._shared
        if kind == "shard" or (kind == "auto" and self.pace.fast and HAS_SHARDS):
            if self._guard is None or self._guard.done():
                self._guard = asyncio.get_running_loop().create_task(self._watch(), name="openenv-shards")
            return self._shards.place()
        return ThreadHost(f"openenv-{session_id[:8]}", self.quarantine)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            self._shards.check()


def _host_kind(spec: EnvironmentSpec, asked: str) -> str:
    if (spec.host if asked == "auto" else asked) == "process":
        return "process"
    if spec.is_async:
        return "loop"
    if spec.single_thread:
        return "shared"
    kind = spec.host if asked == "auto" else asked
    return "thread" if kind == "shard" and not HAS_SHARDS else kind


def _warm_place(spec: EnvironmentSpec) -> ProcessPlace:
    """Where the processes of sessions come from; forked now, while this process is still quiet.

    Raises:
        UsageError: this platform has no such processes.
    """
    from openenv.session.zygote import AVAILABLE

    if not AVAILABLE:
        raise UsageError("host 'process' forks, waits and kills as only Linux can; use 'thread'")
    from openenv.session.process_host import ProcessPlace

    return ProcessPlace.of(spec)
