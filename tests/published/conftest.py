"""The published `openenv==0.10.0`, in a venv of its own, and servers that run on it.

`$OPENENV_PUBLISHED_PYTHON` names an interpreter that has it; otherwise a venv is made once, in the user's
cache folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

VERSION = "0.10.0"
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.published)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def published_python() -> Path:
    named = os.environ.get("OPENENV_PUBLISHED_PYTHON")
    python = Path(named) if named else _own_venv()
    found = subprocess.run(
        [python, "-c", "from importlib.metadata import version; print(version('openenv'))"],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    ).stdout.strip()
    assert found == VERSION, f"{python} has openenv {found}, not {VERSION}"
    return python


def _own_venv() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "openenv"
    folder = cache / f"published-{VERSION}-py{sys.version_info.major}{sys.version_info.minor}"
    cache.mkdir(parents=True, exist_ok=True)
    python = folder / "bin" / "python"
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            venv.create(folder, with_pip=True, clear=True)
            install = [python, "-m", "pip", "install", "--quiet", f"openenv=={VERSION}"]
            subprocess.run(install, check=True, cwd="/")
            (folder / "complete").touch()
    return python


class PublishedServer:
    """A process that serves one of `served.py`'s environments."""

    def __init__(self, python: Path, environment: str, **settings: str) -> None:
        self.process = subprocess.Popen(
            [python, HERE / "served.py", environment],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
            env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/tmp"), **settings},
        )
        self.output: IO[str] = self.process.stdout  # type: ignore[assignment]
        lines: list[str] = []
        for line in self.output:
            lines.append(line)
            if line.startswith("listening on "):
                self.url = line.split()[-1]
                return
        raise RuntimeError("the published server did not start:\n" + "".join(lines))

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.output.close()


Serve = Callable[..., PublishedServer]


@pytest.fixture(scope="module")
def serve_published(published_python: Path) -> Iterator[Serve]:
    with contextlib.ExitStack() as stack:

        def serve(environment: str, **settings: str) -> PublishedServer:
            server = PublishedServer(published_python, environment, **settings)
            stack.callback(server.stop)
            return server

        yield serve
