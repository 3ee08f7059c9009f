"""Running the command line: in this process, or as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from openenv.cli import _errors
from openenv.cli.__main__ import app

Invoke = Callable[..., Result]


@pytest.fixture(autouse=True)
def _plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No colour, wide lines, no debugging left over from another test."""
    for name in ("FORCE_COLOR", "OPENENV_DEBUG", "OPENENV_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("OPENENV_MODE", "simulation")
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    monkeypatch.setattr(_errors, "_debug", False)


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """`invoke("list", "--json")` in an empty working folder; stdin is no terminal."""
    monkeypatch.chdir(tmp_path)

    def run(*argv: str, stdin: str = "") -> Result:
        return CliRunner().invoke(app, list(argv), input=stdin)

    return run


def openenv(
    *argv: str, cwd: Path | None = None, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m openenv.cli` in a process of its own."""
    environment = {
        key: value for key, value in os.environ.items() if key not in ("FORCE_COLOR", "OPENENV_DEBUG")
    }
    return subprocess.run(
        [sys.executable, "-m", "openenv.cli", *argv],
        input=stdin,
        cwd=cwd,
        env={**environment, "NO_COLOR": "1", **variables},
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
