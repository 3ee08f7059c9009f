"""Exit codes of every `openenv` command, and the one place where exceptions become exit codes.

The numbers are a public contract (docs/reference/cli.md): scripts branch on them.
"""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openenv.errors import MissingExtraError


class ExitCode(IntEnum):
    """What the process's exit status means."""

    OK = 0
    """The command did what was asked."""
    FAILED = 1
    """It ran, and what it looked at failed: a check, an episode, an environment's own code."""
    USAGE = 2
    """The command line, the TARGET or the environment's definition is wrong; nothing ran."""
    INTERNAL = 3
    """A defect in OpenEnv."""
    UNREACHABLE = 4
    """The environment or the server could not be started, reached or kept."""
    MISSING = 5
    """A dependency or a permission is missing."""
    AUTHENTICATION = 6
    """The server wants a token, or another one."""
    TIMEOUT = 7
    """A deadline passed."""
    INCONCLUSIVE = 8
    """Nothing failed, but something could not be looked at."""
    INTERRUPTED = 130
    """Ctrl-C."""


_NO_SERVER = {errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH}


def exit_code_for(error: BaseException) -> ExitCode:
    """The exit code that tells a script what `error` was.

    Args:
        error: what a command raised.

    Returns:
        The first match, from the most specific class of `openenv.errors` to the most general.
    """
    from openenv import errors

    if isinstance(error, (KeyboardInterrupt, EOFError)):
        return ExitCode.INTERRUPTED
    if missing_extra(error) is not None:
        return ExitCode.MISSING
    table: tuple[tuple[type[BaseException], ExitCode], ...] = (
        (errors.AuthenticationError, ExitCode.AUTHENTICATION),
        (errors.StepTimeoutError, ExitCode.TIMEOUT),
        (errors.InfrastructureError, ExitCode.UNREACHABLE),
        (errors.UsageError, ExitCode.USAGE),
        (errors.OpenEnvError, ExitCode.FAILED),
        (PermissionError, ExitCode.MISSING),
        (TimeoutError, ExitCode.TIMEOUT),
        (ConnectionError, ExitCode.UNREACHABLE),
        (FileNotFoundError, ExitCode.USAGE),
        (FileExistsError, ExitCode.USAGE),
    )
    for kind, code in table:
        if isinstance(error, kind):
            return code
    if isinstance(error, OSError) and error.errno in _NO_SERVER:
        return ExitCode.UNREACHABLE
    return ExitCode.INTERNAL


def missing_extra(error: BaseException) -> MissingExtraError | None:
    """The missing extra behind `error`, if that is what it comes from."""
    from openenv.errors import MissingExtraError

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MissingExtraError):
            return cause
        cause = cause.__cause__
    return None
