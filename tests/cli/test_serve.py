"""`openenv serve` as a user runs it: a process that prints its URL, answers, and stops at a signal."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

import openenv as package
from openenv.cli._reload import snapshot, watched_folder
from openenv.errors import SessionCapacityError

from .conftest import Invoke, openenv

PACKAGES = Path(__file__).parents[1] / "catalog" / "packages"
GAME = '''
from openenv import Environment


class Game(Environment, name="game", version="{version}"):
    """A game."""

    turns: int = 0

    def reset(self) -> str:
        self.turns = 0
        return "go"

    def step(self, word: str) -> str:
        self.turns += 1
        return word
'''


class Server:
    """A running `openenv serve`.

    Attributes:
        lines: what it has printed on stdout so far.
        url: where it is.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((process.stdout, self.lines), (process.stderr, self.errors))
        ]
        for reader in self._readers:
            reader.start()
        self.url = self.printed_url()

    def _read(self, stream: IO[str], lines: list[str]) -> None:
        lines.extend(iter(stream.readline, ""))

    def printed_url(self, number: int = 0, seconds: float = 40.0) -> str:
        """The URL of the server's start `number`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            urls = re.findall(r"^\S+ at (\S+)\n", "".join(self.lines), re.MULTILINE)
            if len(urls) > number:
                return str(urls[number])
            time.sleep(0.02)
        raise AssertionError(f"no URL in {self.lines}; {self.errors}")

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """Status and JSON of a GET."""
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null")

    def until_version(self, version: str, seconds: float = 30.0) -> None:
        """Wait until the served environment is of this version, through any number of restarts."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get("/metadata")[1]["version"] == version:
                    return
            assert time.monotonic() < end, self.errors
            time.sleep(0.05)

    def until_said(self, text: str, seconds: float = 40.0) -> None:
        """Wait until this text stands on stderr."""
        end = time.monotonic() + seconds
        while text not in "".join(self.errors):
            assert time.monotonic() < end, self.errors
            time.sleep(0.02)

    def post(self, path: str, body: object) -> int:
        """Status of a POST."""
        data = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Signal it; exit code and everything it printed."""
        self.process.send_signal(number)
        code = self.process.wait(timeout=40)
        for reader in self._readers:
            reader.join(timeout=5)
        return code, "".join([*self.lines, *self.errors])


@contextmanager
def serving(*argv: str, cwd: Path, **variables: str) -> Iterator[Server]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OPENENV_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "openenv.cli", "serve", *argv],
        cwd=cwd,
        env={**environment, "NO_COLOR": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    try:
        yield Server(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=10)
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture
def game(tmp_path: Path) -> Path:
    (tmp_path / "game.py").write_text(GAME.format(version="1.0"))
    return tmp_path


def test_prints_the_url_and_how_to_connect_and_drains(game: Path) -> None:
    with serving("game.py", "--port", "0", cwd=game) as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
        assert server.get("/health")[1]["status"] == "healthy"
        assert server.get("/metadata")[1]["name"] == "game"
        code, printed = server.stop(signal.SIGINT)
    assert code == 0
    assert "Traceback" not in printed
    assert f'openenv.make("{server.url}")' in "".join(server.lines)
    assert f"openenv play {server.url}" in "".join(server.lines)


def test_a_token_closes_the_door(game: Path) -> None:
    with serving("game.py", "--port", "0", cwd=game, OPENENV_TOKEN="s3cret-token") as server:
        assert server.get("/metadata")[0] == 401
        assert server.get("/metadata", Authorization="Bearer s3cret-token")[0] == 200
        _, printed = server.stop()
    assert "s3cret-token" not in printed


def test_production_has_no_simulation_control(game: Path) -> None:
    with serving("echo", "--port", "0", "--production", cwd=game) as server:
        assert server.post("/reset", {}) == 404
        assert server.post("/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}) == 200


def test_log_lines_as_json(game: Path) -> None:
    with serving("game.py", "--port", "0", "--log-format", "json", cwd=game) as server:
        server.post("/reset", {})
        server.stop()
    lines = [line for line in server.errors if line.startswith("{")]
    assert lines
    assert all({"time", "level", "message"} <= json.loads(line).keys() for line in lines)


def test_a_unix_socket(game: Path) -> None:
    with serving("game.py", "--uds", "s.sock", cwd=game) as server:
        assert server.url.startswith("unix:")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(game / "s.sock"))
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        assert server.stop()[0] == 0


def test_the_number_of_sessions_reaches_the_server(game: Path) -> None:
    argv = ("game.py", "--port", "0", "--max-sessions", "1", "--queue", "0", "--execution", "inline")
    with serving(*argv, cwd=game) as server, package.make(server.url) as holder:
        holder.reset()
        with pytest.raises(SessionCapacityError), package.make(server.url) as other:
            other.reset()


@pytest.mark.timeout(180)  # four starts of a server
def test_reload_serves_the_changed_file_at_the_same_address(game: Path) -> None:
    with serving("game.py", "--port", "0", "--reload", cwd=game) as server:
        first = server.url
        assert server.get("/metadata")[1]["version"] == "1.0"
        (game / "game.py").write_text("this is not Python")
        server.until_said("game.py changed, starting again")
        (game / "game.py").write_text(GAME.format(version="2.0"))
        assert server.printed_url(1) == first
        server.until_version("2.0")
        code, printed = server.stop()
    assert code == 0, printed


@pytest.mark.timeout(180)
def test_reload_keeps_its_address_while_no_server_runs(game: Path) -> None:
    with serving("game.py", "--uds", "s.sock", "--reload", cwd=game) as server:
        (game / "game.py").write_text("this is not Python")
        server.until_said("name 'this' is not defined")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(game / "s.sock"))
            client.sendall(b"GET /metadata HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            (game / "game.py").write_text(GAME.format(version="2.0"))
            client.settimeout(60)
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        code, printed = server.stop(signal.SIGINT)
    assert code == 0, printed
    assert not (game / "s.sock").exists()


def test_the_port_of_a_packages_manifest_unless_another_is_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "core_kettle"
    shutil.copytree(PACKAGES / "core_kettle", folder)
    port = free_port()
    manifest = (folder / "openenv.yaml").read_text()
    (folder / "openenv.yaml").write_text(re.sub(r"(?m)^port:.*\n", "", manifest) + f"\nport: {port}\n")
    with serving("core_kettle", cwd=tmp_path) as server:
        assert server.url == f"http://127.0.0.1:{port}"
        with serving("core_kettle", "--port", "0", cwd=tmp_path) as other:
            assert other.url != server.url
    (folder / "openenv.yaml").write_text(manifest + "\nport: 99999\n")
    run = openenv("serve", "core_kettle", cwd=tmp_path)
    assert run.returncode == 2
    assert "99999" in run.stderr


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_busy_port_is_named(game: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = openenv("serve", "game.py", "--port", str(port), cwd=game)
    assert run.returncode == 2
    assert str(port) in run.stderr
    assert "--port 0" in run.stderr
    assert run.stdout == ""


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("nowhere",), 2, "leads to no environment"),
        (("no_such_file.py",), 2, "there is no file"),
        (("http://127.0.0.1:1",), 2, "is a server already"),
        (("echo", "--host", "0.0.0.0"), 2, "--insecure"),
        (("echo", "--step-timeout", "-1"), 2, "step_timeout_s"),
        (("echo", "--token", "two words"), 2, "token"),
        (("echo", "--execution", "moon"), 2, "moon"),
        (("echo", "--port", "99999"), 2, "port"),
        (("broken.py",), 2, "broken.py"),
        ((), 2, "TARGET"),
    ],
)
def test_what_cannot_be_served(
    argv: tuple[str, ...], code: int, said: str, invoke: Invoke, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("import does_not_exist_anywhere\n")
    result = invoke("serve", *argv)
    assert result.exit_code == code
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_what_a_reload_watches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "maze").mkdir()
    (tmp_path / "maze/server.py").touch()
    (tmp_path / "maze/.hidden").mkdir()
    (tmp_path / "maze/.hidden/x.py").touch()
    (tmp_path / "game.py").touch()
    monkeypatch.chdir(tmp_path)
    assert watched_folder("./maze") == Path("maze")
    assert watched_folder("game.py:Game") == tmp_path
    assert watched_folder("echo").name == "echo"
    assert watched_folder("nowhere") == tmp_path
    assert [path.name for path in snapshot(Path("maze"))] == ["server.py"]
