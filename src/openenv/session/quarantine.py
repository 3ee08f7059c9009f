"""Threads whose environment did not come back from a call that was given up.

CPython cannot kill a thread. One that is stuck in C code or in a sleep stays until it returns; it holds
its environment, which is used no more. They are counted, and past a bound no further environment is
built, so that a hostile or broken environment cannot fill the machine with threads.
"""

from __future__ import annotations

import threading

from openenv.errors import SessionCreationError


class Quarantine:
    """Counts abandoned threads.

    Args:
        limit: how many there may be before new environments are refused.
    """

    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self._count = 0
        self._total = 0
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """Threads abandoned and not back yet."""
        return self._count

    @property
    def total(self) -> int:
        """Threads abandoned so far."""
        return self._total

    def enter(self) -> None:
        """A thread was abandoned."""
        with self._lock:
            self._count += 1
            self._total += 1

    def leave(self) -> None:
        """An abandoned thread came back."""
        with self._lock:
            self._count -= 1

    def check(self) -> None:
        """Refuse when too many threads are stuck.

        Raises:
            SessionCreationError: the limit is reached.
        """
        if self._count >= self.limit:
            raise SessionCreationError(
                f"{self._count} environments are stuck in calls that passed their deadline "
                f"(limit {self.limit}); new ones are refused until some return"
            )
