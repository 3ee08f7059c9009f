"""How clients and servers end: killed, silent, half open, or asked to stop."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from .conftest import Serve
from .served import Answer, Closed, Server, eventually

WS_CLIENT = """
import sys, openenv
env = openenv.make(sys.argv[1])
env.reset()
env.step(seconds=0.0)
print("ready", flush=True)
env.step(seconds=float(sys.argv[2]))
sys.stdin.read()
"""
HTTP_CLIENT = """
import sys, json, urllib.request
def post(path, body):
    request = urllib.request.Request(sys.argv[1] + path, json.dumps(body).encode())
    return json.load(urllib.request.urlopen(request))
post("/reset", {})
print("ready", flush=True)
sys.stdin.read()
"""
MCP_CLIENT = HTTP_CLIENT.replace(
    'post("/reset", {})', 'post("/mcp", {"jsonrpc": "2.0", "id": 1, "method": "openenv/session/create"})'
)


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve("environments.py:Slow", "--lease", "1", "--max-sessions", "2", "--queue", "0")


@contextmanager
def _client(program: str, *argv: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", program, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("seconds", ["0", "2"])
def test_a_killed_websocket_client_frees_its_session(server: Server, seconds: str) -> None:
    with _client(WS_CLIENT, server.url, seconds) as client:
        eventually(lambda: server.active() == 1)
        client.send_signal(signal.SIGKILL)
        client.wait()
        eventually(lambda: server.active() == 0, "the freed session")


@pytest.mark.parametrize("program", [HTTP_CLIENT, MCP_CLIENT], ids=["http", "mcp"])
def test_a_killed_http_client_frees_its_session_with_the_lease(server: Server, program: str) -> None:
    with _client(program, server.url) as client:
        client.send_signal(signal.SIGKILL)
        client.wait()
        eventually(lambda: server.active() == 0, "the freed session")
    with server.socket() as one, server.socket() as two:  # both slots are free again
        assert [one.reset()["type"], two.reset()["type"]] == ["observation"] * 2


def test_a_full_server_says_so_and_recovers(server: Server) -> None:
    eventually(lambda: server.active() == 0)
    with server.socket() as one, server.socket() as two:
        assert [one.reset()["type"], two.reset()["type"]] == ["observation"] * 2
        with server.socket() as third:
            assert third.reply()["data"]["code"] == "CAPACITY_REACHED"
            with pytest.raises(Closed) as closed:
                third.reply()
            assert closed.value.code == 1013
        refused = server.http("POST", "/reset", {})
        assert (refused.status, int(refused.headers["retry-after"]) > 0) == (503, True)
    eventually(lambda: server.active() == 0)
    assert server.http("POST", "/reset", {}).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /ws HT",
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_a_connection_that_never_speaks_holds_no_session(server: Server, sent: bytes) -> None:
    eventually(lambda: server.active() == 0)
    with socket.create_connection(("127.0.0.1", server.port)) as silent:
        silent.sendall(sent)
        with server.socket() as one, server.socket() as two:
            assert [one.reset()["type"], two.reset()["type"]] == ["observation"] * 2


def test_half_a_frame_holds_a_session_no_longer_than_its_connection(server: Server) -> None:
    eventually(lambda: server.active() == 0)
    ws = server.socket()
    ws.reset()
    ws.tcp.sendall(b"\x81\xff\0\0\0\0\0\x10\0\0\0\0\0\0{")
    assert server.active() == 1
    ws.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close with RST
    ws.close()
    eventually(lambda: server.active() == 0, "the freed session")


def test_a_client_that_closes_behind_its_step_gets_the_answer_first(server: Server) -> None:
    with server.socket() as ws:
        ws.reset()
        ws.send({"type": "step", "data": {}})
        ws.send({"type": "close"})
        assert ws.reply()["data"]["observation"]["result"] == 1
        with pytest.raises(Closed):
            ws.reply()
    eventually(lambda: server.active() == 0, "the freed session")


def test_a_client_that_never_reads_stalls_nobody_and_is_given_up(serve: Serve) -> None:
    server = serve("environments.py:Word", "--lease", "1")
    deaf = server.socket()
    deaf.reset()
    deaf.tcp.settimeout(1.0)
    with contextlib.suppress(OSError):  # no room to send, or the server gave it up
        while True:
            deaf.send({"type": "step", "data": {"word": "x", "times": 1_000_000}})
    with server.socket() as other:
        other.reset()
        assert other.step(word="a")["data"]["observation"]["result"] == "a"
    deaf.close()
    eventually(lambda: server.active() == 0, "the freed session")


def _finish(server: Server) -> int:
    server.process.send_signal(signal.SIGTERM)
    return server.process.wait(25)


def test_sigterm_lets_a_websockets_step_finish(serve: Serve) -> None:
    server = serve("environments.py:Slow", fresh=True)
    with server.socket() as ws, server.socket() as idle:
        idle.reset()
        ws.reset()
        ws.send({"type": "step", "data": {"seconds": 1.0}})
        eventually(lambda: "busy" in server.output)
        server.process.send_signal(signal.SIGTERM)
        assert ws.reply()["data"]["observation"]["result"] == 1
        for one in (ws, idle):
            with pytest.raises(Closed) as closed:
                one.reply()
            assert closed.value.code in (1001, 1012)
    assert server.process.wait(25) == 0
    assert "Traceback" not in server.output


def test_sigterm_lets_an_http_step_finish(serve: Serve) -> None:
    server = serve("environments.py:Slow", fresh=True)
    session = server.http("POST", "/reset", {}).session
    answers: list[Answer] = []

    def step() -> None:
        body: Any = {"action": {"seconds": 1.0}}
        answers.append(server.http("POST", "/step", body, x_openenv_session=session))

    stepping = threading.Thread(target=step)
    stepping.start()
    eventually(lambda: "busy" in server.output)
    assert _finish(server) == 0
    stepping.join()
    assert answers[0].json["observation"]["result"] == 1
    assert "Traceback" not in server.output


def test_sigterm_does_not_wait_for_a_step_past_its_deadline(serve: Serve) -> None:
    server = serve("environments.py:Stubborn", "--step-timeout", "0.1", fresh=True)
    with server.socket() as ws:
        ws.reset()
        assert ws.step(seconds=3600)["data"]["outcome"] == "timeout"
    assert _finish(server) == 0
