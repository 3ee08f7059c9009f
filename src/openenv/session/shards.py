"""Threads that run many quick sessions each, and read their sockets themselves.

A `Shard` is a thread with an epoll of its own. A session that lives there is built, called and closed by that
thread, and a connection that serves one such session lets the shard read its socket: bytes come in, the calls
they ask for run, the replies leave, all in one turn of one thread, without a wake-up in between. No asyncio
loop runs in it, so environments may use `asyncio.run`.

Sessions of a shard wait for one another. `Shards.check`, called from outside a few times a second, sees a
shard that is stuck in a call: what its sessions had answered is sent, their sockets are read elsewhere until
it comes back, and its environment counts as slow from then on (`openenv.session.pace`). A call that passes
its deadline is left to its thread, and a new thread takes over the rest of the shard.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from openenv.session.closing import close_environment
from openenv.session.deadline import Abandoned
from openenv.session.hosts import Job
from openenv.session.pace import Pace
from openenv.session.quarantine import Quarantine

logger = logging.getLogger("openenv.session")

AVAILABLE = sys.platform == "linux"
"""Whether this platform has what shards are made of (epoll and eventfd)."""

SHARDS = 1 if getattr(sys, "_is_gil_enabled", lambda: True)() else 2
"""Shards of a server. Under one interpreter lock a second shard only competes for it: a step on one of two
costs a fifth more CPU than on one alone."""

CHECK_S = 0.1
"""Seconds between two looks at the shards."""

STUCK_S = 0.25
"""Seconds of one turn after which a shard is stuck."""

_FLUSH_S = 0.001
_MAX_READY = 128


class Reader(Protocol):
    """A connection that a shard reads for."""

    def readable(self) -> None:
        """There is something to read. Called in the shard's thread."""

    def part(self) -> None:
        """The shard is stuck: read elsewhere until `Shard.when_recovered`. Called from another thread."""


class Shard:
    """A thread with many sessions.

    Args:
        name: the thread's name.
        quarantine: where abandoned threads are counted.

    Attributes:
        thread_id: ident of the thread that runs the shard now.
        sessions: how many live here.
        outbox: for whoever sends the replies of its sessions to keep what is not sent yet.
        turn_since: `time.monotonic()` of the present turn's start, 0 while it waits.
    """

    def __init__(self, name: str, quarantine: Quarantine) -> None:
        self.thread_id = 0
        self.sessions = 0
        self.turn_since = 0.0
        self.outbox: Any = None
        self._name = name
        self._quarantine = quarantine
        self._jobs: deque[Job] = deque()
        self._deferred: deque[Callable[[], None]] = deque()
        self._recovered: deque[Callable[[], None]] = deque()
        self._readers: dict[int, Reader] = {}
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._bell, select.EPOLLIN)
        self._rung = False
        self._stopping = False
        self._bell_lock = threading.Lock()
        self._worker: threading.Thread | None = None
        self._start()

    # From any thread -----------------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Run a job after those submitted before."""
        self._jobs.append(job)
        if threading.get_ident() != self.thread_id:
            self._ring()

    def defer(self, action: Callable[[], None]) -> None:
        """Do something at the end of this turn. In the shard's thread only."""
        self._deferred.append(action)

    def when_recovered(self, action: Callable[[], None]) -> None:
        """Do something, in another thread, once the shard is not stuck (any more)."""
        self._recovered.append(action)

    def add_reader(self, descriptor: int, reader: Reader) -> None:
        """Read a socket from now on."""
        self._readers[descriptor] = reader
        self._epoll.register(descriptor, select.EPOLLIN)

    def remove_reader(self, descriptor: int) -> None:
        """Stop reading a socket, which must still be open. One more `readable` may be under way."""
        self._readers.pop(descriptor, None)
        with contextlib.suppress(OSError, ValueError):  # the shard may have been closed
            self._epoll.unregister(descriptor)

    def abandon(self) -> None:
        """Leave the running job to its thread and let a new thread take over everything else."""
        self._quarantine.enter()
        self._start()

    def check(self) -> bool:
        """Look after the shard from outside.

        Returns:
            Whether it is stuck.
        """
        since = self.turn_since
        if since and time.monotonic() - since > STUCK_S:
            self._flush()
            for reader in list(self._readers.values()):
                reader.part()
            return True
        while self._recovered:
            self._recovered.popleft()()
        return False

    def stop(self) -> None:
        """End the thread after the jobs submitted so far."""
        self._stopping = True
        self._ring()

    def _ring(self) -> None:
        if self._rung:
            return
        with self._bell_lock:
            self._rung = True
            if self._bell >= 0:
                os.eventfd_write(self._bell, 1)

    # In the shard's thread -----------------------------------------------------------------------------

    def _start(self) -> None:
        worker = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._worker = worker
        self.thread_id = 0  # nobody's, until the new thread says so
        worker.start()

    def _run(self) -> None:
        me = threading.current_thread()
        self.thread_id = threading.get_ident()
        while self._turn(me):
            if self._stopping and not self._jobs:
                self._close()
                return

    def _turn(self, me: threading.Thread) -> bool:
        """Read what has arrived, run the jobs, send what they answered.

        Returns:
            False if the shard belongs to another thread now.
        """
        ready = self._epoll.poll(0 if self._jobs or self._deferred else None, _MAX_READY)
        self.turn_since = flushed = time.monotonic()
        for descriptor, _ in ready:
            if descriptor == self._bell:
                # In this order: a ring between the two was for a job that this turn runs. The other way
                # round it would be read away with `_rung` left set, and nobody would ring again.
                os.eventfd_read(descriptor)
                self._rung = False
                continue
            reader = self._readers.get(descriptor)
            if reader is not None:
                self._read(reader)
        jobs = self._jobs
        for _ in range(len(jobs)):
            job = jobs.popleft()
            try:
                job()
            except Abandoned as gone:
                self._come_back(gone)
                return False
            # Boundary: a job reports its own failures; what gets here must not end the shard.
            except BaseException:
                logger.exception("A job of %s failed", self._name)
            del job
            if self._worker is not me:
                self._quarantine.leave()
                return False
            if self._deferred and time.monotonic() - flushed > _FLUSH_S:
                self._flush()
                flushed = time.monotonic()
        self._flush()
        self.turn_since = 0.0
        return True

    def _read(self, reader: Reader) -> None:
        try:
            reader.readable()
        except Exception:  # Boundary: one connection must not end the shard.
            logger.exception("Reading a connection of %s failed", self._name)

    def _flush(self) -> None:
        deferred = self._deferred
        while deferred:
            try:
                deferred.popleft()()
            except IndexError:  # another thread, seeing this one stuck, was faster
                return
            except Exception:  # Boundary: one connection must not end the shard.
                logger.exception("Sending replies of %s failed", self._name)

    def _come_back(self, gone: Abandoned) -> None:
        try:
            if gone.environment is not None:
                close_environment(gone.environment, self._name)
        finally:
            self._quarantine.leave()

    def _close(self) -> None:
        with self._bell_lock:
            self._epoll.close()
            os.close(self._bell)
            self._bell = -1


class ShardHost:
    """A session's place on a shard.

    Args:
        shard: the shard.

    Attributes:
        shard: the shard.
    """

    stoppable = True
    asynchronous = False

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self.submit = shard.submit
        self._stopped = False
        shard.sessions += 1

    def abandon(self) -> None:
        """Leave the running job to its thread; the whole shard goes on in a new one."""
        self.shard.abandon()

    def stop(self) -> None:
        """Give the place up."""
        if not self._stopped:
            self._stopped = True
            self.shard.sessions -= 1


class Shards:
    """The shards of a session manager, made when the first is needed.

    Args:
        pace: what is known of the environment's speed; told of shards that are stuck.
        quarantine: where abandoned threads are counted.
    """

    def __init__(self, pace: Pace, quarantine: Quarantine) -> None:
        self._pace = pace
        self._quarantine = quarantine
        self._shards: list[Shard] = []

    def place(self) -> ShardHost:
        """A place for a new session, on the shard with the fewest."""
        if len(self._shards) < SHARDS:
            self._shards.append(Shard(f"openenv-shard-{len(self._shards)}", self._quarantine))
            return ShardHost(self._shards[-1])
        return ShardHost(min(self._shards, key=lambda shard: shard.sessions))

    def check(self) -> None:
        """Look after every shard."""
        for shard in self._shards:
            if shard.check():
                self._pace.refuse()

    def shutdown(self) -> None:
        """End the threads after what was submitted so far."""
        for shard in self._shards:
            shard.stop()
        self._shards.clear()
