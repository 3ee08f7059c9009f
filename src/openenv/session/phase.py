"""The states of a session and the calls that each allows.

::

    new ──reset──> ready ──step──> ready ... ──step──> ended ──reset──> ready
     │               │                                   │
     │               └──deadline passed──> needs_reset ──┴──reset──> ready  (on a fresh environment)
     └──────────────────────────close, from anywhere──> closed

While a call runs, the session is busy and refuses another one: calls are made one at a time.
"""

from __future__ import annotations

from enum import StrEnum

from openenv.errors import OrderError


class Phase(StrEnum):
    """Where a session stands between calls."""

    NEW = "new"
    """The environment exists and has not been reset."""
    READY = "ready"
    """An episode runs and waits for a step."""
    ENDED = "ended"
    """The episode terminated or was truncated."""
    NEEDS_RESET = "needs_reset"
    """A deadline passed or a reset failed: the environment is gone, the next reset builds another."""
    CLOSED = "closed"
    """The end; every call is refused."""


_EXPECTED = {
    Phase.NEW: "reset() first",
    Phase.READY: "step() or reset()",
    Phase.ENDED: "reset(), for the episode ended",
    Phase.NEEDS_RESET: "reset(), for the environment was replaced",
    Phase.CLOSED: "nothing, for the session is closed",
}


def order_error(phase: Phase, call: str, *, detail: str = "") -> OrderError:
    """The error for `call` in a phase that does not allow it; quotes expected and actual."""
    expected = _EXPECTED[phase]
    message = f"{call}() in phase '{phase}': expected {expected}" + (f" ({detail})" if detail else "")
    error = OrderError(message, expected=expected, actual=call)
    error.session_fate = {
        Phase.CLOSED: "closed",
        Phase.NEEDS_RESET: "needs_reset",
    }.get(phase, "alive")
    return error
