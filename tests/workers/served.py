"""A server with workers, as a user starts it, and what is left of it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

HERE = Path(__file__).parent
TARGET = f"{HERE / 'environments.py'}:Tally"
PATIENCE_S = 30.0
TOKEN = "a-token-for-tests"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def eventually(what: Callable[[], Any], why: str = "", within_s: float = PATIENCE_S) -> Any:
    """Wait until `what` gives something true."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError):  # a worker was killed while it answered
            found = what()
            if found:
                return found
        time.sleep(0.05)
    raise AssertionError(why or f"{what} stayed false for {within_s} s")


def processes_marked(mark: str) -> dict[int, str]:
    """Processes that inherited a mark in their environment variables, with their command lines."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                status = (folder / "stat").read_text().rpartition(") ")[2][0]
                if status not in "ZX":
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(folder.name)] = command.decode(errors="replace")
        except OSError:  # it ended, or is somebody else's
            continue
    return found


@dataclass
class Served:
    """A running server."""

    process: subprocess.Popen[str]
    url: str
    mark: str
    log: Path
    temporary: Path

    def client(self, **more: Any) -> httpx.Client:
        """An HTTP client with the token."""
        if self.url.startswith("unix:"):
            transport = httpx.HTTPTransport(uds=self.url.removeprefix("unix:"))
            return httpx.Client(transport=transport, base_url="http://localhost", timeout=30, **more)
        return httpx.Client(base_url=self.url, timeout=30, **{"headers": HEADERS, **more})

    def workers(self) -> list[int]:
        """Ids of the worker processes."""
        return sorted(pid for pid, line in processes_marked(self.mark).items() if "cli._crew" in line)

    def serving(self) -> int:
        """How many workers serve."""
        return int(self.metric("openenv_workers"))

    def metric(self, name: str) -> float:
        """The value of a metric."""
        with self.client() as http:
            text = http.get("/metrics").text
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name} ")]
        return float(line.split()[-1])

    def left_over(self) -> list[str]:
        """What there is of the server: processes, its socket file, temporary files."""
        left = [f"{pid}: {line}" for pid, line in processes_marked(self.mark).items()]
        left += [str(path) for path in self.temporary.rglob("*")]
        if self.url.startswith("unix:") and os.path.exists(self.url.removeprefix("unix:")):
            left.append(self.url)
        return left


@contextmanager
def served(folder: Path, *options: str, target: str = TARGET, workers: int = 2) -> Iterator[Served]:
    """`openenv serve` with workers; nothing may be left of it in the end."""
    mark = f"OPENENV_TEST_MARK={uuid.uuid4().hex}"
    name, _, value = mark.partition("=")
    temporary = folder / f"tmp-{value[:8]}"
    temporary.mkdir()
    log = folder / f"server-{value[:8]}.log"
    where = () if "--uds" in options else ("--port", "0", "--token", TOKEN)
    command = [sys.executable, "-m", "openenv.cli", "serve", target, "--workers", str(workers)]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [*command, *where, *options],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=folder,
            env={
                **os.environ,
                name: value,
                "TMPDIR": str(temporary),
                "NO_COLOR": "1",
                "PYTHONUNBUFFERED": "1",
            },
        )
    assert process.stdout is not None
    try:
        first = process.stdout.readline()
        match = re.search(r" at (\S+)", first)
        assert match, f"{first!r} {log.read_text()}"
        server = Served(process, match[1], mark, log, temporary)
        eventually(lambda: server.serving() == workers)
        yield server
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0, log.read_text()
        eventually(lambda: not server.left_over(), "something is left", 10.0)
    finally:
        process.stdout.close()
        process.kill()
        process.wait()
        for pid in processes_marked(mark):
            os.kill(pid, signal.SIGKILL)
