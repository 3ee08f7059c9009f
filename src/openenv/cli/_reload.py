"""`openenv serve --reload`: a server in a child process, started again when a source file changes.

The child is this same command line without `--reload`. A child that does not start (a syntax error in the
file being written) is started again at the next change.
"""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

POLL_S = 0.3
"""Seconds between two looks at the files."""

_STOP_S = 15.0
_SUFFIXES = {".py", ".yaml", ".yml", ".toml"}
_SKIPPED = {"__pycache__", "node_modules"}


def watched_folder(target: str) -> Path:
    """The folder whose files make up a TARGET.

    Args:
        target: a file, folder, module or shipped name.
    """
    name = target.rpartition(":")[0] or target
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        return path.absolute().parent
    for module in (name, f"openenv.envs.{name}"):
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(module)
            if spec is not None and spec.origin:
                return Path(spec.origin).parent
    return Path.cwd()


def free_port(host: str) -> int:
    """A port of `host` that is free now."""
    with socket.create_server((host, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def snapshot(folder: Path) -> dict[Path, int]:
    """Modification time of every source file below `folder`; hidden folders are left out."""
    found: dict[Path, int] = {}
    pending = [folder]
    while pending:
        here = pending.pop()
        for entry in here.iterdir():
            if entry.name.startswith(".") or entry.name in _SKIPPED:
                continue
            if entry.is_dir() and not entry.is_symlink():
                pending.append(entry)
            elif entry.suffix in _SUFFIXES:
                with contextlib.suppress(FileNotFoundError):  # an editor replaced it just now
                    found[entry] = entry.stat().st_mtime_ns
    return found


def supervise(command: Sequence[str], folder: Path, announce: Callable[[str], None]) -> int:
    """Run `command` until SIGINT or SIGTERM, again after every change below `folder`.

    Returns:
        Exit status of the last child.
    """
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    seen = snapshot(folder)
    child = _start(command)
    try:
        while not stopping:
            time.sleep(POLL_S)
            now = snapshot(folder)
            if now == seen:
                continue
            changed = sorted(path.name for path in {*now, *seen} if now.get(path) != seen.get(path))
            announce(f"{', '.join(changed[:3])} changed, starting again")
            seen = now
            _stop(child)
            child = _start(command)
    finally:
        status = _stop(child)
        for number, handler in before.items():
            signal.signal(number, handler)
    return status


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "openenv.cli", *command])  # noqa: S603


def _stop(child: subprocess.Popen[bytes]) -> int:
    """Let the server drain; kill it if it does not end."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
    try:
        status = child.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()
    # A child that had not got as far as handling signals died of ours, which is what we wanted.
    return 0 if status == -signal.SIGTERM else status
