"""The event loop on which a server's sessions are managed.

Under a server that runs the application's lifespan it is that server's loop. Where nobody runs a lifespan
(an application mounted inside another, a test client without ``with``, which starts a loop per request)
it is a loop in a background thread, so that sessions outlive the request that opened them. Work from any
other loop is carried home and awaited from there.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class HomeLoop:
    """Where a server's sessions are managed."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._finalizer: weakref.finalize[Any, HomeLoop] | None = None
        self._lock = threading.Lock()

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
            self._loop = None
            if self._finalizer is not None:
                self._finalizer()
                self._finalizer = None

    async def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine at home and return its value.

        Args:
            make: makes the coroutine; called at home.
        """
        loop = self._ensure()
        if loop is asyncio.get_running_loop():
            return await make()
        return await asyncio.wrap_future(self.start(make))

    def start(self, make: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Start a coroutine at home, whatever becomes of the caller; may be called from any thread."""
        return asyncio.run_coroutine_threadsafe(_call(make), self._ensure())

    def _ensure(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = _background_loop()
                self._finalizer = weakref.finalize(self, _stop, self._loop)
            return self._loop


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


def _stop(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_soon_threadsafe(loop.stop)
