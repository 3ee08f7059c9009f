"""Control groups that count memory and processes of whole sandboxes, where this user may make them.

Groups are used again: making and removing one costs the kernel more the busier it is.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

_V1 = Path("/sys/fs/cgroup")


class Group:
    """One sandbox's control group; a folder per controller with version 1.

    Args:
        folders: where it is; they are made.
    """

    def __init__(self, folders: tuple[Path, ...]) -> None:
        for folder in folders:
            folder.mkdir()
        self.folders = folders
        self.doors = [os.open(folder / "cgroup.procs", os.O_RDWR | os.O_CLOEXEC) for folder in folders]
        """A process enters by writing "0" to each of them."""
        self._limits: tuple[int, int] | None = None
        found = [folder / name for folder in folders for name in ("memory.oom_control", "memory.events")]
        self._events = next((file for file in found if file.exists()), None)

    def set(self, memory_bytes: int, processes: int) -> None:
        """Set the limits.

        Raises:
            OSError: the kernel refused.
        """
        if self._limits == (memory_bytes, processes):
            return
        for folder in self.folders:
            for name, value in _settings(memory_bytes, processes):
                file = folder / name
                if file.exists():
                    file.write_text(str(value))
        self._limits = (memory_bytes, processes)

    def kills(self) -> int:
        """How often the kernel killed for lack of memory in this group."""
        if self._events is not None:
            for line in self._events.read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        return 0

    def empty(self) -> bool:
        """Whether no process is left in it."""
        return not any(os.pread(door, 1, 0) for door in self.doors)

    def close(self) -> None:
        """Close the doors; the folders stay."""
        for door in self.doors:
            os.close(door)
        self.doors = []


class Groups:
    """Makes groups below folders of its own.

    Args:
        name: name of those folders; unique per warm parent.

    Raises:
        OSError: this user may not make control groups with memory and process limits.
    """

    def __init__(self, name: str) -> None:
        self.bases = tuple(base / name for base in _delegated())
        self._spare: list[Group] = []
        self._made = 0
        self._closed = False
        self._lock = threading.Lock()
        for base in self.bases:
            base.mkdir()
        try:
            self.give_back(self.take(64 << 20, 16))
        except OSError:
            self.close()
            raise

    def take(self, memory_bytes: int, processes: int) -> Group:
        """An empty group with these limits."""
        with self._lock:
            group = next((spare for spare in self._spare if spare.empty()), None)
            if group is not None:
                self._spare.remove(group)
            else:
                self._made += 1
                number = self._made
        if group is None:
            group = Group(tuple(base / str(number) for base in self.bases))
        group.set(memory_bytes, processes)
        return group

    def give_back(self, group: Group) -> None:
        """Use `group` for another sandbox once it is empty."""
        with self._lock:
            if self._closed:
                group.close()
            else:
                self._spare.append(group)

    def close(self) -> None:
        """Remove everything; waits a moment for processes that are still ending."""
        with self._lock:
            self._closed = True
            for spare in self._spare:
                spare.close()
            self._spare.clear()
        for _ in range(200):
            left = False
            for base in self.bases:
                left |= not _removed(base)
            if not left:
                return
            time.sleep(0.01)


def _settings(memory_bytes: int, processes: int) -> tuple[tuple[str, int], ...]:
    return (
        ("memory.limit_in_bytes", memory_bytes),
        ("memory.max", memory_bytes),
        ("memory.swap.max", 0),
        ("pids.max", processes),
    )


def _delegated() -> tuple[Path, ...]:
    """Folders below which groups with memory and process limits can be made.

    Raises:
        OSError: there are none.
    """
    if (_V1 / "memory" / "cgroup.procs").exists():
        found: tuple[Path, ...] = (_V1 / "memory", _V1 / "pids")
    else:
        own = next(
            (
                line[3:]
                for line in Path("/proc/self/cgroup").read_text().splitlines()
                if line.startswith("0::")
            ),
            "/",
        )
        found = (_V1 / own.lstrip("/"),)
        given = (found[0] / "cgroup.subtree_control").read_text().split()
        if not {"memory", "pids"} <= set(given):
            raise PermissionError("the memory and pids controllers are not delegated to this process")
    if not all(os.access(folder, os.W_OK) for folder in found):
        raise PermissionError("no control group of this user's may be divided")
    return found


def _removed(base: Path) -> bool:
    try:
        for child in base.iterdir():
            if child.is_dir():
                child.rmdir()
        base.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
