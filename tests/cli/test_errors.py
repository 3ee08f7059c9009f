"""An error says what, why and the next command, on stderr."""

import errno
import re

import pytest

from openenv import errors
from openenv.cli import _errors
from openenv.cli.exit_codes import ExitCode


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("OPENENV_DEBUG", raising=False)
    monkeypatch.setattr(_errors, "_debug", False)


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        if cause is None:
            raise error
        try:
            raise cause
        except BaseException as below:
            raise error from below
    except BaseException as caught:
        return caught


def test_what_why_and_try(capsys: pytest.CaptureFixture[str]) -> None:
    error = raised(errors.EnvironmentFactoryError("Broken"), ValueError("no board"))
    assert _errors.report(error) is ExitCode.UNREACHABLE
    out, err = capsys.readouterr()
    assert out == ""
    what, why, try_ = err.splitlines()
    assert what == "error: Failed to create environment from Broken"
    assert re.fullmatch(r"  why: ValueError: no board  \(.*test_errors\.py:\d+\)", why)
    assert try_ == "  try: the same command with --debug   (shows the traceback)"


@pytest.mark.parametrize(
    ("error", "command"),
    [
        (errors.TargetError("x"), "openenv list"),
        (errors.MissingExtraError("pages", "gradio"), "pip install 'openenv[gradio]'"),
        (errors.AuthenticationError("x"), "OPENENV_TOKEN"),
        (errors.ServerUnreachableError("x"), "openenv serve TARGET"),
        (errors.SessionCapacityError(2, 2), "--max-sessions"),
        (errors.SessionLost("x"), "run the command again"),
        (OSError(errno.EADDRINUSE, "Address already in use"), "--port 0"),
        (ZeroDivisionError("x"), "--debug"),
    ],
)
def test_every_kind_names_a_next_command(
    error: BaseException, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _errors.report(error)
    assert command in "".join(line for line in capsys.readouterr().err.splitlines() if "try:" in line)


def test_a_defect_is_called_internal(capsys: pytest.CaptureFixture[str]) -> None:
    assert _errors.report(raised(KeyError("x"))) is ExitCode.INTERNAL
    err = capsys.readouterr().err
    assert err.startswith("internal error: KeyError: 'x'")
    assert "Traceback" not in err


def test_traceback_only_on_request(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENENV_DEBUG", "1")
    _errors.report(raised(errors.TargetError("nothing there")))
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_interrupt_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert _errors.report(KeyboardInterrupt()) is ExitCode.INTERRUPTED
    assert capsys.readouterr().err.strip() == "interrupted"


def test_an_error_text_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    _errors.report(errors.TargetError("evil \x1b[2Jtext"))
    assert "\x1b" not in capsys.readouterr().err
