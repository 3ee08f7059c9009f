"""Bounds around everything hostile: one fork bomb that nobody caps stalls the machine for all.

As root a control group bounds memory, processes and CPU of the whole run; otherwise resource limits do, which
a user namespace below inherits.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import resource
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ORDINARY_USER = 4242
_BOUNDS = {
    "memory": {"memory.limit_in_bytes": 4 << 30},
    "pids": {"pids.max": 500},
    "cpu": {"cpu.cfs_quota_us": 150_000},
}


@contextlib.contextmanager
def _groups() -> Iterator[list[Path]]:
    base = Path("/sys/fs/cgroup")
    name = f"openenv-arena-{os.getpid()}-{secrets.token_hex(3)}"
    made: list[Path] = []
    try:
        for controller, settings in _BOUNDS.items():
            if not os.access(base / controller / "cgroup.procs", os.W_OK):
                continue
            folder = base / controller / name
            folder.mkdir()
            made.append(folder)
            for key, value in settings.items():
                (folder / key).write_text(str(value))
        yield made
    finally:
        for folder in made:
            for _ in range(200):
                try:
                    folder.rmdir()
                    break
                except OSError:
                    time.sleep(0.05)


_NEEDED = (
    "openenv",
    "pydantic",
    "pydantic_core",
    "annotated_types",
    "typing_inspection",
    "typing_extensions",
)
"""What the runner imports."""


@contextlib.contextmanager
def interpreter_for_anyone() -> Iterator[tuple[str, dict[str, str]]]:
    """An interpreter that an ordinary user can start, and the variables that it needs to find us.

    The checkout and the virtual environment may lie in folders that are closed to others, so what is needed
    of them is copied to one that is not.
    """
    from openenv.sandbox import warm

    with tempfile.TemporaryDirectory(prefix="openenv-arena-") as folder:
        here = Path(folder)
        here.chmod(0o755)
        for name in _NEEDED:
            found = importlib.util.find_spec(name)
            assert found is not None
            assert found.origin is not None
            origin = Path(found.origin)
            if origin.name == "__init__.py":
                shutil.copytree(origin.parent, here / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(origin, here)
        ours = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "tests" / "hostile", here / "tests" / "hostile", ignore=ours)
        for path in (here, *here.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield warm.interpreter("confined"), {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}


def run_bounded(arguments: Sequence[str], *, ordinary: bool, timeout_s: float) -> str:
    """Run a module of the tests under bounds; returns what it printed.

    Raises:
        AssertionError: it failed; the message holds what it said.
    """
    with contextlib.ExitStack() as stack:
        if ordinary:
            python, variables = stack.enter_context(interpreter_for_anyone())
        else:
            python, variables = sys.executable, {"PYTHONPATH": str(ROOT)}
        command = [python, "-m", *arguments]
        groups = stack.enter_context(_groups())

        def enter() -> None:
            for folder in groups:
                (folder / "cgroup.procs").write_text("0")
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
            if os.geteuid() == 0 and ordinary:
                os.setgroups([])
                os.setresgid(ORDINARY_USER, ORDINARY_USER, ORDINARY_USER)
                os.setresuid(ORDINARY_USER, ORDINARY_USER, ORDINARY_USER)
            if os.geteuid() != 0:
                resource.setrlimit(resource.RLIMIT_NPROC, (2000, 2000))

        done = subprocess.run(
            command,
            cwd=ROOT if not ordinary else "/",
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": "/tmp", **variables},
            preexec_fn=enter,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stderr[-3000:]}"
    return done.stdout
