"""What the user types, and the exit code that comes back: the table of docs/reference/cli.md, by example."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from openenv.catalog import resolve
from openenv.cli.exit_codes import ExitCode
from openenv.server.app import make_app
from openenv.server.run import BackgroundServer
from openenv.server.settings import ServerSettings

from .conftest import Invoke
from .environments import BROKEN, CALM, GAME, UNMADE

EXTRA = """
from openenv.errors import MissingExtraError

raise MissingExtraError("this environment", "numpy")
"""


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    for name, text in {
        "calm": CALM,
        "game": GAME,
        "slow": GAME.replace("move == 9", "move == 99").replace("move == 8", "move >= 0"),
        "broken": BROKEN,
        "unmade": UNMADE,
        "extra": EXTRA,
        "syntax": "def",
        "empty": "x = 1",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[str]:
    """URL of a server that wants a token."""
    app = make_app(resolve(str(tmp_path / "calm.py")), ServerSettings(token="right-token"))
    with BackgroundServer(app) as url:
        yield url


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--version"], ExitCode.OK),
        (["list"], ExitCode.OK),
        (["init", "maze"], ExitCode.OK),
        (["run", "calm.py"], ExitCode.OK),
        (["check", "calm.py"], ExitCode.OK),
        (["play", "calm.py"], ExitCode.OK),
        (["run", "game.py", "-n", "30", "--seed", "0", "--timeout", "0.1"], ExitCode.FAILED),
        (["check", "broken.py"], ExitCode.FAILED),
        (["fly"], ExitCode.USAGE),
        (["run"], ExitCode.USAGE),
        (["run", "calm.py", "--fast"], ExitCode.USAGE),
        (["run", "calm.py", "-n", "0"], ExitCode.USAGE),
        (["run", "nowhere"], ExitCode.USAGE),
        (["run", "nowhere.py"], ExitCode.USAGE),
        (["run", "empty.py"], ExitCode.USAGE),
        (["run", "syntax.py"], ExitCode.USAGE),
        (["run", "unmade.py"], ExitCode.USAGE),
        (["run", "calm.py:Nobody"], ExitCode.USAGE),
        (["init", "My-Maze"], ExitCode.USAGE),
        (["init", "calm"], ExitCode.USAGE),
        (["run", "broken.py"], ExitCode.UNREACHABLE),
        (["play", "http://127.0.0.1:1"], ExitCode.UNREACHABLE),
        (["run", "extra.py"], ExitCode.MISSING),
        (["run", "slow.py", "-n", "1", "--timeout", "0.1"], ExitCode.TIMEOUT),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value.name,
)
def test_exit_code(argv: list[str], code: ExitCode, invoke: Invoke, tmp_path: Path) -> None:
    result = invoke(*argv)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    if code not in (ExitCode.OK, ExitCode.FAILED, ExitCode.TIMEOUT):
        assert result.stdout == ""
        assert result.stderr.strip()


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (None, ExitCode.AUTHENTICATION),
        ("wrong-token", ExitCode.AUTHENTICATION),
        ("right-token", ExitCode.OK),
    ],
)
def test_a_server_that_wants_a_token(token: str | None, code: ExitCode, locked: str, invoke: Invoke) -> None:
    result = invoke("run", locked, "-n", "1", *(["--token", token] if token else []))
    assert result.exit_code == code, result.output
    if code:
        assert "OPENENV_TOKEN" in result.stderr


def test_a_defect_of_ours_is_internal(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("a wire came loose")

    monkeypatch.setattr("openenv.catalog.shipped.shipped", fail)
    result = invoke("list")
    assert result.exit_code == ExitCode.INTERNAL
    assert "internal error: RuntimeError: a wire came loose" in result.stderr
    assert "--debug" in result.stderr


def test_a_server_that_goes_away_in_the_middle(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "openenv.cli"]
    server = subprocess.Popen(
        [*command, "serve", "calm.py", "--port", str(port)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert server.stdout is not None
    server.stdout.readline()
    player = subprocess.Popen(
        [*command, "play", f"http://127.0.0.1:{port}"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert player.stdin is not None
    assert player.stdout is not None
    player.stdout.readline()
    server.kill()
    server.wait(timeout=10)
    server.stdout.close()
    _, errors = player.communicate("y\n", timeout=20)
    assert player.returncode == ExitCode.UNREACHABLE
    assert "try: run the command again" in errors


def test_ctrl_c_sums_up_what_ended(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "openenv.cli", "run", "echo", "-n", "1000000", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OPENENV_DEBUG": "0"},
    )
    time.sleep(2.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in out + err
    assert json.loads(out)["episodes"] > 0
