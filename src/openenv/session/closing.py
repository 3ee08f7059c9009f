"""Closing an environment: whatever its `close` does, nobody waits for it and nothing is raised."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any

from openenv.session.deadline import Abandoned, Interrupted

logger = logging.getLogger("openenv.session")
_closing: set[asyncio.Task[None]] = set()


def close_environment(env: Any, session_id: str) -> None:
    """Call an environment's `close`; what it raises is logged, for nobody waits for it any more."""
    close = getattr(env, "close", None)
    if close is None:
        return
    try:
        answer = close()
        if inspect.isawaitable(answer):
            _finish_close(answer, session_id)
    except (Exception, Interrupted, SystemExit):  # Boundary: the environment's own code.
        logger.warning("close() of the environment of session %s raised", session_id, exc_info=True)


def _finish_close(answer: Any, session_id: str) -> None:
    async def wait() -> None:
        try:
            await answer
        except Exception:  # Boundary: the environment's own code.
            logger.warning("close() of the environment of session %s raised", session_id, exc_info=True)

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(wait())
    else:
        task = loop.create_task(wait())
        _closing.add(task)
        task.add_done_callback(_closing.discard)


def close_after(task: asyncio.Task[Any], env: Any, session_id: str) -> None:
    """Close what a timed-out coroutine leaves behind, once it is over."""
    gone = None if task.cancelled() else task.exception()
    if env is None and isinstance(gone, Abandoned):
        env = gone.environment
    if env is not None:
        close_environment(env, session_id)
