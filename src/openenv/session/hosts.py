"""Where a session's code runs. The choice is made before the environment is built and never changes.

`ThreadHost`   a thread of the session's own: the default for synchronous environments. A blocking step
               delays nobody else, code that is bound to its thread works, and a call can be abandoned.
`SharedThread` one thread for every session of a class that says `REQUIRES_SINGLE_THREAD_EXECUTOR`.
`InlineHost`   the caller's thread: the fastest, for environments that never block; opt-in on a server.
`LoopHost`     the event loop, without any thread: for environments whose methods are coroutines.

A job is a callable without arguments; jobs of one host run one after another, in the order given.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from typing import Protocol, cast

from openenv.session.closing import close_environment
from openenv.session.deadline import Abandoned
from openenv.session.quarantine import Quarantine

logger = logging.getLogger("openenv.session")

Job = Callable[[], object]


class Host(Protocol):
    """What a session asks of the place where it runs."""

    stoppable: bool
    """Whether a running call can be abandoned."""
    asynchronous: bool
    """Whether jobs return awaitables."""

    def submit(self, job: Job) -> None:
        """Run a job after those submitted before."""

    def abandon(self) -> None:
        """Leave the running job behind; later jobs run all the same."""

    def stop(self) -> None:
        """Run what was submitted, then end."""


class ThreadHost:
    """A thread that runs one session.

    Args:
        name: the thread's name.
        quarantine: where abandoned threads are counted.
    """

    stoppable = True
    asynchronous = False

    def __init__(self, name: str = "openenv-session", quarantine: Quarantine | None = None) -> None:
        self._name = name
        self._quarantine = quarantine or Quarantine()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._worker: threading.Thread | None = None
        self.submit = self._jobs_put = self._jobs.put
        self._start()

    def _start(self) -> None:
        worker = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._worker = worker
        worker.start()

    def abandon(self) -> None:
        """Leave the running job to its thread and go on in a new one."""
        self._quarantine.enter()
        self._start()

    def stop(self) -> None:
        """End the thread after the jobs submitted so far."""
        self._jobs.put(None)

    def _run(self) -> None:
        me = threading.current_thread()
        get = self._jobs.get
        while True:
            job = get()
            if job is None:
                return
            try:
                job()
            except Abandoned as gone:
                self._come_back(gone)
                return
            # Boundary: a job reports its own failures; what gets here must not end the session's thread.
            except BaseException:
                logger.exception("A job of %s failed", self._name)
            del job
            if self._worker is not me:
                self._quarantine.leave()
                return

    def _come_back(self, gone: Abandoned) -> None:
        try:
            if gone.environment is not None:
                close_environment(gone.environment, self._name)
        finally:
            self._quarantine.leave()


class SharedThread:
    """One thread for all sessions of an environment that must stay on a single thread.

    A call cannot be abandoned here: the other sessions' environments live on the same thread.
    """

    stoppable = False
    asynchronous = False

    def __init__(self, name: str = "openenv-shared") -> None:
        self._host = ThreadHost(name)
        self.submit = self._host.submit

    def abandon(self) -> None:
        """Nothing can be left behind here."""

    def stop(self) -> None:
        """Sessions come and go; the thread stays until `shutdown`."""

    def shutdown(self) -> None:
        """End the thread."""
        self._host.stop()


class InlineHost:
    """The caller's thread."""

    stoppable = False
    asynchronous = False

    def submit(self, job: Job) -> None:
        """Run the job now."""
        job()

    def abandon(self) -> None:
        """Nothing can be left behind here."""

    def stop(self) -> None:
        """Nothing to end."""


class LoopHost:
    """The running event loop, for asynchronous environments.

    One task per session drains its jobs, so that no task is made per message.
    """

    stoppable = False
    asynchronous = True

    def __init__(self, name: str = "openenv-session") -> None:
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._jobs: deque[Job | None] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._task = self._loop.create_task(self._run(), name=name)

    def submit(self, job: Job | None) -> None:
        """Run the job after those before it; may be called from any thread."""
        if threading.get_ident() == self._thread:
            self._put(job)
        else:
            self._loop.call_soon_threadsafe(self._put, job)

    def _put(self, job: Job | None) -> None:
        self._jobs.append(job)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def abandon(self) -> None:
        """A coroutine that swallowed its cancellation is left behind by the session itself."""

    def stop(self) -> None:
        """End the task after the jobs submitted so far."""
        self.submit(None)

    async def _run(self) -> None:
        while True:
            while self._jobs:
                job = self._jobs.popleft()
                if job is None:
                    return
                try:
                    await cast(Awaitable[object], job())
                # Boundary: a job reports its own failures; what gets here must not end the session.
                except (Exception, Abandoned):
                    logger.exception("A job of %s failed", self._name)
            self._waiting = self._loop.create_future()
            await self._waiting
            self._waiting = None
