"""How an error looks on the terminal: what happened, why, and the next command.

Tracebacks are for those who ask: `--debug` or `OPENENV_DEBUG=1`.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from pathlib import Path

from openenv.cli._output import note, paint, printable
from openenv.cli.exit_codes import ExitCode, exit_code_for, missing_extra

_TRACEBACK = "the same command with --debug   (shows the traceback)"

_debug = False


def enable_debug() -> None:
    """Show tracebacks from now on in this process."""
    global _debug
    _debug = True


def debugging() -> bool:
    """Whether tracebacks are shown."""
    return _debug or os.environ.get("OPENENV_DEBUG", "") not in ("", "0")


def report(error: BaseException) -> ExitCode:
    """Print `error` for a person, on stderr.

    Returns:
        The exit code that goes with it.
    """
    code = exit_code_for(error)
    if code is ExitCode.INTERRUPTED:
        note("\ninterrupted")
        return code
    if debugging():
        note("".join(traceback.format_exception(error)).rstrip())
    label = "internal error" if code is ExitCode.INTERNAL else "error"
    _field(label, what(error, code), "bold", "red")
    for cause in _causes(error):
        _field("  why", cause, "dim")
    for command in next_commands(error, code):
        _field("  try", command, "bold")
    return code


def what(error: BaseException, code: ExitCode) -> str:
    """One sentence that says what happened."""
    text = str(error).strip()
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror + (f": {error.filename}" if error.filename else "")
    if code is ExitCode.INTERNAL:
        return f"{type(error).__name__}: {text}".rstrip(": ")
    return text or type(error).__name__


def next_commands(error: BaseException, code: ExitCode) -> list[str]:
    """What the user can do now, most useful first."""
    from openenv import errors

    own: list[str] | None = getattr(error, "next_commands", None)
    if own:
        return own
    missing = missing_extra(error)
    if missing is not None:
        return [f"pip install 'openenv[{missing.extra}]'"]
    if isinstance(error, errors.SessionCapacityError):
        return [
            f"wait {error.retry_after:g} s",
            "openenv serve TARGET --max-sessions N   (gives the server more room)",
        ]
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return ["openenv serve TARGET --port 0   (takes a free port)"]
    advice: dict[type[BaseException], list[str]] = {
        errors.AuthenticationError: ["--token TOKEN, or export OPENENV_TOKEN=TOKEN"],
        errors.ServerUnreachableError: ["openenv serve TARGET, then use the URL it prints"],
        errors.SessionLost: ["run the command again: the episode is gone and was not continued"],
        errors.TargetError: _for_target(error),
        errors.EnvironmentFactoryError: [_TRACEBACK],
        errors.EnvironmentFailedError: [_TRACEBACK],
    }
    for kind, commands in advice.items():
        if isinstance(error, kind):
            return commands
    if code is ExitCode.INTERNAL:
        return [f"{_TRACEBACK}, and report it", "openenv doctor"]
    return []


def _for_target(error: BaseException) -> list[str]:
    if error.__cause__ is not None:
        return [_TRACEBACK]
    return [] if "did you mean" in str(error).lower() else ["openenv list", "openenv init NAME"]


def _causes(error: BaseException) -> list[str]:
    """The chain below `error`, each with the place in the code that raised it."""
    causes: list[str] = []
    cause = error.__cause__
    while cause is not None and len(causes) < 3:
        text = f"{type(cause).__name__}: {cause}".rstrip(": ").splitlines()[0]
        place = _place(cause)
        line = f"{text}  ({place})" if place else text
        if str(cause) and str(cause) not in str(error):
            causes.append(line)
        cause = cause.__cause__
    return causes


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    file = Path(frames[-1].filename)
    try:
        shown = file.relative_to(Path.cwd())
    except ValueError:
        shown = file
    return f"{shown}:{frames[-1].lineno}"


def _field(label: str, text: str, *styles: str) -> None:
    first, *rest = printable(text).splitlines() or [""]
    note(f"{paint(label + ':', *styles, stream=sys.stderr)} {first}")
    for line in rest:
        note(f"    {line}")
