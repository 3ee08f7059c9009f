"""Run one page of the documentation in a directory of its own.

Pages say ``127.0.0.1:8000`` (8001 ... for further servers), which is what a reader would type; here each of
these ports is replaced by a free one, and back again in what is printed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from .exchanges import replay_http, replay_wire
from .snippets import Snippet, matches, snippets

_PORT = re.compile(r"(?<=127\.0\.0\.1:)800\d\b|(?<=--port )800\d\b")
_BIN = Path(sys.executable).parent
_DRIVER = Path(__file__).with_name("python_driver.py")


class PageFailure(AssertionError):
    """A snippet that does not do what the page says; names page and line."""


class Page:
    """A page in the course of execution; a context manager that ends what it started.

    Attributes:
        path: the page.
        executed: how many blocks were run, written or compared.
        ports: the port that stands in for each one the page names.
    """

    def __init__(self, path: Path, directory: Path) -> None:
        self.path = path
        self.directory = directory / "page"
        self.directory.mkdir(exist_ok=True)
        self.executed = 0
        self.ports: dict[str, str] = {}
        self._background: list[subprocess.Popen[str]] = []
        self._python: subprocess.Popen[str] | None = None
        self._printed = ""
        self._chosen: dict[str, Any] = {}
        self._client = httpx.Client(timeout=15, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        if self._python is not None:
            self._python.communicate(timeout=10)
        for process in self._background:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def run(self) -> None:
        """Do what every block asks, in order."""
        for snippet in snippets(self.path.read_text()):
            if snippet.skip is None:
                self._do(snippet)

    def _do(self, snippet: Snippet) -> None:
        if snippet.kind == "python" and "title" in snippet.attributes:
            target = self.directory / snippet.attributes["title"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(self._with_ports(snippet.text))
        elif snippet.kind == "python":
            self._printed = self._execute(snippet)
        elif snippet.kind == "output":
            self._compare(snippet, snippet.text, self._printed)
        elif snippet.kind == "console":
            self._transcript(snippet)
        elif snippet.kind in ("wire", "http"):
            self._exchange(snippet)
        else:
            return
        self.executed += 1

    def _execute(self, snippet: Snippet) -> str:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, str(_DRIVER)],
                cwd=self.directory,
                env=self._environ(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        request = {"code": self._with_ports(snippet.text), "page": self.path.name, "line": snippet.line}
        self._python.stdin.write(json.dumps(request) + "\n")
        self._python.stdin.flush()
        reply = json.loads(self._python.stdout.readline())
        if reply["failure"]:
            raise PageFailure(f"{self.path.name}:{snippet.line}\n{reply['output']}{reply['failure']}")
        return str(reply["output"])

    def _transcript(self, snippet: Snippet) -> None:
        commands = re.split(r"^\$ ", snippet.text, flags=re.MULTILINE)[1:]
        for number, entry in enumerate(commands, start=1):
            command, _, expected = entry.partition("\n")
            while command.endswith("\\"):
                more, _, expected = expected.partition("\n")
                command = command[:-1] + more.removeprefix("> ")
            if command.endswith("&"):
                self._start(snippet, command.removesuffix("&").strip(), expected)
                continue
            status = snippet.exit_status if number == len(commands) else 0
            self._finish(snippet, command, expected, status)

    def _exchange(self, snippet: Snippet) -> None:
        port = int(self._port(snippet.attributes.get("port", "8000")))
        try:
            if snippet.kind == "wire":
                replay_wire(snippet.text, port, snippet.attributes, self._chosen)
            else:
                self._client.base_url = f"http://127.0.0.1:{port}"
                replay_http(snippet.text, self._client)
        except AssertionError as difference:
            raise PageFailure(f"{self.path.name}:{snippet.line}: {difference}") from difference

    def _finish(self, snippet: Snippet, command: str, expected: str, status: int) -> None:
        done = subprocess.run(
            ["bash", "-c", self._with_ports(command)],
            cwd=self.directory,
            env=self._environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        if done.returncode != status:
            raise PageFailure(
                f"{self.path.name}:{snippet.line}: `{command}` ended with {done.returncode}\n{done.stdout}"
            )
        if expected.strip():
            self._compare(snippet, expected, done.stdout)

    def _start(self, snippet: Snippet, command: str, expected: str) -> None:
        if command.startswith("openenv serve") and "--port" not in command:
            command += " --port 8000"
        log = self.directory.parent / f"background-{len(self._background)}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                ["bash", "-c", self._with_ports(command)],
                cwd=self.directory,
                env=self._environ(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self._background.append(process)
        named = _PORT.search(command)
        port = int(self._port(named[0] if named else "8000"))
        deadline = time.monotonic() + 20
        where = f"{self.path.name}:{snippet.line}: `{command}`"
        printed = ""
        while not (_listens(port) and matches(expected.rstrip() + "...", printed)):
            printed = self._without_ports(log.read_text())
            if process.poll() is not None:
                raise PageFailure(f"{where} ended\n{printed}")
            if time.monotonic() > deadline:
                raise PageFailure(f"{where} is not up, or does not print\n{expected}\nprinted\n{printed}")
            time.sleep(0.05)

    def _compare(self, snippet: Snippet, expected: str, actual: str) -> None:
        shown = self._without_ports(actual)
        if not matches(expected, shown):
            raise PageFailure(f"{self.path.name}:{snippet.line}: expected\n{expected}\nprinted\n{shown}")

    def _environ(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}",
            "NO_COLOR": "1",
            "COLUMNS": "100",
            "PYTHONUNBUFFERED": "1",
        }

    def _port(self, written: str) -> str:
        if written not in self.ports:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.ports[written] = str(probe.getsockname()[1])
        return self.ports[written]

    def _with_ports(self, text: str) -> str:
        return _PORT.sub(lambda found: self._port(found[0]), text)

    def _without_ports(self, text: str) -> str:
        for written, real in self.ports.items():
            text = re.sub(rf"\b{real}\b", written, text)
        return text


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
