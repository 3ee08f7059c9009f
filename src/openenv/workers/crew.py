"""The worker processes, as the supervisor sees them.

A worker is started as a fresh interpreter: it loads the code as it is now, which is what a rolling restart is
for, and inherits no thread, lock or connection. It gets one end of a channel and nothing else. When the
supervisor dies, the channel ends and the kernel signals the worker (`PR_SET_PDEATHSIG`); when the worker
dies, its end of the channel closes.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from openenv.workers.channel import Channel, pair

MAX_REMEMBERED = 2048
"""Sessions and addresses of plain HTTP clients that are remembered for each worker."""

_EXPECTED_S = 1.0
_BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_STEADY_S = 30.0


class State(Enum):
    """Where a worker stands."""

    STARTING = "starting"
    READY = "ready"
    RETIRING = "retiring"
    """It gets no connections but those that name its sessions, and ends when they do."""


@dataclass(eq=False, slots=True)
class Worker:
    """One worker process.

    Attributes:
        number: its number, never used again.
        slot: its place, which another worker takes when it is gone.
        process: the process.
        channel: our end of its channel.
        state: where it stands.
        started_at: `time.monotonic()` of its start.
        addresses: clients whose requests without a session's name were sent to it.
        graves: sessions of plain HTTP clients and their addresses, to be told to its successor.
        last_served: when it last got a connection, as a count.
    """

    number: int
    slot: Slot
    process: subprocess.Popen[bytes]
    channel: Channel
    state: State = State.STARTING
    started_at: float = field(default_factory=time.monotonic)
    addresses: dict[str | None, None] = field(default_factory=dict)
    graves: dict[str, str | None] = field(default_factory=dict)
    last_served: int = 0
    _expected: deque[float] = field(default_factory=deque)

    @property
    def expected(self) -> int:
        """Connections handed over a moment ago that will ask for a session."""
        soon = time.monotonic() - _EXPECTED_S
        while self._expected and self._expected[0] < soon:
            self._expected.popleft()
        return len(self._expected)

    def expect(self) -> None:
        """A connection was handed over that will ask for a session."""
        self._expected.append(time.monotonic())

    def arrived(self) -> None:
        """A session was asked for."""
        if self._expected:
            self._expected.popleft()

    def remember_address(self, address: str | None) -> None:
        """Note that this client's requests without a name go here."""
        self.addresses[address] = None
        while len(self.addresses) > MAX_REMEMBERED:
            del self.addresses[next(iter(self.addresses))]

    def remember_session(self, session_id: str, address: str | None) -> None:
        """Note that a plain HTTP client has a session here."""
        self.graves[session_id] = address
        while len(self.graves) > MAX_REMEMBERED:
            del self.graves[next(iter(self.graves))]

    def terminate(self) -> None:
        """Ask it to drain and end."""
        if self.process.poll() is None:
            self.process.terminate()

    def kill(self) -> None:
        """End it now."""
        if self.process.poll() is None:
            self.process.kill()


@dataclass(eq=False, slots=True)
class Slot:
    """A worker's place.

    Attributes:
        worker: who serves there now, if anybody does.
        graves: lost sessions of plain HTTP clients that whoever serves there next is told of.
        failures: workers in a row that did not live long.
    """

    worker: Worker | None = None
    graves: dict[str, str | None] = field(default_factory=dict)
    failures: int = 0

    def delay_s(self, lived_s: float) -> float:
        """Seconds until the next worker is started, after one that lived so long died."""
        self.failures = 0 if lived_s > _STEADY_S else self.failures + 1
        return _BACKOFF_S[min(max(self.failures - 1, 0), len(_BACKOFF_S) - 1)]


def start(command: Sequence[str], number: int, slot: Slot, config: Mapping[str, Any]) -> Worker:
    """Start a worker.

    Args:
        command: the program; the descriptor of its end of the channel is appended.
        number: its number.
        slot: its place.
        config: what it is told first.
    """
    ours, theirs = pair()
    with theirs:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [*command, str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
        )
    channel = Channel(ours)
    channel.send({"do": "start", "number": number, **config})
    return Worker(number, slot, process, channel)


def how_it_ended(process: subprocess.Popen[bytes]) -> str:
    """How a process ended, in words."""
    status = process.poll()
    if status is None:
        return "closed its channel"
    if status < 0:
        try:
            return f"was killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"was killed by signal {-status}"
    return f"exited with status {status}"
