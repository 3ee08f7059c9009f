"""Sandboxes made ahead, so that taking one costs a fraction of a millisecond."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from typing import Any, Self

from openenv.errors import SandboxError, SandboxOptionError

from .sandbox import Sandbox

_PATIENCE_S = 0.005
"""Before a taken sandbox is replaced: its user is about to run something and goes first."""


class SandboxPool:
    """Keeps `size` unused sandboxes of one kind ready; every one is used once.

    Args:
        size: how many to keep ready.
        **options: as of `Sandbox.create`.

    Raises:
        SandboxOptionError: an option makes no sense.
        SandboxError: the first sandbox could not be made.
    """

    def __init__(self, size: int = 4, **options: Any) -> None:
        if size < 1:
            raise SandboxOptionError(f"size: expected a number of at least 1, got {size!r}", option="size")
        self._options = options
        self._size = size
        self._ready: collections.deque[Sandbox] = collections.deque([Sandbox.create(**options)])
        self._wanted = threading.Event()
        self._wanted.set()
        self._open = True
        self._thread = threading.Thread(target=self._fill, name="openenv-sandbox-pool", daemon=True)
        self._thread.start()

    def acquire(self) -> Sandbox:
        """An unused sandbox, yours to kill; made now if none is ready.

        Raises:
            SandboxError: the pool is closed, or a sandbox could not be made.
        """
        if not self._open:
            raise SandboxError("the pool is closed")
        while True:
            try:
                sandbox = self._ready.popleft()
            except IndexError:
                return Sandbox.create(**self._options)
            finally:
                self._wanted.set()
            if sandbox.alive:
                return sandbox
            sandbox.kill()

    @property
    def ready(self) -> int:
        """How many are ready now."""
        return len(self._ready)

    def close(self) -> None:
        """Kill the unused ones; sandboxes that were taken live on."""
        self._open = False
        self._wanted.set()
        self._thread.join()
        while self._ready:
            self._ready.popleft().kill()

    def _fill(self) -> None:
        while self._open:
            self._wanted.wait()
            self._wanted.clear()
            time.sleep(_PATIENCE_S)
            while self._open and len(self._ready) < self._size:
                # A failure shows where a sandbox is asked for; here it only means that none is ready.
                with contextlib.suppress(SandboxError):
                    made = Sandbox.create(**self._options)
                    made.session.warm_up()
                    self._ready.append(made)
                    continue
                break

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
