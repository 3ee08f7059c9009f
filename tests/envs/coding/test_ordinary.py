"""Programs that models write all the time print in the environment what CPython prints, byte for byte."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest

import openenv
from openenv.client import Env
from openenv.envs.coding import CodeAction, CodingEnvironment
from openenv.envs.coding.workspace import Confinement
from openenv.sandbox import Packages

_BLOCKS = Path(__file__).with_name("ordinary.txt").read_text(encoding="utf-8").split("### ")[1:]
PROGRAMS = {name: code for name, _, code in (block.partition("\n") for block in _BLOCKS)}


@pytest.fixture(scope="module")
def env() -> Iterator[Env]:
    with openenv.make("coding") as made:
        yield made


def test_packages_of_the_operator_are_there() -> None:
    code = (
        "import numpy as np\n"
        "a = np.arange(6).reshape(2, 3)\n"
        "print(a @ a.T, a.mean(axis=0), np.linalg.norm(a), (a > 2).sum())\n"
    )
    expected = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
    environment = CodingEnvironment(Confinement(packages=Packages(venv=str(Path(numpy.__file__).parents[4]))))
    try:
        environment.reset()
        assert environment.step(CodeAction(code=code)).stdout.encode() == expected.stdout
    finally:
        environment.close()


def test_there_are_forty() -> None:
    assert len(PROGRAMS) >= 40


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_runs_as_in_cpython(env: Env, name: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAMS[name], encoding="utf-8")
    expected = subprocess.run(
        [sys.executable, "-X", "utf8", str(program)],
        capture_output=True,
        cwd=tmp_path,
        timeout=60,
        check=True,
    )
    env.reset()
    seen = env.step(code=PROGRAMS[name]).observation
    assert seen.stdout.encode() == expected.stdout
    assert seen.exit_code == 0, seen.stderr
