"""Every error class has the exit code that the reference page promises."""

import errno
import inspect

import pytest

from openenv import errors
from openenv.cli.exit_codes import ExitCode, exit_code_for


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.TargetError("no"), ExitCode.USAGE),
        (errors.DefinitionError("no"), ExitCode.USAGE),
        (errors.ConcurrencyConfigurationError("env", 4), ExitCode.USAGE),
        (errors.MissingExtraError("pages", "gradio"), ExitCode.MISSING),
        (errors.AuthenticationError("no"), ExitCode.AUTHENTICATION),
        (errors.StepTimeoutError("late"), ExitCode.TIMEOUT),
        (errors.ServerUnreachableError("none"), ExitCode.UNREACHABLE),
        (errors.SessionLost("gone"), ExitCode.UNREACHABLE),
        (errors.SessionCapacityError(1, 1), ExitCode.UNREACHABLE),
        (errors.EnvironmentFactoryError("Env"), ExitCode.UNREACHABLE),
        (errors.EnvironmentFailedError("bad"), ExitCode.FAILED),
        (errors.InvalidActionError("bad"), ExitCode.FAILED),
        (PermissionError(errno.EACCES, "no"), ExitCode.MISSING),
        (FileNotFoundError(errno.ENOENT, "no"), ExitCode.USAGE),
        (ConnectionRefusedError(errno.ECONNREFUSED, "no"), ExitCode.UNREACHABLE),
        (OSError(errno.EADDRINUSE, "busy"), ExitCode.UNREACHABLE),
        (TimeoutError("late"), ExitCode.TIMEOUT),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
        (EOFError(), ExitCode.INTERRUPTED),
        (ZeroDivisionError("x"), ExitCode.INTERNAL),
        (OSError(errno.EIO, "disk"), ExitCode.INTERNAL),
    ],
)
def test_error_to_exit_code(error: BaseException, code: ExitCode) -> None:
    assert exit_code_for(error) is code


def test_every_error_class_of_the_tree_has_a_code_of_its_own_kind() -> None:
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    tree = [kind for kind in classes if issubclass(kind, errors.OpenEnvError)]
    assert len(tree) > 15
    for kind in tree:
        needed = [
            parameter
            for parameter in inspect.signature(kind).parameters.values()
            if parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        ]
        error = kind(*([1] * len(needed)))
        assert exit_code_for(error) not in (ExitCode.OK, ExitCode.INTERNAL, ExitCode.INTERRUPTED)


def test_numbers_are_the_published_ones() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "FAILED": 1,
        "USAGE": 2,
        "INTERNAL": 3,
        "UNREACHABLE": 4,
        "MISSING": 5,
        "AUTHENTICATION": 6,
        "TIMEOUT": 7,
        "INCONCLUSIVE": 8,
        "INTERRUPTED": 130,
    }
