"""Whether the sessions of an environment are fast enough to share a thread.

A thread of its own protects a session from the others and costs a wake-up per call, several times the price
of a quick step. Sessions of an environment whose calls have all been quick go to shared threads
(`openenv.session.shards`) instead. That is decided for each new session and never changed for a live one.
"""

from __future__ import annotations

SLOW_S = 0.002
"""A call that takes longer than this is slow: a hundred sessions of a shard wait for it."""

STALL_S = 0.05
"""A call that takes longer than this is a stall: anybody notices it."""

PROOF = 256
"""Calls in a row that prove an environment fast: at most one in `TOLERANCE` slow, and none a stall."""

TOLERANCE = 64

RARE = 4096
"""Calls among which a fast environment may have one stall, because a busy machine holds up a thread now and
then, and one slow call in `TOLERANCE`."""

MORE_PROOF = 16
"""How many times more calls it takes after an environment that had been proven fast was not."""

MOST_PROOF = 65536


class Pace:
    """What is known of an environment's speed. Counts may be off by a few: threads update them unlocked.

    Attributes:
        fast: whether the environment has proven fast.
    """

    __slots__ = ("_calls", "_needed", "_slow", "_stalled_at", "fast")

    def __init__(self) -> None:
        self.fast = False
        self._needed = PROOF
        self._calls = 0
        self._slow = 0
        self._stalled_at = -RARE

    def record(self, seconds: float) -> None:
        """Take one call into account: a step, a reset, the construction or the end of an environment.

        Args:
            seconds: its wall-clock duration.
        """
        self._calls += 1
        if seconds > SLOW_S:
            self._slow += 1
            if seconds > STALL_S:
                self._stall()
            elif self._slow > (RARE if self.fast else self._needed) // TOLERANCE:
                self.refuse()
        elif self._calls >= (RARE if self.fast else self._needed):
            self._stalled_at = self._stalled_at - self._calls if self.fast else -RARE
            self.fast = True
            self._calls = self._slow = 0

    def _stall(self) -> None:
        if self.fast and self._calls - self._stalled_at >= RARE:
            self._stalled_at = self._calls
        else:
            self.refuse()

    def refuse(self) -> None:
        """It is not fast: what has been proven counts no more, and the next proof takes longer."""
        if self.fast:
            self._needed = min(self._needed * MORE_PROOF, MOST_PROOF)
        self.fast = False
        self._calls = self._slow = 0
