"""The long forms: ten thousand episodes, and the soak. Each prints a verdict and ends with 1 if it is bad."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.campaign import Campaign, Report
from tests.faults.proxy import ChaosProxy
from tests.faults.served import ChainServer, in_folder

RATES = {"batch": 0.02, "ready": 0.008, "": 0.015}
"""Faults per frame; a frame of a batch carries the steps of many sessions."""


def faults(argv: Sequence[str] | None = None) -> int:
    """Run many episodes under faults and kills."""
    parser = argparse.ArgumentParser(prog="scripts/faults", description=faults.__doc__)
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--kills", type=int, default=10, help="SIGKILLs of the server")
    options = parser.parse_args(argv)
    with in_folder() as server, ChaosProxy(server.address, seed=options.seed, rates=RATES) as proxy:
        campaign = Campaign(proxy.url, options.episodes, options.steps, seed=options.seed, deadlines=0.1)
        share = options.episodes / (options.kills + 1)
        killer = _in_thread(lambda: _kill(server, campaign, [share * (n + 1) for n in range(options.kills)]))
        began = time.monotonic()
        report = campaign.run()
        killer.join()
        print(f"{time.monotonic() - began:.0f} s, seed {options.seed}, {server.kills} kills")
        print(f"faults: {dict(proxy.faults)}")
        good = _verdict(server, report, options.steps, options.episodes)
    shutil.rmtree(server.folder)
    return 0 if good else 1


def soak(argv: Sequence[str] | None = None) -> int:
    """Run episodes under faults for a while; memory, descriptors and threads must stay flat."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=soak.__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args(argv)
    seconds = 60 * options.minutes
    with in_folder("--lease", "10") as server:
        watch = Watch({"server": server.process.pid, "client": os.getpid()}, seconds)
        with ChaosProxy(server.address, seed=options.seed, rates=RATES) as proxy:
            until = time.monotonic() + seconds
            campaign = Campaign(proxy.url, 10**9, options.steps, deadlines=0.1, until=until)
            watcher = _in_thread(watch.run)
            report = campaign.run()
            watcher.join()
        print(f"{options.minutes:g} minutes, seed {options.seed}")
        print(f"faults: {dict(proxy.faults)}")
        good = _verdict(server, report, options.steps, report.episodes) & watch.verdict()
    shutil.rmtree(server.folder)
    return 0 if good else 1


def _verdict(server: ChainServer, report: Report, steps: int, episodes: int) -> bool:
    calls, doubled = server.judged(steps)
    print(
        f"episodes: {report.episodes}, equal to the fault-free run {report.equal}, lost with a type "
        f"{report.lost}, deadline passed {report.late}, wrong {len(report.wrong)}"
    )
    print(f"calls made by the server: {calls}, doubled or misplaced {len(doubled)}")
    for line in (*report.wrong[:10], *doubled[:10]):
        print(f"  {line}")
    good = not report.wrong and not doubled and report.episodes == episodes and report.equal > 0
    print("verdict:", "good" if good else "BAD")
    return good


def _kill(server: ChainServer, campaign: Campaign, numbers: Sequence[float]) -> None:
    for number in numbers:
        while campaign.report.episodes < number and not campaign.finished:
            time.sleep(0.02)
        server.kill()


def _in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


# What must stay flat ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process holds: resident memory in KiB, descriptors, threads."""

    memory: int
    descriptors: int
    threads: int


def sample(pid: int) -> Sample:
    """Look at a process."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    return Sample(int(status["VmRSS"].split()[0]), descriptors, int(status["Threads"]))


class Watch:
    """Samples processes through a run and compares its second quarter with its last.

    Args:
        pids: the processes, by name.
        seconds: length of the run.
    """

    def __init__(self, pids: dict[str, int], seconds: float) -> None:
        self.samples: dict[str, list[Sample]] = {name: [] for name in pids}
        self._pids = pids
        self._until = time.monotonic() + seconds
        self._pause = max(0.2, min(5.0, seconds / 200))

    def run(self) -> None:
        """Sample until the run is over."""
        while time.monotonic() < self._until:
            for name, pid in self._pids.items():
                self.samples[name].append(sample(pid))
            time.sleep(self._pause)

    def verdict(self) -> bool:
        """Print the figures and say whether they are flat: 10 % and 8 MiB of memory, 20 of the others."""
        good = True
        for name, samples in self.samples.items():
            quarter = max(1, len(samples) // 4)
            early, last = samples[quarter : 2 * quarter] or samples, samples[-quarter:]
            for what, slack in (("memory", 8192), ("descriptors", 20), ("threads", 20)):
                before = sum(getattr(each, what) for each in early) / len(early)
                after = sum(getattr(each, what) for each in last) / len(last)
                flat = after <= before * 1.1 + slack
                good &= flat
                print(f"{name} {what}: {before:.0f} -> {after:.0f} {'flat' if flat else 'GROWS'}")
        print("soak:", "flat" if good else "NOT flat")
        return good


if __name__ == "__main__":
    sys.exit({"faults": faults, "soak": soak}[sys.argv[1]](sys.argv[2:]))
