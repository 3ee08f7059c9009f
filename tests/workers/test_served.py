"""`openenv serve --workers N`, from the outside."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import websockets.sync.client as ws

import openenv
from openenv.session.names import worker_of

from .served import HEADERS, TOKEN, eventually, processes_marked, served

HERE = Path(__file__).parent


def ids_of(http: httpx.Client, **query: str) -> list[str]:
    return [
        one["session"]
        for one in http.get("/admin/sessions", params={"full": "1", **query}).json()["sessions"]
    ]


def test_sessions_spread_and_every_door_finds_them(tmp_path: Path) -> None:
    with served(tmp_path) as server, server.client() as http:
        envs = [openenv.make(server.url, token=TOKEN) for _ in range(4)]
        for env in envs:
            env.reset()
        owners = [worker_of(session) for session in ids_of(http)]
        assert sorted(owners) == [0, 0, 1, 1]
        for number, env in enumerate(envs):
            assert env.step(number=number).observation.result.startswith(f"{number} in")
        # One connection, whose later requests name sessions of both workers.
        opened = []
        while {worker_of(one) for one in opened} != {0, 1}:
            with server.client(headers={"X-Forwarded-For": f"10.0.0.{len(opened)}", **HEADERS}) as other:
                opened.append(other.post("/reset").headers["x-openenv-session"])
        for turn in (1, 2):
            for session in opened:
                answer = http.post(
                    "/step", json={"action": {"number": 5}}, headers={"X-OpenEnv-Session": session}
                )
                assert answer.json()["observation"]["result"].startswith(f"{5 * turn} in"), answer.text
                assert http.get("/state", params={"session_id": session}).json()["total"] == 5 * turn
        for env in envs:
            env.close()
        eventually(lambda: server.metric("openenv_sessions_active") == len(opened))
        assert http.get("/ready").json()["detail"].startswith("2 of 2 workers ready")
        assert server.metric("openenv_sessions_max") == 128


def test_mcp_names_sessions_in_the_body(tmp_path: Path) -> None:
    def call(http: httpx.Client, method: str, **params: object) -> dict[str, object]:
        answer = http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        return answer.json()["result"]

    with served(tmp_path, target=f"{HERE / 'environments.py'}:Tools") as server:
        opened = []
        for _ in range(4):
            with server.client() as http:
                opened.append(str(call(http, "openenv/session/create")["session_id"]))
        assert {worker_of(session) for session in opened} == {0, 1}
        with server.client() as http:
            for turn in (1, 2):
                for session in opened:
                    result = call(http, "tools/call", name="count", arguments={}, session_id=session)
                    assert str(turn) in str(result)
            for session in opened:
                assert call(http, "openenv/session/close", session_id=session)["closed"] is True


def test_a_socket_reaches_the_worker_of_the_session_it_names(tmp_path: Path) -> None:
    with served(tmp_path) as server, server.client() as http:
        session = http.post("/reset").headers["x-openenv-session"]
        base = server.url.replace("http", "ws")
        for _ in range(3):
            with ws.connect(f"{base}/ws?session_id={session}", additional_headers=HEADERS) as one:
                one.send('{"type":"state"}')
                assert '"total":0' in str(one.recv(timeout=30))
        # The same over a connection that carried a plain request first, to whichever worker.
        host, port = server.url.removeprefix("http://").split(":")
        for _ in range(2):
            with socket.create_connection((host, int(port)), timeout=30) as raw:
                token = f"Authorization: Bearer {TOKEN}\r\nHost: {host}:{port}\r\n"
                raw.sendall(f"GET /health HTTP/1.1\r\n{token}\r\n".encode())
                assert b"healthy" in _read_until(raw, b"}")
                upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                key = "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
                head = f"GET /ws?session_id={session} HTTP/1.1\r\n{token}{upgrade}{key}\r\n"
                raw.sendall(head.encode())
                assert b"101" in _read_until(raw, b"\r\n\r\n")
                text = b'{"type":"state"}'
                raw.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
                assert b'"total":0' in _read_until(raw, b'"total":0')


def _read_until(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        chunk = sock.recv(4096)
        assert chunk, data
        data += chunk
    return data


def test_requests_without_a_name_mean_their_clients_session(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        for turn in range(1, 4):  # three connections
            with server.client() as http:
                if turn == 1:
                    http.post("/reset")
                    http.cookies.clear()
                answer = http.post("/step", json={"action": {"number": 1}})
                assert answer.json()["observation"]["result"].startswith(f"{turn} in"), answer.text


def test_capacity_is_one_for_all_workers(tmp_path: Path) -> None:
    with served(tmp_path, "--max-sessions", "5", "--queue", "0") as server:
        assert server.metric("openenv_sessions_max") == 5
        envs = [openenv.make(server.url, token=TOKEN) for _ in range(5)]
        for env in envs:
            env.reset()
        with (
            pytest.raises(openenv.errors.SessionCapacityError),
            openenv.make(server.url, token=TOKEN) as more,
        ):
            more.reset()
        envs.pop().close()
        eventually(lambda: server.metric("openenv_sessions_active") == 4)
        with openenv.make(server.url, token=TOKEN) as more:
            more.reset()
            assert server.metric("openenv_sessions_active") == 5
        for env in envs:
            env.close()


def test_whoever_waits_gets_the_next_slot_wherever_it_comes_free(tmp_path: Path) -> None:
    async def all_of_them(url: str) -> set[str]:
        async def one() -> str:
            async with openenv.connect(url, token=TOKEN) as env:
                await env.reset()
                await asyncio.sleep(0.02)
                return (await env.step(number=1)).observation.result

        return set(await asyncio.gather(*(one() for _ in range(24))))

    with served(tmp_path, "--max-sessions", "3") as server:
        said = asyncio.run(all_of_them(server.url))
        assert len(said) == 2  # "1 in PID" of both workers
        eventually(lambda: server.metric("openenv_sessions_active") == 0)


def test_a_silent_session_of_another_worker_makes_room(tmp_path: Path) -> None:
    with served(tmp_path, "--max-sessions", "1", "--queue", "4") as server:
        with server.client() as http:
            session = http.post("/reset").headers["x-openenv-session"]
        for _ in range(2):  # same address, so at once, whichever worker the socket comes to
            with openenv.make(server.url, token=TOKEN) as env:
                env.reset()
        with server.client() as http:
            answer = http.post("/step", json={"action": {"number": 1}})
            assert (answer.status_code, "gone" in answer.text) == (409, True), (session, answer.text)


def test_a_killed_worker_loses_its_sessions_only_and_is_replaced(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        envs = [openenv.make(server.url, token=TOKEN) for _ in range(4)]
        for env in envs:
            env.reset()
        pids = [int(env.step(number=1).observation.result.split()[-1]) for env in envs]
        victim = pids[0]
        with server.client() as http:
            named = http.post("/reset")
            session = named.headers["x-openenv-session"]
            gone_too = int(
                http.post("/step", json={"action": {"number": 1}}).json()["observation"]["result"].split()[-1]
            )
        os.kill(victim, signal.SIGKILL)
        for env, pid in zip(envs, pids, strict=True):
            if pid == victim:
                with pytest.raises(openenv.SessionLost):
                    env.step(number=1)
            else:
                assert env.step(number=1).observation.result.startswith("2 in")
            env.close()
        eventually(lambda: server.serving() == 2)
        assert victim not in server.workers()
        assert server.metric("openenv_worker_restarts_total") == 1
        with server.client() as http:
            answer = http.get("/state", headers={"X-OpenEnv-Session": session})
            unnamed = http.post("/step", json={"action": {"number": 1}})
            if gone_too == victim:
                assert answer.status_code == 410, answer.text
                assert answer.json()["session_fate"] == "closed"
                assert session in answer.json()["message"]
                assert unnamed.status_code == 409, unnamed.text
            else:
                assert answer.json()["total"] == 1
                assert unnamed.json()["observation"]["result"].startswith("2 in")
        assert "was killed by SIGKILL" in server.log.read_text()


def test_an_address_whose_worker_died_is_told_so(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        with server.client() as http:
            session = http.post("/reset").headers["x-openenv-session"]
            said = http.post("/step", json={"action": {"number": 1}}).json()["observation"]["result"]
        os.kill(int(said.split()[-1]), signal.SIGKILL)
        with server.client() as http:
            answer = http.post("/step", json={"action": {"number": 1}})
            assert (answer.status_code, "gone" in answer.text) == (409, True), answer.text
            assert http.post("/close", headers={"X-OpenEnv-Session": session}).status_code == 410
            cookie = {"Cookie": f"{_cookie_name(server.url)}={session}"}
            assert http.post("/reset", headers=cookie).status_code == 200


def _cookie_name(url: str) -> str:
    answer = httpx.post(f"{url}/reset", headers={**HEADERS, "X-Forwarded-For": "10.9.9.9"}, timeout=30)
    return next(iter(answer.cookies))


def test_workers_are_replaced_one_after_another_without_a_failed_request(tmp_path: Path) -> None:
    with served(tmp_path, "--restart-grace", "2") as server:
        before = set(server.workers())
        with openenv.make(server.url, token=TOKEN) as env:
            env.reset()
            server.process.send_signal(signal.SIGHUP)
            steps = 0
            while not (set(server.workers()).isdisjoint(before) and server.serving() == 2):
                with openenv.make(server.url, token=TOKEN) as other:
                    other.reset()
                    assert other.step(number=1).observation.result.startswith("1 in")
                if steps is not None:
                    try:
                        steps += 1
                        assert env.step(number=1).observation.result.startswith(f"{steps} in")
                    except openenv.SessionLost:  # it outstayed the grace of its worker
                        steps = None
                time.sleep(0.05)
            assert len(server.workers()) == 2
        assert server.metric("openenv_worker_restarts_total") == 0


def test_code_that_does_not_load_stops_a_rolling_restart(tmp_path: Path) -> None:
    file = tmp_path / "game.py"
    text = (HERE / "environments.py").read_text()
    file.write_text(text)
    with served(tmp_path, target=f"{file}:Tally") as server:
        before = server.workers()
        file.write_text("this is no Python")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: "the restart is off" in server.log.read_text())
        assert server.workers() == before
        file.write_text(text)
        with openenv.make(server.url, token=TOKEN) as env:
            env.reset()


def test_when_the_supervisor_is_killed_nothing_is_left(tmp_path: Path) -> None:
    with served(tmp_path, "--uds", str(tmp_path / "s.sock")) as server, openenv.make(server.url) as env:
        env.reset()
        server.process.kill()
        server.process.wait()
        eventually(lambda: not processes_marked(server.mark), within_s=10)
        with pytest.raises(openenv.SessionLost):
            env.step(number=1)


def test_calls_in_flight_finish_when_the_server_stops(tmp_path: Path) -> None:
    with served(tmp_path, target=f"{HERE / 'environments.py'}:Slow") as server:
        with openenv.make(server.url, token=TOKEN) as env:
            env.reset()
            killer = f"import os, time; time.sleep(0.5); os.kill({server.process.pid}, 15)"
            with subprocess.Popen([sys.executable, "-c", killer]):
                assert env.step(seconds=2.0).observation.result == "slept"


def test_a_server_that_cannot_start_says_why_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "openenv.cli", "serve", "nothing.py", "--workers", "3", "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert ended.returncode == 3 or ended.returncode > 0
    assert ended.stderr.count("error:") == 1, ended.stderr


def test_a_connection_that_says_nothing_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as raw:
            raw.sendall(b"GET /health HT")
            time.sleep(0.1)
            with openenv.make(server.url, token=TOKEN) as env:
                env.reset()
            raw.sendall(b"TP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"healthy" in _read_until(raw, b"}")


def test_careless_environments_have_processes_of_their_own(tmp_path: Path) -> None:
    target = f"{HERE / 'environments.py'}:Careless"
    with served(tmp_path, "--execution", "process", target=target) as server:
        envs = [openenv.make(server.url, token=TOKEN) for _ in range(4)]
        pids = set()
        for env in envs:
            env.reset()
            pids.add(env.step(what="go").observation.result)
        assert {said.split()[0] for said in pids} == {"1"}
        assert len(pids) == 4
        assert not {int(said.split()[-1]) for said in pids} & set(server.workers()[:1])
        with pytest.raises(openenv.errors.EnvironmentCrashedError):
            envs[0].step(what="segfault")
        with pytest.raises(openenv.errors.StepTimeoutError):
            envs[1].step(what="hang", timeout_s=0.5)
        for env in envs[:2]:
            env.reset()
        for env in envs:
            assert env.step(what="print").observation.result.split()[0] in "12"
            env.close()
        eventually(lambda: "said by the environment" in server.log.read_text())
