"""Deadlines that stop the work.

A running call is a `Call`. A process-wide watchdog thread expires it when its deadline passes: from
that moment the call belongs to nobody. The caller is answered at once, the thread that runs the
environment is interrupted (an exception is raised in it at its next bytecode) and, when it comes back
out of the environment's code, it finds the call abandoned and leaves without a trace.

The watchdog keeps one heap entry per session, not per call: an entry that fires early is pushed again
at the session's present deadline, so a call without an expiry costs two attribute writes.
"""

from __future__ import annotations

import ctypes
import heapq
import itertools
import math
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from openenv.errors import CallCancelledError, StepTimeoutError

_RETRY_S = 0.005


class Abandoned(BaseException):
    """Raised in a session's thread when the call it was making has been given up.

    It derives from `BaseException` so that an environment's `except Exception` does not catch it.

    Attributes:
        environment: the discarded environment, for that thread to close; None if there was none.
    """

    def __init__(self, environment: Any = None) -> None:
        super().__init__()
        self.environment = environment


class Interrupted(BaseException):
    """Raised by the watchdog inside an environment's code to stop it."""


class Call:
    """One call into an environment that has a deadline.

    The thread that makes the call holds the call's lock while the session's own rules run and lets go
    of it for the environment's turns (`enter` to `leave`). It can only expire in such a turn, so rules
    and expiry never interleave.

    Args:
        timeout_s: the deadline in seconds from now.
        on_expiry: answers the caller and takes the environment away; returns that environment.

    Attributes:
        deadline: `time.monotonic()` at which it expires.
        timeout_s: the deadline as given.
        expired: whether it has been given up.
        cancelled: whether that is because its caller took it back.
    """

    __slots__ = (
        "_lock",
        "_on_expiry",
        "_over",
        "cancelled",
        "deadline",
        "environment",
        "expired",
        "thread_id",
        "timeout_s",
    )

    def __init__(self, timeout_s: float, on_expiry: Callable[[Call], Any]) -> None:
        self.timeout_s = timeout_s
        self.deadline = time.monotonic() + timeout_s
        self.thread_id = threading.get_ident()
        self.expired = self.cancelled = False
        self.environment: Any = None
        self._over = False
        self._on_expiry = on_expiry
        self._lock = threading.Lock()
        self._lock.acquire()

    def enter(self) -> None:
        """The environment's turn begins."""
        self._lock.release()

    def leave(self) -> None:
        """The environment's turn ends.

        Raises:
            Abandoned: the call expired meanwhile.
        """
        self._lock.acquire()
        if self.expired:
            raise self.abandoned()

    def finish(self) -> None:
        """The call returned; it cannot expire any more."""
        self._over = True
        self._lock.release()

    @property
    def over(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._over or self.expired

    def abandoned(self) -> Abandoned:
        """What the call's thread raises once it is back; from here on nothing interrupts it."""
        self._over = True
        return Abandoned(self.environment)

    def expire(self) -> bool:
        """Give the call up, unless it is over: answer the caller, interrupt the thread.

        Returns:
            False if the session's own rules are running just now; try again in a moment.
        """
        if not self._lock.acquire(blocking=False):
            return self._over
        try:
            if self._over:
                return True
            self.expired = True
            self.environment = self._on_expiry(self)
            _interrupt(self.thread_id)
        finally:
            self._lock.release()
        return True

    def error(self, what: str) -> StepTimeoutError:
        """The error that the caller gets when the call expired."""
        if self.cancelled:
            return CallCancelledError(
                f"{what} was cancelled and stopped; the environment was discarded, reset() builds a new one"
            )
        return StepTimeoutError(
            f"{what} passed its deadline of {self.timeout_s:.3g} s and was stopped; "
            "the environment was discarded, reset() builds a new one",
            timeout_s=self.timeout_s,
        )


_raise_in = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_ulong, ctypes.py_object)(
    ("PyThreadState_SetAsyncExc", ctypes.pythonapi)
)


def _interrupt(thread_id: int) -> None:
    """Raise `Interrupted` in a thread as soon as it runs bytecode.

    Up to Python 3.12 a pending exception is a flag of the whole interpreter, which sends every thread
    through its slow path at each check (and, in 3.11 under a tracer, around it for ever) until the thread
    concerned wakes up. Raising one here and catching it takes the flag down; the sleeping thread puts it up
    again by itself when it gets the interpreter's lock back. No Python function may be called in between.
    """
    me = threading.get_ident()
    try:
        _raise_in(thread_id, Interrupted)
        _raise_in(me, Interrupted)
        for _ in range(100_000):  # pragma: no cover - it comes when the call returns, or here
            pass
    except Interrupted:
        pass


class Watched(Protocol):
    """What the watchdog watches: something with at most one running call."""

    current_call: Call | None
    watched_until: float


class Watchdog:
    """A thread that expires calls whose deadline has passed. Started on first use, one per process."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._heap: list[tuple[float, int, Watched]] = []
        self._wake = threading.Condition()
        self._sequence = itertools.count()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def watch(self, target: Watched, call: Call) -> None:
        """Expire `call` at its deadline unless `target.current_call` is another one by then."""
        if self._pid != os.getpid():
            self._forget()  # threads do not survive a fork
        target.current_call = call
        if target.watched_until <= call.deadline:
            return  # an entry fires before that and will look again
        with self._wake:
            self._push(target, call.deadline)
            self._begin()

    def cancel(self, target: Watched, call: Call) -> bool:
        """Expire `call` before its deadline.

        Args:
            target: whose call it is.
            call: the call.

        Returns:
            Whether it is still running; it may end by itself before it is stopped.
        """
        if call.over:
            return False
        call.cancelled = True
        call.deadline = 0.0
        with self._wake:
            self._push(target, 0.0)
            self._begin()
        return True

    def _begin(self) -> None:
        """See to it that the thread looks at the heap."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="openenv-watchdog", daemon=True)
            self._thread.start()
        self._wake.notify()

    def _push(self, target: Watched, when: float) -> None:
        target.watched_until = when
        heapq.heappush(self._heap, (when, next(self._sequence), target))

    def _run(self) -> None:
        while True:
            overdue = self._next_overdue()
            if overdue is None:
                continue
            target, call = overdue
            if not call.expire():
                with self._wake:
                    self._push(target, time.monotonic() + _RETRY_S)

    def _next_overdue(self) -> tuple[Watched, Call] | None:
        with self._wake:
            while not self._heap:
                self._wake.wait()
            when, _, target = self._heap[0]
            now = time.monotonic()
            if when > now:
                self._wake.wait(min(when - now, threading.TIMEOUT_MAX))
                return None
            heapq.heappop(self._heap)
            if when != target.watched_until:
                return None  # an earlier entry of the same target took over
            target.watched_until = float("inf")
            call = target.current_call
            if call is None or call.deadline == math.inf:
                return None
            if call.deadline > now:
                self._push(target, call.deadline)
                return None
            return target, call


WATCHDOG = Watchdog()
"""The process's watchdog."""
