"""A flag that one thread sets and another polls by file descriptor."""

from __future__ import annotations

import os
import threading


class Signal:
    """A descriptor that is readable while the flag is set. Setting it twice costs one system call."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._set = False

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def set(self) -> None:
        """Set the flag; may be called from any thread, also after `close`."""
        with self._lock:
            if not self._set and self._descriptor >= 0:
                self._set = True
                os.eventfd_write(self._descriptor, 1)

    def clear(self) -> None:
        """Take the flag down; what was done before `set` is visible after this returns."""
        with self._lock:
            if self._set:
                self._set = False
                os.eventfd_read(self._descriptor)

    def close(self) -> None:
        """Close the descriptor."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
                self._set = False
