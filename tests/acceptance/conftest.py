"""Servers for a module's tests: started when first asked for, stopped by their process id."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .served import Server

HERE = Path(__file__).parent
Serve = Callable[..., Server]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder of a user, with the environments of this folder's `environments.py`."""
    found = tmp_path_factory.mktemp("user")
    shutil.copy(HERE / "environments.py", found)
    return found


@pytest.fixture(scope="module")
def serve(folder: Path) -> Iterator[Serve]:
    """`serve(target, *options)`: the same arguments give the same server."""
    running: dict[tuple[str, ...], Server] = {}
    with contextlib.ExitStack() as stack:

        def start(target: str | Path, *options: str, fresh: bool = False, **variables: str) -> Server:
            key = (str(target), *options, repr(sorted(variables.items())))
            if fresh or key not in running:
                server = Server(target, *options, cwd=folder, **variables)
                stack.callback(server.stop)
                if fresh:
                    return server
                running[key] = server
            return running[key]

        yield start
