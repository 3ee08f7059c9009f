"""Plays the server: holds secrets, listens, has neighbours, and runs the corpus in sandboxes.

``python -m tests.hostile.runner [--deny-namespaces] [--only NAME ...]`` prints one JSON object: the tier, and
for every snippet the list of what got through (empty is contained). Everything is judged from out here.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.hostile import outer_filter
from tests.hostile.corpus import Snippet, load

from openenv.errors import SandboxError
from openenv.sandbox import Limits, Sandbox, Status, backends
from openenv.sandbox.guest.tree import parents

MIB = 1 << 20
LIMITS = Limits(
    wall_s=3, memory_bytes=128 * MIB, processes=24, disk_bytes=24 * MIB, inodes=2000, output_bytes=1 << 18
)
MOST_MEMORY = {True: 400 * MIB, False: 1000 * MIB}
"""By whether a control group counts: the watcher overshoots when many processes fill memory at once."""
SLACK_S = 8.0
KEY = 0xBAD5EED


class Outside:
    """What a cheat would like to reach."""

    def __init__(self) -> None:
        self.secret = "CANARY-" + secrets.token_hex(8)
        self._home = tempfile.TemporaryDirectory(prefix="hostile-")
        self.folder = Path(self._home.name)
        self.folder.chmod(0o755)
        (self.folder / "answers.json").write_text(json.dumps({"answer": self.secret}))
        (self.folder / "server.py").write_text(f"SECRET = {self.secret!r}\n")
        os.environ["SERVER_SECRET"] = self.secret
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.path = socket.socket(socket.AF_UNIX)
        self.path.bind(str(self.folder / "door"))
        self.path.listen()
        self.abstract_name = "hostile-" + secrets.token_hex(4)
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract.bind("\0" + self.abstract_name)
        self.abstract.listen()
        self.neighbour = subprocess.Popen(["sleep", "100000"], env={"SECRET": self.secret})
        self.before = self.fingerprint()

    def fill(self, code: str) -> str:
        """Name in the code what is out here."""
        for name, value in {
            "FOLDER": self.folder,
            "PORT": self.tcp.getsockname()[1],
            "UDP": self.udp.getsockname()[1],
            "UNIX": self.folder / "door",
            "ABSTRACT": self.abstract_name,
            "SERVER": os.getpid(),
            "NEIGHBOUR": self.neighbour.pid,
        }.items():
            code = code.replace(f"@{name}@", str(value))
        return code

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for path in sorted(self.folder.iterdir()):
            facts = path.lstat()
            digest.update(f"{path} {facts.st_mode} {facts.st_size} {facts.st_mtime_ns}".encode())
        return digest.hexdigest()

    def reached(self) -> list[str]:
        """What somebody has got hold of out here."""
        found = []
        doors = [self.tcp, self.udp, self.path, self.abstract]
        for door in select.select(doors, [], [], 0)[0]:
            found.append(f"a connection reached {door.getsockname()}")
            door.recv(65536) if door is self.udp else door.accept()[0].close()
        if self.fingerprint() != self.before:
            found.append("a file of the server changed")
        state = Path(f"/proc/{self.neighbour.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        if self.neighbour.poll() is not None or state in "TZ":
            found.append("the neighbour was stopped or killed")
        for folder in ("/tmp", "/dev/shm", "/var/tmp"):
            found += [f"left {path}" for path in Path(folder).glob("HOSTILE*")]
        for name in ("shm", "sem", "msg"):
            table = Path(f"/proc/sysvipc/{name}").read_text().split()
            if str(KEY) in table:
                found.append(f"left System V {name}")
        return found

    def close(self) -> None:
        self.neighbour.kill()
        self.neighbour.wait()


class Watch(threading.Thread):
    """The most memory that all sandboxes together had."""

    def __init__(self, root_pid: int) -> None:
        super().__init__(daemon=True)
        self._root = root_pid
        self.most = 0

    def run(self) -> None:
        while True:
            table = parents()
            below, pending = set(), [self._root]
            while pending:
                parent = pending.pop()
                fresh = [pid for pid, up in table.items() if up == parent and pid not in below]
                below.update(fresh)
                pending += fresh
            self.most = max(self.most, sum(map(_anonymous, below)))
            time.sleep(0.05)


def _anonymous(pid: int) -> int:
    """Proportional share of anonymous and shared memory; 0 where it is gone or not ours to read."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))


def judge(snippet: Snippet, outside: Outside, options: dict[str, Any]) -> list[str]:
    """Run one snippet; what got through."""
    sandbox = Sandbox.create(limits=LIMITS, **options)
    parent = sandbox._parent
    through: list[str] = []
    started = time.monotonic()
    printed: list[str] = []
    texts: list[str] = []  # tracebacks among them, which quote the snippet
    last: Any = None
    try:
        for code in snippet.cells:
            if snippet.is_command:
                last = run_as_command(sandbox, snippet, outside, through)
                printed.append(last.stdout.decode(errors="replace"))
                texts.append(last.stderr.decode(errors="replace"))
            elif sandbox.session.alive:
                last = sandbox.exec(outside.fill(code), timeout_s=snippet.seconds)
                printed.append(last.stdout)
                texts += [last.stderr, last.value or "", repr(last.error)]
        taken = time.monotonic() - started
        if taken > len(snippet.cells) * (snippet.seconds + SLACK_S):
            through.append(f"took {taken:.1f} s")
        if snippet.option == "forge":
            through += forged(last)
        if snippet.option == "next":
            sandbox.reset()
            through += unclean(sandbox)
        if snippet.option == "settle":
            time.sleep(0.6)
        if sandbox.alive:
            sandbox.statistics()  # the init still answers
    except SandboxError as error:
        texts.append(str(error))
    finally:
        sandbox.kill()
    through += ["the secret"] if outside.secret in "\n".join(printed + texts) else []
    through += ["PWNED"] if "PWNED" in "\n".join(printed) else []
    through += leftovers(parent)
    if snippet.option == "next":
        with Sandbox.create(limits=LIMITS, **options) as fresh:
            through += unclean(fresh)
    return through + outside.reached()


def run_as_command(sandbox: Sandbox, snippet: Snippet, outside: Outside, through: list[str]) -> Any:
    sandbox.write("solution.py", outside.fill(snippet.cells[0]))
    result = sandbox.run(["python3", "solution.py"], timeout_s=snippet.seconds)
    if snippet.option == "fails":
        if result.ok:
            through.append("reported as a success")
    elif result.exit_code != int(snippet.option.removeprefix("exit=")):
        through.append(f"exit code {result.exit_code}: {result.status}")
    return result


def forged(last: Any) -> list[str]:
    """Whether something else than the last cell's true result was believed."""
    if "FORGED" in (last.value or "") or "FORGED" in last.stdout:
        return ["a forged result was believed"]
    honest = "TRUE-RESULT" in last.stdout + last.stderr
    if last.status is Status.OK and not honest and last.alive:
        return ["a result without its output"]
    return []


def unclean(sandbox: Sandbox) -> list[str]:
    """Whether an earlier episode shows."""
    code = "import builtins, json, os, sys\nimport colorsys\n"
    code += "(hasattr(sys, 'HOSTILE'), hasattr(builtins, 'HOSTILE'), json.dumps({'a': 1}), os.listdir('.'))"
    result = sandbox.exec(code, timeout_s=20)
    clean = result.value == "(False, False, '{\"a\": 1}', [])" and not result.stdout
    return (
        [] if clean else [f"the next episode noticed: {result.value} {result.stdout} {result.stderr[-300:]}"]
    )


def leftovers(parent: Any) -> list[str]:
    """Processes that are still there after the kill, beside the warm parent's own."""
    deadline = time.monotonic() + 60  # the machine may be busy
    while True:
        table = parents()
        below = {parent.process.pid}
        for _ in range(8):
            below |= {pid for pid, up in table.items() if up in below}
        own = 3 if parent.mode == "namespaces" else 2
        if len(below) <= own:
            folder = parent._folder
            return [f"left files in {folder}"] if folder and os.listdir(folder) else []
        if time.monotonic() > deadline:
            return [f"{len(below) - own} processes outlived the kill"]
        time.sleep(0.05)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--deny-namespaces", action="store_true")
    parser.add_argument("--naked", action="store_true", help="no isolation: to see that the judge sees")
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    options: dict[str, Any] = {}
    if arguments.deny_namespaces:
        outer_filter.install()
        options = {"degrade_to": "C"}
    if arguments.naked:
        options = {"backend": "subprocess"}
    outside = Outside()
    verdicts: dict[str, list[str]] = {}
    try:
        with Sandbox.create(limits=LIMITS, **options) as first:
            tier, parent = first.tier, first._parent
        watch = Watch(parent.process.pid)
        watch.start()
        for snippet in load():
            if arguments.only and snippet.name not in arguments.only:
                continue
            watch.most = 0
            started = time.monotonic()
            verdicts[snippet.name] = judge(snippet, outside, options)
            if watch.most > MOST_MEMORY[parent.groups is not None]:
                verdicts[snippet.name].append(f"{watch.most >> 20} MiB of memory")
            print(
                f"{time.monotonic() - started:6.2f} s {snippet.name} {verdicts[snippet.name]}",
                file=sys.stderr,
            )
        print(json.dumps({"tier": tier.value, "user": os.geteuid(), "verdicts": verdicts}))
    finally:
        outside.close()
        backends.close_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
