"""Thousands of connect, reset, step, close cycles: what does the server keep?"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from .context import Context, progress
from .loadgen import STEP, check_observation, open_session
from .process import settled_footprint
from .servers import Kind, Server, ours, running

KINDS = ("serve", "serve_inline", "stock")
AT_ONCE = 8
"""Sessions of one wave: opened together, closed together."""


@dataclass(frozen=True)
class Growth:
    """What a server held more at the end than after the warm-up cycles.

    Attributes:
        cycles: cycles between the two readings.
        uss_kib: memory of its own, in KiB.
        descriptors: open file descriptors.
        threads: threads.
        cpu_us_per_cycle: server CPU time per cycle, in microseconds.
        seconds: wall time of the cycles.
    """

    cycles: int
    uss_kib: int
    descriptors: int
    threads: int
    cpu_us_per_cycle: float
    seconds: float


def run(context: Context) -> dict[str, Any]:
    """Return ``{server: growth}``."""
    cycles = context.pick(10_000, 1_000)
    results = {}
    for kind in ours():
        if kind.name in (KINDS if not context.quick else KINDS[:1]):
            progress(f"churn: {cycles} cycles of {kind.title}")
            results[kind.name] = asdict(churn(kind, cycles))
    return results


def churn(kind: Kind, cycles: int) -> Growth:
    """Run `cycles` cycles, after a fifth as many to warm up, and read what the server keeps."""
    with running(kind, sessions=4 * AT_ONCE) as server:
        _cycle(server, cycles // 5)
        before, cpu, started = settled_footprint(server.pid), server.cpu_ns(), time.monotonic()
        _cycle(server, cycles)
        seconds, cpu = time.monotonic() - started, server.cpu_ns() - cpu
        after = settled_footprint(server.pid)
    return Growth(
        cycles=cycles,
        uss_kib=after.uss_kib - before.uss_kib,
        descriptors=after.descriptors - before.descriptors,
        threads=after.threads - before.threads,
        cpu_us_per_cycle=cpu / 1e3 / cycles,
        seconds=seconds,
    )


def _cycle(server: Server, cycles: int) -> None:
    for _ in range(max(1, cycles // AT_ONCE)):
        wave = [open_session(server.port, offer_deflate=False) for _ in range(AT_ONCE)]
        for session in wave:
            check_observation(session.call(STEP))
            session.close()
