"""`openenv serve --reload`: a server in a child process, started again when a source file changes.

The child is this same command line without `--reload`. A child that does not start (a syntax error in the
file being written) is started again at the next change. The supervisor listens and its children accept: no
other process takes the port between two children, and who connects meanwhile waits for the next one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

POLL_S = 0.3
"""Seconds between two looks at the files."""

_STOP_S = 15.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
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


def snapshot(folder: Path) -> dict[Path, int]:
    """Modification time of every source file below `folder`; hidden folders are left out."""
    found: dict[Path, int] = {}
    pending = [folder]
    while pending:
        here = pending.pop()
        for entry in _entries(here):
            if entry.name.startswith(".") or entry.name in _SKIPPED:
                continue
            if entry.is_dir() and not entry.is_symlink():
                pending.append(entry)
            elif entry.suffix in _SUFFIXES:
                with contextlib.suppress(FileNotFoundError):  # an editor replaced it just now
                    found[entry] = entry.stat().st_mtime_ns
    return found


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # removed just now
        return []


def supervise(command: Sequence[str], folder: Path, listener: int, announce: Callable[[str], None]) -> int:
    """Run `command` until SIGINT, SIGTERM or SIGHUP, again after every change below `folder`.

    Args:
        command: words of the command line.
        folder: where changes count.
        listener: descriptor of the listening socket, which the children get.
        announce: told what changed.

    Returns:
        Exit status of the last child; 0 if our own signal met it before it served.
    """
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    seen = snapshot(folder)
    command = [*command, "--listen-fd", str(listener)]
    child = _start(command, listener)
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
            child = _start(command, listener)
    finally:
        status = _stop(child)
        for number, handler in before.items():
            signal.signal(number, handler)
    return status


def _start(command: Sequence[str], listener: int) -> subprocess.Popen[bytes]:
    # A group of its own: Ctrl-C in the terminal must reach the child once, through us, and a second signal
    # means "do not wait".
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "openenv.cli", *command], pass_fds=(listener,), process_group=0
    )


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
