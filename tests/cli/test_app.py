"""The application: help, version, laziness, completion, and the boundary of errors."""

from __future__ import annotations

import json
import os
import pty
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from openenv.cli.__main__ import Commands

from .conftest import Invoke, openenv

HEAVY = (
    "fastapi starlette uvicorn websockets pydantic msgspec numpy yaml asyncio httpx gradio openenv.server "
    "openenv.client openenv.session openenv.environment openenv.catalog"
).split()

MODULES_AFTER = """
import contextlib, io, json, sys
sys.argv = ["openenv", *sys.argv[1:]]
from openenv.cli.__main__ import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    main()
print(json.dumps(sorted(sys.modules)))
"""


def modules_after(*argv: str, **variables: str) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-c", MODULES_AFTER, *argv],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **variables},
    )
    return set(json.loads(run.stdout))


@pytest.mark.parametrize(
    "argv", [("--help",), ("--version",), ("serve", "--help"), ("init", "-h"), ("list", "-h")]
)
def test_help_imports_no_environment_and_no_server(argv: tuple[str, ...]) -> None:
    # Typer itself loads pydantic as soon as it builds a command with parameters.
    own = {"pydantic", "asyncio"} if len(argv) > 1 else set()
    assert not modules_after(*argv) & set(HEAVY) - own


def test_help_imports_no_command() -> None:
    loaded = modules_after("--help")
    assert not {entry.module for entry in Commands.table.values()} & loaded
    assert "openenv.cli.serve" not in modules_after("init", "--help")


def test_help_is_cheap() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert openenv("--help").returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= 0.35


@pytest.mark.parametrize("argv", [("--help",), ("-h",), ()])
def test_help_names_every_command(argv: tuple[str, ...], invoke: Invoke) -> None:
    result = invoke(*argv)
    assert result.exit_code == 0
    for name, entry in Commands.table.items():
        assert name in result.stdout
        assert entry.help in result.stdout


@pytest.mark.parametrize("name", list(Commands.table))
def test_every_command_has_help(name: str, invoke: Invoke) -> None:
    result = invoke(name, "-h")
    assert result.exit_code == 0
    assert f"openenv {name}" in result.stdout.replace("root", "openenv")


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_version(flag: str, invoke: Invoke) -> None:
    assert invoke(flag).stdout == f"openenv {version('openenv')}\n"


def test_python_m_is_the_command() -> None:
    assert openenv("--version").stdout == f"openenv {version('openenv')}\n"


def test_a_mistyped_command_gets_a_suggestion(invoke: Invoke) -> None:
    result = invoke("serv")
    assert result.exit_code == 2
    assert "Did you mean 'serve'" in result.stderr


@pytest.mark.parametrize("argv", [("--debug", "check", "nowhere"), ("check", "nowhere", "--debug")])
def test_debug_is_understood_before_and_after_the_command(argv: tuple[str, ...], invoke: Invoke) -> None:
    result = invoke(*argv)
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert "Traceback" not in invoke("check", "nowhere").stdout


def completions(line: str, cwd: Path) -> list[str]:
    """What bash is offered at the end of `line`."""
    words = line.split(" ")
    run = openenv(
        cwd=cwd,
        _OPENENV_COMPLETE="complete_bash",
        COMP_WORDS=line,
        COMP_CWORD=str(len(words) - 1),
    )
    return run.stdout.split()


def test_completion(tmp_path: Path) -> None:
    (tmp_path / "game.py").touch()
    (tmp_path / "maze").mkdir()
    (tmp_path / "notes.txt").touch()
    assert set(completions("openenv se", tmp_path)) == {"serve", "sessions"}
    offered = completions("openenv serve ", tmp_path)
    assert {"echo", "game.py", "maze/"} <= set(offered)
    assert "notes.txt" not in offered
    assert completions("openenv play ec", tmp_path) == ["echo"]
    assert "--port" in completions("openenv serve --p", tmp_path)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, tmp_path: Path) -> None:
    run = openenv("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert run.returncode == 0
    assert "_OPENENV_COMPLETE" in run.stdout
    installed = openenv(
        "--install-completion", shell, HOME=str(tmp_path), _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
    )
    assert installed.returncode == 0
    assert any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_closed_pipe_is_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "openenv.cli", "doctor", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=20)
    assert b"Traceback" not in errors


def test_colour_on_a_terminal_and_none_with_no_color() -> None:
    for variables, coloured in (({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False)):
        controller, terminal = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", **variables}
        environment.pop("FORCE_COLOR", None)
        subprocess.run(
            [sys.executable, "-m", "openenv.cli", "list"],
            stdout=terminal,
            stdin=terminal,
            env=environment,
            check=True,
        )
        os.close(terminal)
        assert (b"\x1b[" in os.read(controller, 65536)) is coloured
        os.close(controller)
