"""Serving: signals, ports, sockets, threads, and servers that do not start."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server.echo import EchoApp, EchoRuntime, RawClient

from openenv.errors import InfrastructureError, UsageError
from openenv.server import ports
from openenv.server.run import BackgroundServer, RunSettings, serve, serve_async

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from openenv.server.run import serve
from tests.server.echo import EchoApp, EchoRuntime
serve(EchoApp(EchoRuntime(), raw=True), port=0, drain_s=float(sys.argv[1]), log_level="critical",
      ready=lambda url: print(url, flush=True))
print("returned", flush=True)
"""


@pytest.fixture
def app() -> EchoApp:
    return EchoApp(EchoRuntime(), raw=True)


@pytest.fixture
def start() -> Iterator[Any]:
    """Starts a server process with a drain time; kills it in the end."""
    processes: list[subprocess.Popen[str]] = []

    def run(drain_s: float) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(drain_s)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        processes.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield run
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_the_program_goes_on(start: Any, number: int) -> None:
    process, url = start(5)
    with RawClient(url, "/ws?threaded") as client:
        client.text(b"sleep 0.5")
        time.sleep(0.1)
        process.send_signal(number)
        assert client.reply() == b"sleep 0.5"
        assert client.closing().code == 1012
    output, _ = process.communicate(timeout=10)
    assert output == "returned\n"
    assert process.returncode == 0


def test_a_second_signal_stops_the_waiting(start: Any) -> None:
    process, url = start(60)
    with RawClient(url, "/ws?threaded") as client:
        client.text(b"sleep 60")
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
        assert time.monotonic() - begin < 5


def test_no_connection_is_accepted_while_draining(start: Any) -> None:
    process, url = start(5)
    with RawClient(url, "/ws?threaded") as client:
        client.text(b"sleep 0.6")
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        with pytest.raises(ConnectionRefusedError):
            RawClient(url)
        assert client.reply() == b"sleep 0.6"
        client.closing()
    assert process.wait(timeout=10) == 0


def test_a_busy_port_is_a_usage_error_that_names_it_and_its_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=re.escape(f"Port {port} on 127.0.0.1 is in use")) as caught:
            serve(None, port=port)
        assert f"process {os.getpid()}" in caught.value.message
        assert "--port 0" in caught.value.message


def test_a_free_port_is_taken_again_at_once(app: EchoApp) -> None:
    with BackgroundServer(app, log_level="critical") as url:
        port = int(url.rpartition(":")[2])
        with RawClient(url) as client:
            client.ask(b"hello")
    with BackgroundServer(app, port=port, log_level="critical") as again:
        assert again == url


@pytest.mark.parametrize(
    ("host", "port", "complaint"),
    [
        ("no.such.host.invalid", 0, "has no address"),
        ("127.0.0.1", 70000, "no port 70000"),
        ("192.0.2.1", 0, "Cannot listen on 192.0.2.1:0"),
    ],
)
def test_addresses_that_cannot_be_bound_are_usage_errors(host: str, port: int, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        ports.listen_tcp(host, port)


def test_a_port_that_may_not_be_bound_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forbidden(socket.socket):
        def bind(self, address: Any) -> None:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", Forbidden)
    with pytest.raises(UsageError, match="may not be bound"):
        ports.listen_tcp("127.0.0.1", 80)


def test_ipv6_addresses_have_urls() -> None:
    with ports.listen_tcp("::1", 0) as sock:
        assert re.fullmatch(r"https://\[::1\]:\d+", ports.url_of(sock, "https"))


def test_all_addresses_are_reached_by_the_loopback_one() -> None:
    with ports.listen_tcp("0.0.0.0", 0) as sock:
        assert ports.url_of(sock).startswith("http://127.0.0.1:")
    with ports.listen_tcp("", 0) as sock:
        assert ports.url_of(sock).startswith("http://")


def test_nobody_listens_on_a_free_port() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        assert ports.listening_process(sock.getsockname()[1]) is None


def test_processes_that_we_may_not_look_into_are_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> str:
        raise PermissionError(13, "Permission denied")

    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        assert ports.listening_process(port) == os.getpid()
        monkeypatch.setattr(os, "readlink", refuse)
        assert ports.listening_process(port) is None
        monkeypatch.setattr(Path, "read_text", refuse)
        assert ports.listening_process(port) is None
        assert ports._command(os.getpid()) == "?"


def test_unix_sockets_replace_what_the_dead_left(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    ports.listen_unix(path).close()
    assert Path(path).exists()
    with ports.listen_unix(path):
        with pytest.raises(UsageError, match="listens on the Unix socket"):
            ports.listen_unix(path)


def test_unix_sockets_replace_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="in the way"):
        ports.listen_unix(str(tmp_path / "file"))
    with pytest.raises(UsageError, match="Cannot listen on the Unix socket"):
        ports.listen_unix(str(tmp_path / "no" / "folder"))
    with pytest.raises(UsageError, match="Cannot listen on the Unix socket"):
        ports.listen_unix(str(tmp_path / ("x" * 200)))


def test_a_socket_that_listens_already_is_served(app: EchoApp) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mine:
        port = mine.getsockname()[1]
        for _ in range(2):
            with BackgroundServer(app, fd=os.dup(mine.fileno()), log_level="critical") as url:
                assert url == f"http://127.0.0.1:{port}"
                assert httpx.get(url, trust_env=False).text == "hello"


def test_what_is_no_listening_socket_is_a_usage_error(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(UsageError, match="no socket to listen on"):
        ports.inherited(file.fileno())
    with socket.socket() as silent:
        with pytest.raises(UsageError, match="does not listen"):
            ports.inherited(silent.fileno())
        assert silent.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM


def test_a_background_server_starts_once_and_can_start_again(app: EchoApp) -> None:
    server = BackgroundServer(app, log_level="critical")
    with pytest.raises(UsageError, match="does not run"):
        _ = server.url
    server.stop()
    for _ in range(2):
        url = server.start()
        assert httpx.get(url, trust_env=False).text == "hello"
        with pytest.raises(UsageError, match="runs already"):
            server.start()
        server.stop()


def test_a_background_server_leaves_nothing_behind(app: EchoApp) -> None:
    with BackgroundServer(app, log_level="critical"):
        pass
    # What earlier tests left may go meanwhile; nothing may come.
    threads, descriptors = set(threading.enumerate()), open_descriptors()
    for _ in range(3):
        with BackgroundServer(app, log_level="critical") as url, RawClient(url) as client:
            client.ask(b"hello")
    assert not set(threading.enumerate()) - threads
    assert not open_descriptors() - descriptors


def open_descriptors() -> set[tuple[str, str]]:
    """This process's descriptors and what each is, so that a number used again is another."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return found


async def broken(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


def test_an_application_that_does_not_start_is_an_error() -> None:
    server = BackgroundServer(broken, log_level="critical")
    with pytest.raises(InfrastructureError, match="did not start"):
        server.start()
    with pytest.raises(InfrastructureError, match="did not start"):
        serve(broken, port=0, log_level="critical")


def test_an_application_without_a_runtime_is_served_by_uvicorn_alone() -> None:
    app = EchoApp(EchoRuntime(), raw=False)
    with BackgroundServer(app, log_level="critical") as url, RawClient(url, "/own") as client:
        assert client.ask(b"hello") == b"own hello"


async def test_serving_inside_a_loop_ends_with_its_task(app: EchoApp) -> None:
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    handler = signal.getsignal(signal.SIGTERM)
    task = asyncio.create_task(serve_async(app, port=0, ready=url.set_result, log_level="critical"))
    address = await url
    assert signal.getsignal(signal.SIGTERM) is handler
    client = await asyncio.to_thread(RawClient, address)
    with client:
        assert await asyncio.to_thread(client.ask, b"hello") == b"hello"
        task.cancel()
        assert (await asyncio.to_thread(client.closing)).code == 1012
    with pytest.raises(asyncio.CancelledError):
        await task


def test_bad_settings_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="Unknown log level 'loud'"):
        RunSettings(log_level="loud")


def test_importing_the_library_leaves_malloc_alone() -> None:
    code = "import sys, openenv; print('openenv.server.run' in sys.modules, 'uvicorn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
