"""Ordinary programs run as in CPython: byte-equal output, as a cell and as a command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest

from openenv.sandbox import Limits, NetworkPolicy, Packages, Sandbox, backends

PROGRAMS = dict(
    section.split("\n", 1)
    for section in Path(__file__).with_name("programs.txt").read_text().split("### ")[1:]
)
STDIN = "1 2 3\nsecond\nthird\nfourth\n"
LIMITS = Limits(wall_s=60, memory_bytes=1 << 30)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    packages = Packages(venv=str(Path(numpy.__file__).parents[4]), preload=("numpy",))
    options = {"packages": packages, "network": NetworkPolicy.loopback(), "limits": LIMITS}
    with Sandbox.create(**options) as made:  # type: ignore[arg-type]
        yield made
    backends.close_all()


def test_there_are_enough_of_them() -> None:
    assert len(PROGRAMS) >= 40


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_prints_what_it_prints_in_cpython(sandbox: Sandbox, name: str, tmp_path: Path) -> None:
    code = PROGRAMS[name]
    file = tmp_path / "program.py"
    file.write_text(code)
    expected = subprocess.run(
        [sys.executable, str(file)], input=STDIN.encode(), capture_output=True, timeout=60, cwd=tmp_path
    )
    assert expected.returncode == 0, expected.stderr
    sandbox.reset()
    cell = sandbox.exec(code, stdin=STDIN)
    assert cell.ok, cell.stderr
    assert cell.stdout.encode() == expected.stdout
    sandbox.write("program.py", code)
    command = sandbox.run(["python3", "program.py"], stdin=STDIN.encode())
    assert command.ok, command.stderr
    assert command.stdout == expected.stdout
