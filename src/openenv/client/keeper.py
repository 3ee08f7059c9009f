"""One background thread per process that looks after idle synchronous connections.

Servers ping their clients (uvicorn every 20 s) and hang up on those that do not answer. A blocking client
reads only while it waits for a reply; between two calls, while a policy thinks or a trainer trains, the
keeper reads for it. It looks at each open connection every few seconds, never waits for a busy one, and
ends when no connection is left.
"""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakSet

ROUND_S = 5.0
"""Seconds between two rounds: a quarter of the pause after which uvicorn hangs up."""


class Attended(Protocol):
    """A connection that the keeper looks after."""

    def attend(self) -> None:
        """Answer what came; never block."""


class Keeper:
    """Looks after connections from a daemon thread that runs only while there are any."""

    def __init__(self, round_s: float = ROUND_S) -> None:
        self._round_s = round_s
        self._clear()

    def _clear(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._watched: WeakSet[Attended] = WeakSet()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether the thread exists."""
        return self._thread is not None

    def watch(self, connection: Attended) -> None:
        """Look after a connection until it is forgotten or garbage-collected."""
        if self._pid != os.getpid():
            self._clear()  # a forked child has neither the thread nor its parent's connections
        with self._lock:
            self._watched.add(connection)
            if self._thread is None:
                self._wake = threading.Event()
                self._thread = threading.Thread(
                    target=self._rounds, args=(self._wake,), name="openenv-keeper", daemon=True
                )
                self._thread.start()

    def forget(self, connection: Attended) -> None:
        """Look after a connection no longer."""
        if self._pid != os.getpid():
            return
        with self._lock:
            self._watched.discard(connection)
            if not self._watched:
                self._wake.set()
                self._thread = None

    def _rounds(self, wake: threading.Event) -> None:
        while not wake.wait(self._round_s):
            if not self._go_round(wake):
                return

    def _go_round(self, wake: threading.Event) -> bool:
        """Look at every connection once; False when there was none and the thread has signed off."""
        with self._lock:
            connections = list(self._watched)
            if not connections and self._wake is wake:
                self._thread = None
                return False
        for connection in connections:
            connection.attend()
        return True


KEEPER = Keeper()
