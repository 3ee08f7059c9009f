"""What the kernel says about a process: CPU time, memory of its own, descriptors, threads."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


def cpu_ns(pid: int) -> int:
    """CPU time of all threads of `pid` so far.

    A process's CPU clock has the id ``~pid << 3 | 2`` (CPUCLOCK_SCHED, see clock_getcpuclockid(3)): it
    counts in nanoseconds where /proc/PID/stat counts in ticks of 10 ms.
    """
    return time.clock_gettime_ns((~pid << 3) | 2)


@dataclass(frozen=True)
class Footprint:
    """What a process holds.

    Attributes:
        uss_kib: memory that is this process's alone, in KiB (what would come back if it ended).
        descriptors: open file descriptors.
        threads: threads.
    """

    uss_kib: int
    descriptors: int
    threads: int


def footprint(pid: int) -> Footprint:
    """Read the footprint of `pid` now."""
    process = Path("/proc") / str(pid)
    private = 0
    for line in (process / "smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean:", "Private_Dirty:")):
            private += int(line.split()[1])
    return Footprint(
        uss_kib=private,
        descriptors=len(os.listdir(process / "fd")),
        threads=len(os.listdir(process / "task")),
    )


def settled_footprint(pid: int, *, patience_s: float = 3.0) -> Footprint:
    """Read the footprint once threads and descriptors have stopped changing."""
    deadline = time.monotonic() + patience_s
    before = footprint(pid)
    while time.monotonic() < deadline:
        time.sleep(0.3)
        now = footprint(pid)
        if (now.threads, now.descriptors) == (before.threads, before.descriptors):
            return now
        before = now
    return before
