"""What runs inside a sandbox, as its init sees it: processes, memory, and how they are ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable

_KIB = 1024
_CERTAIN_S = 60.0
"""How long a kill goes on where no pid namespace dies: a busy machine must not let anything get away."""


class Tree:
    """The processes below an init.

    Args:
        private: the init is process 1 of a pid namespace; everything visible is below it.
        base: bytes of memory that a session shares with the init from the start.
    """

    def __init__(self, *, private: bool, base: int = 0) -> None:
        self.private = private
        self._base = base

    def pids(self) -> list[int]:
        """Every process below the init, the init itself excluded."""
        if self.private:
            return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]
        return list(self.below(os.getpid(), parents()))

    def below(self, pid: int, family: dict[int, int]) -> set[int]:
        """Descendants of `pid`, by the table of parents."""
        children: dict[int, list[int]] = {}
        for child, parent in family.items():
            children.setdefault(parent, []).append(child)
        found: set[int] = set()
        pending = [pid]
        while pending:
            for child in children.get(pending.pop(), ()):
                if child not in found:
                    found.add(child)
                    pending.append(child)
        return found

    def memory(self, session: int | None, limit: int) -> tuple[int, int]:
        """Bytes of anonymous and shared memory of the tree, and the number of processes.

        The quick sum counts pages that a fork shares once per process; if it is above `limit` the
        processes' proportional shares decide.
        """
        total = 0
        pids = self.pids()
        for pid in pids:
            used = anonymous(pid)
            total += max(0, used - self._base) if pid == session else used
        if total > limit:
            total = sum(_proportional(pid) for pid in pids)
        return total, len(pids)

    def kill_all(self) -> None:
        """End everything below the init and reap it."""
        if not self.private:
            self.sweep(_CERTAIN_S)
            return
        while _kill(-1, signal.SIGKILL):
            _reaped_all(block=True)

    def sweep(self, patience_s: float = 5.0, keep: Iterable[int] = ()) -> bool:
        """Stop the tree first, so that no fork bomb outruns the killing, then kill it.

        Args:
            patience_s: how long to try.
            keep: processes to leave alone, with everything below them.

        Returns:
            Whether nothing is left.
        """
        end = time.monotonic() + patience_s
        stopped: set[int] = set()
        while time.monotonic() < end:
            family = parents()
            kept = set(keep)
            for pid in keep:
                kept |= self.below(pid, family)
            alive = {pid for pid in self.below(os.getpid(), family) - kept if not _is_zombie(pid)}
            fresh = alive - stopped
            for pid in fresh:
                _kill(pid, signal.SIGSTOP)
            stopped |= fresh
            if not fresh:
                for pid in alive:
                    _kill(pid, signal.SIGKILL)
                stopped.clear()
            if keep:
                if not alive:
                    return True
            elif _reaped_all(block=False):
                return True
        return False


def parents() -> dict[int, int]:
    """Process to parent, of everything visible."""
    table: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = _stat(int(name))
            if fields:
                table[int(name)] = int(fields[1])
    return table


def _is_zombie(pid: int) -> bool:
    fields = _stat(pid)
    return not fields or fields[0] == "Z"


def _stat(pid: int) -> list[str]:
    """State, parent and so on; empty if the process is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return []


def anonymous(pid: int) -> int:
    """Bytes of anonymous and shared memory that a process has resident; 0 if it is gone."""
    total = 0
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith(("RssAnon:", "RssShmem:")):
                    total += int(line.split()[1]) * _KIB
    except (OSError, ValueError):
        return 0
    return total


def _proportional(pid: int) -> int:
    """Bytes of memory without files, shared pages divided among the sharers."""
    total = 0
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                    total += int(line.split()[1]) * _KIB
    except (OSError, ValueError):
        return anonymous(pid)
    return total


def _kill(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True


def _reaped_all(*, block: bool) -> bool:
    """Reap; True when there is no child left."""
    while True:
        try:
            pid, _ = os.waitpid(-1, 0 if block else os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == 0:
            time.sleep(0.001)
            return False
