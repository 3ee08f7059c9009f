"""Whether the sessions of an environment are fast enough to share a thread.

A thread of its own protects a session from the others and costs a wake-up per call, several times the price
of a quick step. Sessions of an environment whose calls have all been quick go to shared threads
(`openenv.session.shards`) instead. That is decided for each new session and never changed for a live one.
"""

from __future__ import annotations

SLOW_S = 0.002
"""A call that takes longer than this is slow: a hundred sessions of a shard wait for it."""

STALL_S = 0.05
"""A call that takes longer than this is a stall, which speaks against the environment by itself."""

PROOF = 256
"""Calls in a row that prove an environment fast: at most one in `TOLERANCE` slow, and none a stall."""

TOLERANCE = 64

MORE_PROOF = 16
"""How many times more calls it takes after each stall of an environment that had been proven fast."""


class Pace:
    """What is known of an environment's speed. Counts may be off by a few: threads update them unlocked.

    Attributes:
        fast: whether the environment has proven fast.
    """

    __slots__ = ("_calls", "_needed", "_slow", "fast")

    def __init__(self) -> None:
        self.fast = False
        self._needed = PROOF
        self._calls = 0
        self._slow = 0

    def record(self, seconds: float) -> None:
        """Take one call into account: a step, a reset, the construction or the end of an environment.

        Args:
            seconds: its wall-clock duration.
        """
        if seconds > SLOW_S:
            self._slow += 1
            if seconds > STALL_S:
                self.stalled()
                return
        elif self.fast:
            return
        self._calls += 1
        if self._slow > max(self._calls, self._needed) // TOLERANCE:
            self._refuse()
        elif self._calls >= self._needed:
            self.fast = True
            self._calls = self._slow = 0

    def stalled(self) -> None:
        """A call took so long that others had to wait."""
        if self.fast:
            self._needed *= MORE_PROOF
        self._refuse()

    def _refuse(self) -> None:
        self.fast = False
        self._calls = self._slow = 0
