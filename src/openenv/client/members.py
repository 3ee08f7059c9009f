"""What outlives a connection: the sessions that can be taken up again on the next one.

A `Member` is one session with the token that proves whose it is. A `Patience` says how often and how long
a client tries to get back to its server before the sessions count as lost.
"""

from __future__ import annotations

import os
from typing import Any

MAX_CARRIES = 12
"""Connections that may break under one request before it counts as what breaks them."""

MOST_TAKEOVERS = 3
"""How often a session is taken back from another connection before that one is let have it."""

FINAL_CODES = frozenset((1003, 1008, 1009, 1010))
"""Close codes that mean the request, not the connection: it would end the next one, too."""

REFUSALS = frozenset(("CAPACITY_REACHED", "FACTORY_ERROR"))
"""Errors with which a server refuses a session on the plain protocol, whatever was asked of it."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 1.0


class Member:
    """One session as its client knows it.

    Args:
        session: id of the session, None while the server has not told it.
        own: whether the connection was opened for this session, so that requests need not name it.

    Attributes:
        token: what `resume` shows; None until the server has given one: the session then dies with its
            connection.
        lease_s: seconds that the server keeps the session without a connection.
        facts: what the server said last about the episode (`result` of the last reset or step), None
            where another call has come between.
        loss: the payload of the error that says why the session is gone, None while it lives.
    """

    __slots__ = ("_takeovers", "facts", "lease_s", "loss", "own", "session", "token")

    def __init__(self, session: str | None = None, *, own: bool = False) -> None:
        self.session = session
        self.own = own
        self.token: str | None = None
        self.lease_s = 0.0
        self.facts: dict[str, Any] | None = None
        self.loss: dict[str, Any] | None = None
        self._takeovers = 0

    def opened(self, data: Any) -> bool:
        """Take the data of an `opened` or `resumed` reply; False if they make no sense."""
        if not isinstance(data, dict):
            return False
        session, token, lease_s = data.get("session"), data.get("token"), data.get("lease_s")
        if not isinstance(session, str) or not isinstance(token, str) or not token:
            return False
        self.session, self.token = session, token
        if isinstance(lease_s, int | float):
            self.lease_s = float(lease_s)
        return True

    def note(self, kind: str, data: Any, facts: dict[str, Any] | None) -> None:
        """Take note of a reply: its type, its data, and its `result` where it has one."""
        self.facts = facts
        if kind == "error" and isinstance(data, dict) and data.get("session_fate") == "closed":
            self.loss = self.loss or data

    def contradiction(self, data: dict[str, Any], sent: int, pending: int | None) -> str | None:
        """What is wrong with a session that was resumed, None if it is the one that was left.

        Args:
            data: the data of the `resumed` reply.
            sent: highest request id that this client has used.
            pending: id of the first request that has no reply, None if all have: a session that has taken
                it may be ahead of what is known.
        """
        last = data.get("last_id")
        if isinstance(last, int) and last > sent:
            return f"it has taken request {last}, and this client has sent none beyond {sent}"
        facts = self.facts
        if facts is None or (pending is not None and (not isinstance(last, int) or last >= pending)):
            return None
        for known, told in (("episode_id", "episode_id"), ("step", "step_count")):
            before, now = facts.get(known), data.get(told)
            if before is not None and now is not None and before != now:
                return f"its {told} is {now!r} and was {before!r}"
        return None

    def taken_over(self) -> bool:
        """Note that another connection has the session now; whether to take it back."""
        self._takeovers += 1
        return self.token is not None and self._takeovers <= MOST_TAKEOVERS

    def lose(self, why: str) -> dict[str, Any]:
        """Note that the session is gone; return the payload of the error that says so."""
        if self.loss is None:
            self.loss = {
                "message": why,
                "code": "SESSION_LOST",
                "error": "SessionLost",
                "session_fate": "closed",
                "retryable": True,
            }
        return self.loss


class Patience:
    """Pauses between attempts to reconnect: none before the first, then longer and longer, at random.

    Args:
        now: `time.monotonic()`.
        limit_s: seconds after which nothing more is tried.
    """

    def __init__(self, now: float, limit_s: float) -> None:
        self.until = now + limit_s
        self._pause = 0.0

    def pause(self, now: float) -> float | None:
        """Seconds to wait before the next attempt; None if the time is over."""
        left = self.until - now
        if left <= 0:
            return None
        pause, self._pause = self._pause, min(_LONGEST_PAUSE_S, max(_FIRST_PAUSE_S, 2 * self._pause))
        # Thousands of clients of one server that was restarted shall not come back in step.
        return min(left, pause * (0.5 + int.from_bytes(os.urandom(2), "big") / 0x20000))
