"""A real `openenv serve` of the chain environment, in a process of its own that can be killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import chain

_START_S = 60.0


class ChainServer:
    """`openenv serve tests/faults/chain.py`, always on the same port.

    Args:
        folder: where journal and log go.
        options: further arguments of `openenv serve`.

    Attributes:
        kills: how often it was killed.
        journal: path of the environments' journal.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.kills = 0
        self.journal = folder / "journal"
        self._options = options
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address: tuple[str, int] = ("127.0.0.1", free.getsockname()[1])
        self._log = (folder / "server.log").open("ab")
        self.process = self._start()

    @property
    def url(self) -> str:
        """Where clients connect to without a proxy."""
        return f"http://{self.address[0]}:{self.address[1]}"

    def kill(self) -> None:
        """End it by SIGKILL, with all that belongs to it, and start another in its place."""
        self.kills += 1
        self._end(signal.SIGKILL)
        self.process = self._start()

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)
        self._log.close()

    def judged(self, steps: int) -> tuple[int, list[str]]:
        """What the journal says; see `chain.judged`."""
        text = self.journal.read_text() if self.journal.exists() else ""
        return chain.judged(text, steps)

    def __enter__(self) -> ChainServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _start(self) -> subprocess.Popen[bytes]:
        port = str(self.address[1])
        command = [sys.executable, "-m", "openenv.cli", "serve", chain.__file__, "--port", port]
        command += ["--max-sessions", "2000", *self._options]
        environment = {**os.environ, chain.JOURNAL: str(self.journal)}
        process = subprocess.Popen(
            command, env=environment, stdout=self._log, stderr=self._log, start_new_session=True
        )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                socket.create_connection(self.address, 1).close()
                return process
            except OSError:
                assert process.poll() is None, (self.folder / "server.log").read_text()
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.02)

    def _end(self, how: signal.Signals) -> None:
        os.killpg(self.process.pid, how)
        try:
            self.process.wait(30)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(10)


def in_folder(*options: str) -> ChainServer:
    """A server with a new folder for its files."""
    return ChainServer(Path(tempfile.mkdtemp(prefix="openenv-faults-")), *options)
