"""What a sandbox costs: making one, running in one, branching, holding many; beside other ways to isolate.

Everything is measured in one run on one machine, since figures move with its load. `python -m
benchmarks.sandbox` runs this suite alone and prints it.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openenv.sandbox import Limits, Sandbox, SandboxPool, backends
from openenv.sandbox.guest.tree import parents

from .context import Context, progress

_PROGRAM = "print(1 + 1)"
_BWRAP = """
bwrap --unshare-all --die-with-parent --ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64
--symlink usr/bin /bin --proc /proc --dev /dev --tmpfs /tmp --dir /work --chdir /work
""".split()
_RUNSC = ["runsc", "--network=none", "--ignore-cgroups", "do"]
_OTHERS = {
    "bwrap": [*_BWRAP, "/usr/bin/python3", "-I", "-S", "-c", _PROGRAM],
    "runsc": [
        "runsc",
        "--network=none",
        "--ignore-cgroups",
        "do",
        "/usr/bin/python3",
        "-I",
        "-S",
        "-c",
        _PROGRAM,
    ],
    "podman": [
        "podman",
        "run",
        "--rm",
        "--network=none",
        "--rootfs",
        "/",
        "python3",
        "-I",
        "-S",
        "-c",
        _PROGRAM,
    ],
}
_LIMITS = Limits(wall_s=60)


def run(context: Context) -> dict[str, Any]:
    """Return the figures; milliseconds are medians."""
    rounds = context.pick(100, 20)
    Sandbox.create(limits=_LIMITS).kill()
    results: dict[str, Any] = {"tier": backends.examined().tier.value, "user": os.geteuid()}
    progress("sandbox: making one, beside other ways")
    results |= _creation(rounds)
    progress("sandbox: running in one")
    results |= _running(rounds)
    progress("sandbox: branches")
    results |= _branches(rounds // 5)
    progress("sandbox: many at once")
    results |= _many(context.pick(200, 50))
    progress("sandbox: many one after the other")
    results |= _soak(context.pick(1000, 100))
    backends.close_all()
    return results


def _creation(rounds: int) -> dict[str, Any]:
    """Interleaved, so that a drift of the machine falls on all alike."""
    samples: dict[str, list[float]] = {}
    ways: dict[str, Callable[[], None]] = {
        "true": _true,
        "create": _create,
        "create_and_run": _create_and_run,
    }
    ways |= {name: _starter(words) for name, words in _OTHERS.items() if _works(words)}
    for number in range(rounds):
        for name, way in ways.items():
            if name in _OTHERS and number >= rounds // 4:
                continue
            samples.setdefault(name, []).append(_timed(way))
            while _LIVE:
                _LIVE.pop().kill()
    return {f"{name}_ms": statistics.median(taken) for name, taken in samples.items()}


_LIVE: list[Sandbox] = []


def _true() -> None:
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


def _create() -> None:
    _LIVE.append(Sandbox.create(limits=_LIMITS))


def _create_and_run() -> None:
    _create()
    assert _LIVE[-1].exec(_PROGRAM).stdout == "2\n"


def _starter(words: list[str]) -> Callable[[], None]:
    return lambda: subprocess.run(words, check=True, capture_output=True) and None


def _works(words: list[str]) -> bool:
    if shutil.which(words[0]) is None:
        return False
    try:
        done = subprocess.run(words, capture_output=True, timeout=30)
    except subprocess.TimeoutExpired:
        return False
    return done.stdout.strip() == b"2"


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


def _running(rounds: int) -> dict[str, float]:
    names: dict[str, Any] = {}
    with Sandbox.create(limits=_LIMITS) as sandbox:
        sandbox.exec("y = 1")
        inside = statistics.median(_timed(lambda: sandbox.exec("y = 1") and None) for _ in range(5 * rounds))
        command = statistics.median(
            _timed(lambda: sandbox.run(["/bin/true"]) and None) for _ in range(rounds)
        )
        reset = statistics.median(_timed(sandbox.reset) for _ in range(rounds))
    here = statistics.median(
        _timed(lambda: exec(compile("y = 1", "x", "exec"), names)) for _ in range(rounds)
    )
    pooled = []
    with SandboxPool(4, limits=_LIMITS) as pool:
        for _ in range(rounds // 2):
            while pool.ready < 4:
                time.sleep(0.001)
            time.sleep(0.01)
            started = time.perf_counter()
            taken = pool.acquire()
            taken.exec("1")
            pooled.append((time.perf_counter() - started) * 1e3)
            taken.kill()
    return {
        "exec_ms": inside,
        "exec_here_ms": here,
        "run_true_ms": command,
        "reset_ms": reset,
        "pooled_ms": statistics.median(pooled),
    }


def _branches(rounds: int) -> dict[str, float]:
    with Sandbox.create(limits=Limits(memory_bytes=1 << 30, wall_s=60)) as sandbox:
        sandbox.exec("data = bytearray(b'x' * (100 << 20))")

        def branch() -> None:
            sandbox.fork()[0].close()

        return {"branch_100mb_ms": statistics.median(_timed(branch) for _ in range(max(rounds, 5)))}


def _many(count: int) -> dict[str, float]:
    started = time.perf_counter()
    boxes = [Sandbox.create(limits=_LIMITS) for _ in range(count)]
    try:
        assert all(box.exec("1").ok for box in boxes)
        seconds = time.perf_counter() - started
        (parent,) = {box._parent.process.pid for box in boxes}
        table = parents()
        below = {parent}
        for _ in range(8):
            below |= {pid for pid, up in table.items() if up in below}
        pss = sum(map(_pss_kib, below))
    finally:
        for box in boxes:
            box.kill()
    return {"many": count, "many_seconds": seconds, "pss_mib_each": pss / count / 1024}


def _pss_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _soak(cycles: int) -> dict[str, float]:
    descriptors = len(os.listdir("/proc/self/fd"))
    taken = []
    for _ in range(cycles):
        started = time.perf_counter()
        with Sandbox.create(limits=_LIMITS) as box:
            box.exec("1")
        taken.append((time.perf_counter() - started) * 1e3)
    tenth = cycles // 10
    return {
        "cycles": cycles,
        "first_cycles_ms": statistics.median(taken[:tenth]),
        "last_cycles_ms": statistics.median(taken[-tenth:]),
        "descriptors_left": len(os.listdir("/proc/self/fd")) - descriptors,
    }


if __name__ == "__main__":
    print(json.dumps(run(Context(published_python="", quick="--quick" in sys.argv)), indent=1))
