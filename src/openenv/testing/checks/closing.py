"""Is nothing left when a session closes?"""

from __future__ import annotations

import gc
import inspect
import os
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openenv.testing.context import Check, Context, Skipped
from openenv.testing.episodes import playing
from openenv.testing.places import place_of
from openenv.testing.report import Finding, Severity

_FILES = Path("/proc/self/fd")
_CYCLES = 24
_LEAST = 6
_STEPS = 5
_GROWTH_BYTES = 10_000
"""Memory per session that counts as left behind; less is lost in what any program keeps."""
_THREAD_GRACE_S = 1.0


def close_raises(context: Context) -> Iterator[Finding]:
    """Close an environment directly: a session only logs what its `close` raises."""
    env: Any = None
    with context.player() as player:
        player.reset(context.seeds[0])
        env = player.ask("environment", lambda env: env)
        close = getattr(env, "close", None)
        if close is None:
            return
        try:
            context.stage.do("close", close, lambda: _maybe_awaited(close))
        except Exception as error:  # boundary: the environment's own code
            error.__cause__ = None
            yield Finding(
                "close-raises",
                Severity.ERROR,
                f"close() raised {type(error).__name__}: {error}",
                place_of(context.spec, "close"),
                "let close() give back what there is, also after a failure and when called twice",
            )


async def _maybe_awaited(close: Any) -> None:
    result = close()
    if inspect.isawaitable(result):
        await result


def _cycle(context: Context) -> None:
    """Open a session, play a little, close it."""
    seed = context.seeds[0]
    with context.player() as player:
        for _ in playing(player, seed, context.actions(seed)[:_STEPS]):
            pass


def leak_threads(context: Context) -> Iterator[Finding]:
    """Count the threads that sessions leave behind."""
    _cycle(context)
    before = set(threading.enumerate())
    for _ in range(2):
        _cycle(context)
    end = time.monotonic() + _THREAD_GRACE_S
    while (left := set(threading.enumerate()) - before) and time.monotonic() < end:
        time.sleep(0.02)
    if len(left) > 1:
        names = ", ".join(sorted(thread.name for thread in left))
        yield _leak(
            context, "leak-threads", f"threads live on after close: {names}", "end and join them in close()"
        )


def leak_files(context: Context) -> Iterator[Finding]:
    """Count the files that sessions leave open."""
    if not _FILES.is_dir():
        raise Skipped("open files can only be counted on Linux")
    _cycle(context)
    before = _open_files()
    cycles = 4
    for _ in range(cycles):
        _cycle(context)
    after = _open_files()
    if len(after) - len(before) >= cycles:
        kinds = ", ".join(sorted({after[number] for number in after.keys() - before.keys()})[:3])
        yield _leak(
            context,
            "leak-files",
            f"{len(after) - len(before)} files stay open after {cycles} sessions: {kinds}",
            "close files, sockets and processes in close()",
        )


def _open_files() -> dict[str, str]:
    gc.collect()
    found = {}
    for entry in os.listdir(_FILES):
        try:
            found[entry] = os.readlink(_FILES / entry)
        except OSError:  # the descriptor of the listing itself
            continue
    return found


def leak_memory(context: Context) -> Iterator[Finding]:
    """Measure the memory that sessions leave behind, twice: caches fill once, leaks go on."""
    for _ in context.repeated(_CYCLES // 2, 2):
        _cycle(context)
    ours = not tracemalloc.is_tracing()
    if ours:
        tracemalloc.start()
    try:
        growths, snapshots = _measured(context)
    finally:
        if ours:
            tracemalloc.stop()
    if min(growths) < _GROWTH_BYTES:
        return
    lines = snapshots[1].compare_to(snapshots[0], "lineno")
    top = next((line for line in lines if line.size_diff > 0), None)
    where = f"{top.traceback[0].filename}:{top.traceback[0].lineno}" if top else place_of(context.spec)
    yield Finding(
        "leak-memory",
        Severity.ERROR,
        f"each session leaves about {min(growths) // 1000:.0f} kB behind",
        where,
        "keep nothing of an episode outside of the instance, and unregister it where it was registered",
    )


def _measured(context: Context) -> tuple[list[float], list[tracemalloc.Snapshot]]:
    """Return bytes per session in two halves, and snapshots around the second."""
    growths, snapshots = [], []
    for _ in range(2):
        gc.collect()
        snapshots = [tracemalloc.take_snapshot()]
        before, _ = tracemalloc.get_traced_memory()
        cycles = 0
        for _ in context.repeated(_CYCLES, _LEAST):
            _cycle(context)
            cycles += 1
        gc.collect()
        growths.append((tracemalloc.get_traced_memory()[0] - before) / cycles)
        snapshots.append(tracemalloc.take_snapshot())
    return growths, snapshots


def _leak(context: Context, check: str, message: str, fix: str) -> Finding:
    return Finding(check, Severity.ERROR, message, place_of(context.spec, "close"), fix)


CLOSING_CHECKS = (
    Check("close-raises", close_raises),
    Check("leak-threads", leak_threads),
    Check("leak-files", leak_files),
    Check("leak-memory", leak_memory),
)
