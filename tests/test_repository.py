"""Facts about the repository and the distribution that no single module answers for."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import requires, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import openenv

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "openenv"

FLOORS = {  # docs/rfcs/001-design.md
    **dict.fromkeys(("types", "errors"), 0),
    "protocol": 1,
    **dict.fromkeys(("environment", "tools", "transforms", "rubrics", "tasks", "spaces"), 2),
    **dict.fromkeys(("session", "sandbox"), 3),
    **dict.fromkeys(("server", "client", "launch", "workers"), 4),
    "catalog": 5,
    "pool": 5,
    **dict.fromkeys(("testing", "integrations", "doctor", "scaffold"), 6),
    "cli": 7,
}

NEVER_WITH_IMPORT_OPENENV = (
    "fastapi starlette uvicorn websockets typer click rich yaml numpy pandas gradio fastmcp mcp openai "
    "anthropic huggingface_hub httpx requests aiohttp gymnasium uvloop"
).split()

NEVER_IN_A_CLIENT = "fastapi starlette uvicorn typer click gradio fastmcp mcp pandas openenv.server".split()


def modules_after(program: str) -> set[str]:
    """Names in `sys.modules` after `program` ran in an interpreter of its own."""
    code = program + "\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(output.stdout))


def test_version_is_one_that_published_environments_accept() -> None:
    assert openenv.__version__ == version("openenv")
    assert Version(openenv.__version__) >= Version("0.11.0")


def test_the_extra_core_exists_and_adds_nothing() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"]["core"] == []
    needed = [Requirement(text) for text in requires("openenv") or []]
    base = {need.name for need in needed if need.marker is None}
    assert {"pydantic", "msgspec", "fastapi"} <= base
    assert not base & {"gradio", "fastmcp", "mcp", "openai", "pandas", "numpy", "huggingface-hub"}


def test_import_openenv_loads_floors_0_to_2_only() -> None:
    loaded = modules_after("import openenv")
    assert not loaded & set(NEVER_WITH_IMPORT_OPENENV)
    rooms = {name.split(".")[1] for name in loaded if name.startswith("openenv.")}
    assert not {room for room in rooms if FLOORS.get(room, 0) > 2}


@pytest.mark.parametrize(
    "program",
    [
        "import openenv; openenv.connect",
        "import openenv; openenv.EnvClient",
        "from openenv.core import EnvClient",
    ],
)
def test_a_client_loads_no_server(program: str) -> None:
    assert not modules_after(program) & set(NEVER_IN_A_CLIENT)


def module_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every import of our package that runs when the module is imported."""
    pending: list[ast.stmt] = list(ast.parse(path.read_text()).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("openenv."):
            yield node.lineno, node.module
        elif isinstance(node, ast.Import):
            yield from (
                (node.lineno, alias.name) for alias in node.names if alias.name.startswith("openenv.")
            )
        elif isinstance(node, ast.If):
            if "TYPE_CHECKING" not in ast.unparse(node.test):
                pending += node.body
            pending += node.orelse
        elif isinstance(node, ast.Try):
            pending += [*node.body, *node.orelse, *node.finalbody]


def test_imports_go_downward() -> None:
    climbing = []
    for path in SOURCE.rglob("*.py"):
        room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        for line, name in module_imports(path):
            other = name.split(".")[1]
            if FLOORS.get(other, -1) > FLOORS.get(room, 99):
                climbing.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
            if {room, other} == {"client", "server"}:
                climbing.append(f"{path.relative_to(ROOT)}:{line}: client and server do not know each other")
    assert not climbing


def test_scripts_are_short_and_run_with_bash() -> None:
    for name in ("check", "test", "bench", "docs"):
        script = ROOT / "scripts" / name
        assert os.access(script, os.X_OK)
        assert len(script.read_text().splitlines()) <= 30
        subprocess.run(["bash", "-n", script], check=True)


def test_pre_commit_fetches_nothing() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert {repo["repo"] for repo in config["repos"]} == {"local"}


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_wheel_holds_the_package_and_its_types(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=170)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"openenv/py.typed", "openenv_core/__init__.py", "openenv/core/__init__.py"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests/", "benchmarks/"))]
    assert wheel.stat().st_size < 1_500_000
