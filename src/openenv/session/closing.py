"""Closing an environment: whatever its `close` does, nobody waits for it and nothing is raised."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any

from openenv.session.deadline import Interrupted

logger = logging.getLogger("openenv.session")
_closing: set[asyncio.Task[None]] = set()


def close_environment(env: Any, place: str) -> None:
    """Call an environment's `close`; what it raises is logged, for nobody waits for it any more.

    Args:
        env: the environment.
        place: what the log calls its session; ids are secrets, so never a whole one.
    """
    close = getattr(env, "close", None)
    if close is None:
        return
    try:
        answer = close()
        if inspect.isawaitable(answer):
            _finish_close(answer, place)
    except (Exception, Interrupted, SystemExit):  # Boundary: the environment's own code.
        logger.warning("close() of the environment of %s raised", place, exc_info=True)


def _finish_close(answer: Any, place: str) -> None:
    async def wait() -> None:
        try:
            await answer
        except Exception:  # Boundary: the environment's own code.
            logger.warning("close() of the environment of %s raised", place, exc_info=True)

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(wait())
    else:
        task = loop.create_task(wait())
        _closing.add(task)
        task.add_done_callback(_closing.discard)


def close_after(task: asyncio.Task[Any], env: Any, place: str) -> None:
    """Close the environment of a call that was given up, once its coroutine is over."""
    if not task.cancelled():
        task.exception()  # looked at, so that nobody is told that it never was
    close_environment(env, place)
