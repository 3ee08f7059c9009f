"""A pool without workers: its sessions run in this process."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from openenv.errors import InfrastructureError
from openenv.pool.calls import Answer, Arrival, BackendStatistics, Call
from openenv.pool.seats import Seats
from openenv.pool.signal import Signal

if TYPE_CHECKING:
    from openenv.client.embedded import HostKind
    from openenv.environment import EnvironmentSpec
    from openenv.session import Limits

_TURN_S = 0.005
"""How long `pump` makes calls before it hands out what it has."""


class InlineBackend:
    """Sessions in this process, on the thread that calls `pump` or on hosts of their own."""

    def __init__(
        self, spec: EnvironmentSpec, count: int, *, host: HostKind | None = None, limits: Limits | None = None
    ) -> None:
        self._seats = Seats(spec, range(count), host=host, limits=limits, interactive=True)
        self.stoppable = not self._seats.inline
        self._waiting: deque[Call] = deque()
        self._done: deque[Arrival] = deque()
        self._signal = Signal()

    def fileno(self) -> int:
        """Readable while a call waits or has been answered."""
        return self._signal.fileno()

    def submit(self, calls: Sequence[Call], together: bool = False) -> None:
        """Queue the calls, or post them to their hosts."""
        if self._seats.inline:
            self._waiting.extend(calls)
            self._signal.set()
            return
        for call in calls:
            self._seats.post(call, self._report)

    def _report(self, slot: int, answer: Answer) -> None:
        self._done.append((slot, answer))
        self._signal.set()

    def pump(self) -> list[Arrival]:
        """Make calls for a few milliseconds; return those answered."""
        self._signal.clear()
        waiting, done = self._waiting, self._done
        if waiting:
            self._make()
            if waiting:
                self._signal.set()
        arrivals: list[Arrival] = []
        while done:
            arrivals.append(done.popleft())
        return arrivals

    def _make(self) -> None:
        turn_ends = time.monotonic() + _TURN_S
        while self._waiting:
            call = self._waiting.popleft()
            try:
                answer = self._seats.run(call)
            except (
                BaseException
            ):  # Boundary: Ctrl-C in the middle of a call, whose slot is answered all the same.
                why = f"{call.kind}() of slot {call.slot} was interrupted"
                self._report(call.slot, InfrastructureError(why))
                raise
            self._done.append((call.slot, answer))
            if time.monotonic() > turn_ends:
                return

    def alarm(self) -> float | None:
        """Nothing is due by the clock."""
        return None

    def action_schema(self) -> dict[str, Any]:
        """The JSON Schema of an action."""
        return self._seats.spec.action_schema()

    @property
    def pids(self) -> list[int]:
        """There are no workers."""
        return []

    def statistics(self) -> BackendStatistics:
        """Nothing beside the sessions."""
        return BackendStatistics()

    def close(self) -> None:
        """Close every environment."""
        self._waiting.clear()
        self._seats.close()
        self._signal.close()

    def __repr__(self) -> str:
        return f"{self._seats.spec.name} in process {os.getpid()}"
