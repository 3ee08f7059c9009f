"""The published action, observation and state of the coding environment."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from openenv.types import Action, Observation, State


class CodeAction(Action):
    """Run Python code in the session.

    Attributes:
        code: any Python; names, imports and files stay for the next action.
        metadata: ``{"submit": true}`` hands the code in as the solution of a task instead of running it.
    """

    code: str


class CodeObservation(Observation):
    """What running the code came to.

    Attributes:
        stdout: what it printed; then the value of a last bare expression, as JSON where it has such a form.
        stderr: what it wrote there; holds the traceback.
        exit_code: 0; 1 after an exception; what `sys.exit` was called with; 124 after a timeout; 137 if it
            was killed.
    """

    stdout: str = ""
    stderr: str = ""
    exit_code: int = 0


class CodeState(State):
    """What callers may see.

    Attributes:
        last_exit_code: exit code of the last code that ran.
        step: the same as `step_count`.
        last_action: the last action, without its metadata; None before the first.
        stdout: standard output of the last code that ran.
    """

    last_exit_code: int = 0
    step: int = Field(default=0, ge=0)
    last_action: dict[str, Any] | None = None
    stdout: str = ""
