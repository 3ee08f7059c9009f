"""A worker process: makes the calls of its share of a pool's slots, batch after batch.

One frame of calls wakes it; it makes them one after another and answers with one frame, or with more when
the calls take their time, so that results arrive as they are there. Sessions that need a thread or a loop
of their own answer from there. The process ends when its pool is gone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

from openenv.pool.calls import Answer, Call
from openenv.pool.channel import Channel
from openenv.pool.frames import ResultWriter, decode_calls
from openenv.pool.seats import Seats

if TYPE_CHECKING:
    from openenv.client.embedded import HostKind
    from openenv.environment import EnvironmentSpec
    from openenv.session import Limits

FLUSH_S = 0.005
"""How long an answer waits for others of its batch."""
_PR_SET_PDEATHSIG = 1


class Worker:
    """One worker's share of a pool.

    Args:
        link: socket to the pool.
        spec: the environment.
        host: where its sessions run.
        limits: bounds on top of the author's.
    """

    def __init__(
        self, link: socket.socket, spec: EnvironmentSpec, host: HostKind | None, limits: Limits | None
    ) -> None:
        self._channel = Channel(link)
        self._writer = ResultWriter(spec)
        self._lock = threading.Lock()
        self._spec, self._host, self._limits = spec, host, limits

    def serve(self, slots: list[int]) -> None:
        """Make calls until the pool is gone or says goodbye, then close every environment."""
        seats = Seats(self._spec, slots, host=self._host, limits=self._limits)
        try:
            while frame := self._channel.recv():
                free, new, drop, calls = decode_calls(frame)
                with self._lock:
                    self._blocks(free, new, drop)
                if seats.inline:
                    self._make(seats, calls)
                else:
                    for call in calls:
                        seats.post(call, self._report)
        except OSError:
            pass  # the pool is gone
        finally:
            seats.close()

    def _blocks(self, free: list[int], new: list[int], drop: list[int]) -> None:
        arrays = self._writer.arrays
        for number in new:
            arrays.add(number, self._channel.descriptors.popleft())
        for number in free:
            arrays.free(number)
        for number in drop:
            arrays.drop(number)

    def _make(self, seats: Seats, calls: list[Call]) -> None:
        run, add = seats.run, self._writer.add
        flush_at = time.monotonic() + FLUSH_S
        for call in calls:
            add(call.slot, run(call))
            if time.monotonic() >= flush_at:
                self._channel.send(self._writer.frame())
                flush_at = time.monotonic() + FLUSH_S
        if self._writer.count:
            self._channel.send(self._writer.frame())

    def _report(self, slot: int, answer: Answer) -> None:
        """Answer from a session's own thread."""
        with self._lock:
            self._writer.add(slot, answer)
            try:
                self._channel.send(self._writer.frame())
            except OSError:
                return  # the pool is gone; the main thread finds out by itself


def become_worker(parent: int) -> None:
    """Settle in as a process of its own: group, end with the nursery, generators of its own.

    Args:
        parent: process id of the nursery.
    """
    os.setpgid(0, 0)  # Ctrl-C at a terminal is for the pool; and what this process starts ends with it
    end_with_parent(parent)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    from openenv.pool.arrays import numpy_loaded

    numpy = numpy_loaded()
    if numpy is not None:
        numpy.random.seed()  # else every worker would draw the same from the global generator


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, whatever ends it."""
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (OSError, AttributeError):  # not Linux: the closed socket ends it
        return
    if os.getppid() != parent:
        os._exit(1)
