"""The event loop on which a server's sessions are managed.

Under a server that runs the application's lifespan it is that server's loop. Where nobody runs a lifespan
(an application mounted inside another, a test client without ``with``, which starts a loop per request)
it is a loop in a background thread, so that sessions outlive the request that opened them. Work from any
other loop is carried home and awaited from there. The background thread ends by itself when it has had
nothing to do for a moment: nobody tells such an application that it is no longer needed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

IDLE_S = 1.0
"""Seconds between two looks at a background loop; idle at two of them, it ends."""


class HomeLoop:
    """Where a server's sessions are managed.

    Args:
        busy: whether something lives on the loop beyond the coroutines given to it; asked on the loop.
        idle_s: seconds between two looks at a background loop, which ends when it is idle at two of them.
    """

    def __init__(self, busy: Callable[[], bool] = lambda: False, idle_s: float = IDLE_S) -> None:
        self._busy = busy
        self._idle_s = idle_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ours = False  # whether the loop runs in our background thread
        self._errands = 0  # coroutines under way
        self._lock = threading.RLock()

    @property
    def known(self) -> bool:
        """Whether the loop has been chosen."""
        return self._loop is not None

    def adopt(self) -> bool:
        """Make the running loop the home, unless there is one already.

        Returns:
            Whether the running loop is the home now.
        """
        running = asyncio.get_running_loop()
        with self._lock:
            if self._loop is None:
                self._loop = running
            return self._loop is running

    def leave(self) -> None:
        """Forget the home, which ends; the next one is chosen anew."""
        with self._lock:
            loop, self._loop = self._loop, None
            ours, self._ours = self._ours, False
        if ours and loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    async def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine at home and return its value.

        Args:
            make: makes the coroutine; called at home.
        """
        if self._loop is asyncio.get_running_loop():
            return await make()
        return await asyncio.wrap_future(self.start(make))

    def start(self, make: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Start a coroutine at home, whatever becomes of the caller; may be called from any thread."""
        with self._lock:  # the loop must not end between its choice and the coroutine's arrival
            future = asyncio.run_coroutine_threadsafe(_call(make), self._chosen())
            self._errands += 1
        future.add_done_callback(self._came_back)
        return future

    def _came_back(self, errand: Future[Any]) -> None:
        with self._lock:
            self._errands -= 1

    def _chosen(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = _background_loop()
            self._ours = True
            self._loop.call_soon_threadsafe(self._look, self._loop, False)
        return self._loop

    def _look(self, loop: asyncio.AbstractEventLoop, was_idle: bool) -> None:
        """End the background loop if it is idle now and was so at the last look."""
        with self._lock:
            idle = not self._errands and not self._busy()
            if idle and was_idle and self._loop is loop:
                self.leave()
                return
        loop.call_later(self._idle_s, self._look, loop, idle)


async def _call(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return await make()


def _background_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            _finish(loop)
        finally:
            loop.close()

    threading.Thread(target=run, name="openenv-home", daemon=True).start()
    return loop


def _finish(loop: asyncio.AbstractEventLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
