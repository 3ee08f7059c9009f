"""SIGKILL of clients, workers, session processes and the supervisor, at random; then nothing may be left.

`python -m tests.workers.kills --kills 500 --seed 1` is the long form (`scripts/kills`).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from .served import HERE, Served, eventually, processes_marked, served

LEASE_S = 1.0
LEFT_S = 5.0
"""Seconds after the lease in which everything must be gone."""

_CLIENT = """
import contextlib, sys, time, openenv
while True:
    with contextlib.suppress(openenv.OpenEnvError), openenv.make(sys.argv[1]) as env:
        env.reset()
        for _ in range(20):
            env.step(what="go")
            time.sleep(0.05)
"""


class Chaos:
    """Clients that play, and somebody who kills.

    Args:
        server: the server under attack.
        seed: seed of whom and when.
    """

    def __init__(self, server: Served, seed: int) -> None:
        self.killed: Counter[str] = Counter()
        self._server = server
        self._random = random.Random(seed)
        self._clients: list[subprocess.Popen[bytes]] = []

    def play(self, kills: int, clients: int = 4) -> None:
        """Kill so many processes while clients play."""
        for _ in range(clients):
            self._start_client()
        eventually(lambda: len(self._victims()) == 3, "not everything is up")
        while self.killed.total() < kills:
            time.sleep(self._random.uniform(0.0, 0.3))
            self._kill_one()
        for client in self._clients:
            client.kill()
            client.wait()

    def _start_client(self) -> None:
        command = [sys.executable, "-c", _CLIENT, self._server.url]
        self._clients.append(
            subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONWARNINGS": ""})
        )

    def _victims(self) -> dict[str, list[int]]:
        """Process ids by kind."""
        found: dict[str, list[int]] = {"client": [client.pid for client in self._clients]}
        workers = {pid for pid in self._server.workers() if _parent_of(pid) == self._server.process.pid}
        found["worker"] = sorted(workers)
        parents = {pid: _parent_of(pid) for pid in self._server.workers()}
        zygotes = {pid for pid, parent in parents.items() if parent in workers}
        found["session"] = sorted(pid for pid, parent in parents.items() if parent in zygotes)
        return {kind: pids for kind, pids in found.items() if pids}

    def _kill_one(self) -> None:
        victims = self._victims()
        kind = self._random.choice(["client", "session", "session", "session", "worker"])
        if kind not in victims:
            return
        pid = self._random.choice(victims[kind])
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.killed[kind] += 1
        if kind == "client":
            (client,) = [one for one in self._clients if one.pid == pid]
            client.wait()
            self._clients.remove(client)
            self._start_client()


def _parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
    except OSError:
        return 0


@contextlib.contextmanager
def attacked(folder: Path, seed: int, kills: int) -> Iterator[tuple[Served, Counter[str]]]:
    """A server that lived through so many kills."""
    target = f"{HERE / 'environments.py'}:Careless"
    options = ("--uds", str(folder / "s.sock"), "--execution", "process", "--lease", str(LEASE_S))
    with served(folder, *options, target=target) as server:
        chaos = Chaos(server, seed)
        chaos.play(kills)
        yield server, chaos.killed


def run(folder: Path, seed: int, kills: int) -> Counter[str]:
    """Kill, and check that the server serves on, and that nothing is left once it is killed too."""
    before = set(os.listdir("/dev/shm"))
    with attacked(folder, seed, kills) as (server, killed):
        eventually(lambda: server.serving() == 2, "workers are missing", 60.0)
        eventually(
            lambda: server.metric("openenv_sessions_active") == 0, "sessions are left", LEASE_S + LEFT_S
        )
        _only_the_server_is_left(server)
        server.process.kill()
        server.process.wait()
        killed["supervisor"] += 1
        eventually(lambda: not processes_marked(server.mark), "processes are left", LEASE_S + LEFT_S)
        assert not Path(server.url.removeprefix("unix:")).exists(), "the socket file is left"
        mine = [name for name in set(os.listdir("/dev/shm")) - before if str(server.process.pid) in name]
        assert not mine, f"shared memory is left: {mine}"
    return killed


def _only_the_server_is_left(server: Served) -> None:
    """The supervisor, its workers and their zygotes, and no session's process."""

    def sessions() -> list[int]:
        workers = {pid for pid in server.workers() if _parent_of(pid) == server.process.pid}
        zygotes = {pid for pid in server.workers() if _parent_of(pid) in workers}
        return [pid for pid in server.workers() if pid not in workers | zygotes]

    eventually(lambda: not sessions(), "sessions' processes are left", LEASE_S + LEFT_S)


def main() -> None:
    """Run the long form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    total: Counter[str] = Counter()
    started = time.monotonic()
    round_number = 0
    while total.total() < options.kills:
        wanted = min(50, options.kills - total.total())
        with tempfile.TemporaryDirectory() as folder:
            total += run(Path(folder), options.seed + round_number, max(wanted - 1, 1))
        round_number += 1
        print(f"{total.total()} kills: {dict(total)}, {time.monotonic() - started:.0f} s", flush=True)
    print("nothing was left")


if __name__ == "__main__":
    main()
