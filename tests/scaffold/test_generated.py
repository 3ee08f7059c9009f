"""What `init` writes works as it is: its tests pass, it keeps the contract, it is served and used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import openenv
from openenv.cli._serving import application
from openenv.scaffold import check_name, write_one_file, write_package
from openenv.server.run import BackgroundServer
from openenv.testing import assert_env


@pytest.fixture(autouse=True)
def _own_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """`serve` sets the mode for the packages it imports; it must not outlive a test."""
    monkeypatch.setenv("OPENENV_MODE", "simulation")


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the generated tests as a user does, without this repository's configuration."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", *arguments]
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "OPENENV"))
    }
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.timeout(90)
def test_the_tests_of_one_file_pass(tmp_path: Path) -> None:
    write_one_file(check_name("maze"), tmp_path)
    run = pytest_in(tmp_path, "test_maze.py")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "3 passed" in run.stdout


@pytest.mark.timeout(90)
@pytest.mark.parametrize("inside", [True, False])
def test_the_tests_of_a_package_pass(tmp_path: Path, inside: bool) -> None:
    write_package(check_name("maze_env"), tmp_path)
    run = pytest_in(tmp_path / "maze_env") if inside else pytest_in(tmp_path, "maze_env")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 passed" in run.stdout


def test_one_file_keeps_the_contract_without_a_remark(tmp_path: Path) -> None:
    file, _ = write_one_file(check_name("maze"), tmp_path)
    assert assert_env(str(file)).findings == []


def test_a_package_keeps_the_contract_without_a_remark(tmp_path: Path) -> None:
    write_package(check_name("maze_env"), tmp_path)
    assert assert_env(str(tmp_path / "maze_env")).findings == []


def play(env: openenv.Env[Any, Any, Any]) -> float:
    """Halve the interval until it is found; the return."""
    env.reset(seed=3)
    total = 0.0
    for _ in range(7):
        state = env.state()
        result = env.step(guess=(state.low + state.high) // 2)
        total += result.reward or 0.0
        if result.done:
            return total
    raise AssertionError("not found in seven steps")


def test_a_package_is_served_and_used(tmp_path: Path) -> None:
    write_package(check_name("maze_env"), tmp_path)
    served = application(str(tmp_path / "maze_env"), {"max_sessions": 2})
    with BackgroundServer(served.app) as url, openenv.make(url) as env:
        assert play(env) == 1.0
        assert env.metadata.name == "maze_env"


def test_one_file_is_served_and_used(tmp_path: Path) -> None:
    file, _ = write_one_file(check_name("maze"), tmp_path)
    served = application(str(file), {})
    with BackgroundServer(served.app) as url, openenv.make(url) as env:
        assert play(env) == 1.0
