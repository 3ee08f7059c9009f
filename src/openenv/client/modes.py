"""How an `EnvClient` tells whether it is used synchronously, and runs its coroutines without a loop then."""

from __future__ import annotations

import os
import sys
from collections.abc import Coroutine
from typing import Any

from openenv.errors import UsageError

MODES = ("simulation", "production")
MODE_VARIABLE = "OPENENV_CLIENT_MODE"


def checked_mode(mode: str | None) -> str:
    """The published `mode` argument, with its default from the environment.

    Raises:
        ValueError: there is no such mode.
    """
    asked = (os.environ.get(MODE_VARIABLE, "simulation") if mode is None else mode).lower()
    if asked not in MODES:
        raise ValueError(
            f"Invalid mode: '{asked}'. Must be 'simulation' or 'production'. "
            f"Set via constructor parameter or {MODE_VARIABLE} environment variable."
        )
    return asked


def running_loop() -> Any:
    """The event loop that runs in this thread, if any; where asyncio was never imported, none does."""
    running = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    return None if running is None else running()


def completed(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that blocks and never waits; return its value."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise UsageError("A synchronous client met code that needs an event loop; use it asynchronously")


def claimed(current: str | None, mode: str) -> str:
    """The mode of use after a use in `mode`; the first use decides.

    Raises:
        UsageError: the client is used in the other mode.
    """
    if current not in (None, mode):
        raise UsageError(
            f"EnvClient is already being used in {current} mode. "
            "Create a separate client instance when mixing sync and async code."
        )
    return mode
