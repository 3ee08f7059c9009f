"""The servers under measurement: how each is started, found, read and stopped."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .loadgen import STEP, LoadError, check_observation, open_session
from .process import cpu_ns

HERE = Path(__file__).resolve().parent
TARGET = f"{HERE / 'noop.py'}:NoopEnvironment"

# `sys.modules[name] = None` makes an import fail: our server without the extra `fast`, in a venv that has it.
_WITHOUT_FAST = (
    "import sys; sys.modules['uvloop'] = sys.modules['httptools'] = None; "
    "from openenv.cli.__main__ import main; main()"
)


@dataclass(frozen=True)
class Kind:
    """One way to serve the no-op environment.

    Attributes:
        name: key in the results.
        title: what the table calls it.
        ours: whether it is this package's code.
        command: argv; ``{sessions}`` and ``{port}`` are filled in.
        environ: variables on top of the caller's.
    """

    name: str
    title: str
    ours: bool
    command: tuple[str, ...]
    environ: dict[str, str] = field(default_factory=dict)


def published(python: str) -> Kind:
    """The published package, as `pip install openenv==0.10.0` and uvicorn run it."""
    return Kind("published", "published 0.10.0", False, (python, str(HERE / "noop.py"), "{sessions}"))


def ours() -> list[Kind]:
    """Our server in every form that the table names."""
    serve = (TARGET, "--port", "0", "--max-sessions", "{sessions}")
    plain = (sys.executable, "-c", _WITHOUT_FAST, "serve", *serve)
    fast = (sys.executable, "-m", "openenv.cli", "serve", *serve)
    return [
        Kind("serve", "openenv serve", True, plain),
        Kind("serve_fast", "openenv serve, extra fast", True, fast),
        Kind("serve_thread", "openenv serve --execution thread", True, (*plain, "--execution", "thread")),
        Kind("serve_inline", "openenv serve --execution inline", True, (*plain, "--execution", "inline")),
        Kind(
            "stock",
            "create_app under stock uvicorn",
            True,
            (sys.executable, str(HERE / "noop.py"), "{sessions}"),
        ),
    ]


@dataclass
class Server:
    """A running server.

    Attributes:
        kind: what it is.
        process: its process.
        port: where it listens.
        started_ns: `time.perf_counter_ns` just before it was spawned.
    """

    kind: Kind
    process: subprocess.Popen[bytes]
    started_ns: int
    log: Path
    port: int = 0

    @property
    def pid(self) -> int:
        return self.process.pid

    def cpu_ns(self) -> int:
        return cpu_ns(self.pid)

    def first_step(self, patience_s: float = 60.0) -> None:
        """Wait for the server to listen, then reset and step once over a connection of its own.

        Raises:
            LoadError: if it ends or does not answer in time.
        """
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise LoadError(f"{self.kind.title} ended: {self.log.read_text()[-600:]}")
            self.port = self.port or self._announced_port()
            if self.port:
                with contextlib.suppress(ConnectionRefusedError):
                    session = open_session(self.port, offer_deflate=True)
                    check_observation(session.call(STEP))
                    session.close()
                    return
            time.sleep(0.005)
        raise LoadError(
            f"{self.kind.title} gave no step in {patience_s:.0f} s: {self.log.read_text()[-600:]}"
        )

    def _announced_port(self) -> int:
        """The port from the first number or URL that the server printed."""
        found = re.search(r"^(\d+)$|http://127\.0\.0\.1:(\d+)", self.log.read_text(), re.MULTILINE)
        return int(found[1] or found[2]) if found else 0

    def stop(self) -> None:
        """End it: SIGTERM, then SIGKILL after 10 s."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def spawn(kind: Kind, *, sessions: int) -> Server:
    """Start a server without waiting for it."""
    descriptor, name = tempfile.mkstemp(prefix=f"openenv-bench-{kind.name}-", suffix=".log")
    command = [part.format(sessions=sessions) for part in kind.command]
    environ = {**os.environ, **kind.environ, "PYTHONUNBUFFERED": "1"}
    environ.pop("COVERAGE_PROCESS_START", None)  # a measured server is not the one we measure
    started = time.perf_counter_ns()
    try:
        process = subprocess.Popen(command, stdout=descriptor, stderr=descriptor, env=environ)
    finally:
        os.close(descriptor)
    return Server(kind, process, started, Path(name))


@contextlib.contextmanager
def running(kind: Kind, *, sessions: int) -> Iterator[Server]:
    """A server that has answered its first step; stopped at the end."""
    server = spawn(kind, sessions=sessions)
    try:
        server.first_step()
        yield server
    finally:
        server.stop()
        server.log.unlink()
