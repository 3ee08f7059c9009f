"""The published `openenv==0.10.0`, in a venv of its own, and servers that run on it.

`scripts/published` finds the venv, or makes it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

VERSION = "0.10.0"
HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.published)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def published_python() -> Path:
    """An interpreter that has the published package."""
    found = subprocess.run([str(ROOT / "scripts" / "published")], capture_output=True, text=True, check=True)
    python = Path(found.stdout.strip())
    asked = [str(python), "-c", "from importlib.metadata import version; print(version('openenv'))"]
    installed = subprocess.run(asked, capture_output=True, text=True, check=True, cwd="/").stdout.strip()
    assert installed == VERSION, f"{python} has openenv {installed}, not {VERSION}"
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
                # A pipe that nobody reads fills up, and its writer stops.
                self._drain = threading.Thread(target=self._discard, daemon=True)
                self._drain.start()
                return
        raise RuntimeError("the published server did not start:\n" + "".join(lines))

    def _discard(self) -> None:
        for _ in self.output:
            pass

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self._drain.join()
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
