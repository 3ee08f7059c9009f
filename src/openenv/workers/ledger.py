"""Who holds how many of the server's session slots, and who waits for one.

One ledger in the supervisor counts for all workers, so the capacity is exact however sessions are spread, and
whoever waited longest gets the next slot whichever worker it came to.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from enum import StrEnum


class Answer(StrEnum):
    """What becomes of a request for a slot."""

    GRANTED = "granted"
    QUEUED = "queued"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Waiter:
    """Somebody who waits for a slot.

    Attributes:
        worker: number of the worker.
        number: what the worker calls its request.
    """

    worker: int
    number: int


class Ledger:
    """The slots of all workers.

    Args:
        max_sessions: slots.
        queue_size: how many may wait for one.

    Attributes:
        max_sessions: slots.
    """

    def __init__(self, max_sessions: int, queue_size: int) -> None:
        self.max_sessions = max_sessions
        self._queue_size = queue_size
        self._held: Counter[int] = Counter()
        self._queue: deque[Waiter] = deque()

    @property
    def active(self) -> int:
        """Slots taken."""
        return self._held.total()

    def held(self, worker: int) -> int:
        """Slots that a worker holds."""
        return self._held[worker]

    def take(self, waiter: Waiter, wait: bool) -> Answer:
        """Ask for a slot."""
        if self.active < self.max_sessions:
            self._held[waiter.worker] += 1
            return Answer.GRANTED
        if not wait or len(self._queue) >= self._queue_size:
            return Answer.REFUSED
        self._queue.append(waiter)
        return Answer.QUEUED

    def cancel(self, waiter: Waiter) -> None:
        """Somebody waits no longer."""
        if waiter in self._queue:
            self._queue.remove(waiter)

    def give_back(self, worker: int) -> Waiter | None:
        """A worker gives a slot back; returns who gets it now."""
        if self._held[worker] <= 0:
            return None
        self._held[worker] -= 1
        return self._next()

    def _next(self) -> Waiter | None:
        if not self._queue or self.active >= self.max_sessions:
            return None
        waiter = self._queue.popleft()
        self._held[waiter.worker] += 1
        return waiter

    def forget(self, worker: int) -> list[Waiter]:
        """A worker is gone, and its sessions with it; returns who gets their slots."""
        del self._held[worker]
        self._queue = deque(waiter for waiter in self._queue if waiter.worker != worker)
        served = []
        while (waiter := self._next()) is not None:
            served.append(waiter)
        return served
