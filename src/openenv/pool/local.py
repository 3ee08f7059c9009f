"""A pool over worker processes of this machine.

Each worker has a share of the slots, a socket, and shared memory for arrays. All calls of a batch that are
for one worker travel in one frame, so a batch wakes each worker once and each worker wakes the pool once.
A worker that dies loses its own sessions only: their slots are told so and have new sessions in a new
worker. One that keeps a call beyond its deadline and a grace is killed, with the same effect.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from openenv.errors import OpenEnvError, ProtocolError
from openenv.pool.calls import Arrival, BackendStatistics, Call
from openenv.pool.channel import Feed
from openenv.pool.frames import ResultReader, encode_calls
from openenv.pool.seats import lost_seat, seat_kind
from openenv.pool.signal import Signal
from openenv.pool.workshop import Workshop

if TYPE_CHECKING:
    from openenv.environment import EnvironmentSpec
    from openenv.pool.portable import Portable

GRACE_S = 5.0
"""How long after a call's deadline its worker may still answer before it is killed."""
CLOSE_S = 5.0
"""How long workers may close their environments."""
MAX_FAILURES = 3
"""Workers of one share that may die one after another without answering before only a reset starts one."""


class _Worker:
    """A worker process as its pool sees it.

    Attributes:
        pid: its process id.
        feed: the pool's end of its socket.
        reader: decodes what it sends.
        blocks: new shared memory that it has not been told of: numbers and descriptors.
    """

    __slots__ = ("blocks", "feed", "pid", "reader")

    def __init__(self, pid: int, feed: Feed, reader: ResultReader) -> None:
        self.pid = pid
        self.feed = feed
        self.reader = reader
        self.blocks: list[tuple[int, int]] = []

    def send(self, calls: Sequence[Call]) -> None:
        """Send calls, and word of what became of shared memory."""
        blocks, self.blocks = self.blocks, []
        free, drop = self.reader.arrays.returned()
        frame = encode_calls(calls, free, [number for number, _ in blocks], drop)
        self.feed.send(frame, [descriptor for _, descriptor in blocks])

    def close(self) -> None:
        """Close all that belongs to it here."""
        self.feed.close()
        self.reader.arrays.close()
        for _, descriptor in self.blocks:
            os.close(descriptor)


class _Share:
    """Some slots and the worker that has them.

    Attributes:
        slots: the slots.
        busy: slots whose call the worker has, with the time when the worker counts as stuck.
        worker: the worker, None while there is none.
        failures: workers that died in a row without answering.
    """

    __slots__ = ("busy", "failures", "slots", "worker")

    def __init__(self, slots: list[int]) -> None:
        self.slots = slots
        self.busy: dict[int, float | None] = {}
        self.worker: _Worker | None = None
        self.failures = 0


class LocalBackend:
    """Sessions in worker processes.

    Args:
        spec: the environment.
        order: the same for workers.
        count: how many slots.
        workers: how many processes.
        shared_bytes: how much shared memory all workers together may have for arrays.

    Raises:
        LaunchError: the workers do not start.
        TargetError: the environment does not import in a fresh interpreter.
    """

    def __init__(
        self, spec: EnvironmentSpec, order: Portable, count: int, *, workers: int, shared_bytes: int
    ) -> None:
        self._spec = spec
        self.stoppable = seat_kind(spec, order.host, order.limits) != "inline"
        limits = order.limits.within(spec) if order.limits is not None else None
        self._timeouts = {
            "step": limits.step_timeout_s if limits else spec.step_timeout_s,
            "reset": limits.reset_timeout_s if limits else spec.reset_timeout_s,
        }
        self._memory = shared_bytes // workers
        self._shares = [_Share(list(range(first, count, workers))) for first in range(workers)]
        self._share_of = [self._shares[slot % workers] for slot in range(count)]
        self._by_descriptor: dict[int, _Share] = {}
        self._blocked: set[int] = set()
        self._arrivals: list[Arrival] = []
        self._replaced = 0
        self._epoll = select.epoll()
        self._due = Signal()
        self._epoll.register(self._due.fileno(), select.EPOLLIN)
        self._workshop = Workshop(order)
        try:
            for share in self._shares:
                self._start(share)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Readable when a worker has answered, or ended."""
        return self._epoll.fileno()

    def submit(self, calls: Sequence[Call], together: bool = False) -> None:
        """Send each worker its calls in one frame."""
        if len(self._shares) == 1:
            self._hand_over(self._shares[0], calls)
            return
        by_share: dict[int, list[Call]] = {}
        count = len(self._shares)
        for call in calls:
            by_share.setdefault(call.slot % count, []).append(call)
        for number, own in by_share.items():
            self._hand_over(self._shares[number], own)

    def _hand_over(self, share: _Share, calls: Sequence[Call]) -> None:
        worker = share.worker or self._revive(share, calls)
        if worker is None:
            return
        now = time.monotonic() if self.stoppable else 0.0
        for call in calls:
            share.busy[call.slot] = self._stuck_at(call, now) if self.stoppable else None
        worker.send(calls)
        if worker.feed.blocked:
            self._watch(worker.feed)

    def _stuck_at(self, call: Call, now: float) -> float | None:
        own = self._timeouts[call.kind]
        limits = [limit for limit in (call.timeout_s, own) if limit is not None]
        return now + min(limits) + GRACE_S if limits else None

    def _watch(self, feed: Feed) -> None:
        """Ask to be woken when a full socket takes more, and only then."""
        descriptor = feed.link.fileno()
        if feed.blocked:
            self._blocked.add(descriptor)
            self._epoll.modify(descriptor, select.EPOLLIN | select.EPOLLOUT)
        elif descriptor in self._blocked:
            self._blocked.discard(descriptor)
            self._epoll.modify(descriptor, select.EPOLLIN)

    # What comes back ---------------------------------------------------------------------------------

    def pump(self) -> list[Arrival]:
        """Read what workers have answered; replace those that ended or are stuck."""
        self._due.clear()
        for descriptor, event in self._epoll.poll(0):
            share = self._by_descriptor.get(descriptor)
            if share is None or share.worker is None:
                continue
            if event & select.EPOLLOUT:
                share.worker.feed.flush()
                self._watch(share.worker.feed)
            if event & ~select.EPOLLOUT:
                self._read(share, share.worker)
        if self.stoppable:
            self._end_stuck()
        arrivals, self._arrivals = self._arrivals, []
        return arrivals

    def _read(self, share: _Share, worker: _Worker) -> None:
        try:
            frames, alive = worker.feed.read()
            for frame in frames:
                self._take(share, worker, *worker.reader.read(frame))
        except ProtocolError as problem:
            self._lose(share, worker, f"its worker sent {problem}", kill=True)
            return
        if not alive:
            self._lose(share, worker, "", kill=True)

    def _take(self, share: _Share, worker: _Worker, arrivals: list[Arrival], wanted: int) -> None:
        busy = share.busy
        for slot, _ in arrivals:
            if type(slot) is not int or busy.pop(slot, 0) == 0:
                raise ProtocolError(f"an answer of slot {slot}, which has no call")
        share.failures = 0
        self._arrivals += arrivals
        if wanted and len(worker.blocks) < 2:
            made = worker.reader.arrays.make(wanted)
            if made is not None:
                worker.blocks.append(made)

    def alarm(self) -> float | None:
        """When the first worker counts as stuck."""
        if not self.stoppable:
            return None
        times = [when for share in self._shares for when in share.busy.values() if when is not None]
        return min(times, default=None)

    def _end_stuck(self) -> None:
        now = time.monotonic()
        for share in self._shares:
            if any(when is not None and when <= now for when in share.busy.values()):
                worker = share.worker
                if worker is not None:
                    self._lose(share, worker, "its worker did not stop at the deadline and was killed")

    # Workers -----------------------------------------------------------------------------------------

    def _start(self, share: _Share) -> _Worker:
        """Start a worker for the share.

        Raises:
            LaunchError: it does not start.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                pid = self._workshop.start(theirs.fileno(), share.slots)
        except BaseException:
            ours.close()
            raise
        worker = share.worker = _Worker(pid, Feed(ours), ResultReader(self._spec, self._memory))
        self._by_descriptor[ours.fileno()] = share
        self._epoll.register(ours.fileno(), select.EPOLLIN)
        return worker

    def _revive(self, share: _Share, calls: Sequence[Call]) -> _Worker | None:
        """Start a worker where the last ones died; if that fails too, the calls are lost."""
        try:
            return self._start(share)
        except OpenEnvError as error:
            why = f"no worker can be started ({error.message})"
            self._arrivals += [(call.slot, lost_seat(call.slot, why)) for call in calls]
            self._due.set()
            return None

    def _lose(self, share: _Share, worker: _Worker, why: str, *, kill: bool = True) -> None:
        """A worker is gone: tell its slots, and start another."""
        self._forget(share, worker)
        how = self._workshop.ended(worker.pid, kill=kill)
        why = why or f"its worker (process {worker.pid}) {_how(how)}"
        busy, share.busy = share.busy, {}
        # Those without a call come along: their episodes are gone as well.
        self._arrivals += [(slot, lost_seat(slot, why)) for slot in share.slots]
        share.failures += bool(busy)
        self._replaced += 1
        if share.failures < MAX_FAILURES:
            try:
                self._start(share)
            except OpenEnvError:
                share.failures = MAX_FAILURES  # the next call tries again, and says why it fails

    def _forget(self, share: _Share, worker: _Worker) -> None:
        share.worker = None
        descriptor = worker.feed.link.fileno()
        self._by_descriptor.pop(descriptor, None)
        self._blocked.discard(descriptor)
        self._epoll.unregister(descriptor)
        worker.close()

    # The rest ----------------------------------------------------------------------------------------

    def action_schema(self) -> dict[str, Any]:
        """The JSON Schema of an action."""
        return self._spec.action_schema()

    def statistics(self) -> BackendStatistics:
        """Counts so far."""
        alive = [share.worker for share in self._shares if share.worker is not None]
        return BackendStatistics(
            workers=len(alive),
            replaced=self._replaced,
            shared_bytes=sum(worker.reader.arrays.bytes for worker in alive),
        )

    @property
    def pids(self) -> list[int]:
        """Processes of the workers that are alive, in the order of their shares."""
        return [share.worker.pid for share in self._shares if share.worker is not None]

    def close(self) -> None:
        """Have workers close their environments, then end them and the nursery."""
        if self._epoll.closed:
            return
        alive = [(share, share.worker) for share in self._shares if share.worker is not None]
        for _, worker in alive:
            worker.feed.send(b"")
        deadline = time.monotonic() + CLOSE_S
        for share, worker in alive:
            worker.feed.drain(deadline)
            self._forget(share, worker)
        self._workshop.close()
        self._epoll.close()
        self._due.close()

    def __repr__(self) -> str:
        return f"{self._spec.name} in {len(self._shares)} worker processes"


def _how(ended: int | None) -> str:
    if ended is None:
        return "ended"
    if ended < 0:
        return f"was killed by {signal.Signals(-ended).name}"
    return f"ended with exit status {ended}"
