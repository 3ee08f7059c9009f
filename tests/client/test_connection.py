"""Both faces of a connection against servers that behave, misbehave and die."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.client.faces import Face
from tests.client.scripted import Peer, ScriptedServer, counting, counting_extended

from openenv.client.async_connection import AsyncConnection
from openenv.client.connection import SyncConnection
from openenv.client.endpoint import Endpoint
from openenv.errors import (
    EnvironmentFailedError,
    InvalidActionError,
    ServerUnreachableError,
    SessionLost,
    StepTimeoutError,
)

Start = Callable[..., ScriptedServer]


async def test_call_and_reply(face: Face, counting_server: ScriptedServer) -> None:
    connection = await face.open(counting_server.url)
    reset = await connection.call("reset", {})
    assert reset.data["observation"] == {"count": 0}
    for expected in (1, 2, 3):
        reply = await connection.call("step", {"move": "left"})
        assert reply.data["observation"] == {"count": expected, "got": {"move": "left"}}
    assert (await connection.call("state")).data == {"episode_id": "e", "step_count": 3}
    assert connection.it.statistics().calls == 5
    assert connection.it.statistics().owing == 0
    await connection.close()
    assert not connection.it.alive
    with pytest.raises(SessionLost):
        await connection.call("step", {})
    await connection.close()


async def test_the_extended_protocol_is_used_where_the_server_speaks_it(face: Face, scripted: Start) -> None:
    for script, expected in ((counting, False), (counting_extended, True)):
        connection = await face.open(scripted(script).url)
        assert connection.it.extended is expected
        await connection.close()


async def test_the_deadline_travels_on_the_extended_protocol_only(face: Face, scripted: Start) -> None:
    seen: list[dict[str, Any]] = []

    def script(peer: Peer, extended: bool) -> None:
        peer.accept(extended=extended)
        seen.append(peer.request())
        peer.observe(seen[-1])
        peer.request()

    for extended in (True, False):
        server = scripted(lambda peer, extended=extended: script(peer, extended))
        connection = await face.open(server.url)
        await connection.call("step", {}, timeout_s=3.0)
        await connection.close()
    assert seen[0]["id"] == 2  # the first asked for the token
    assert 0 < seen[0]["timeout_s"] <= 3.0
    assert seen[1] == {"type": "step", "data": {}}


async def test_headers_token_and_host_are_sent(face: Face, scripted: Start, monkeypatch: Any) -> None:
    server = scripted(counting)
    monkeypatch.setenv("OPENENV_TOKEN", "from-env")
    for options, expected in (
        ({}, "Bearer from-env"),
        ({"token": "given"}, "Bearer given"),
        ({"token": "given", "headers": {"authorization": "Basic x"}}, "Basic x"),
        ({"token": ""}, None),
    ):
        connection = await face.open(server.url, **options)
        head = server.peers[-1].request_head
        assert head.headers.get("authorization") == expected
        assert head.headers["host"] == server.url.removeprefix("http://")
        assert head.path == "/ws"
        await connection.close()


async def test_a_server_error_is_typed_and_leaves_the_connection_alive(face: Face, scripted: Start) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        issues = [{"type": "missing", "loc": ["guess"], "msg": "Field required", "input": {}}]
        data = {"message": "Invalid message", "code": "VALIDATION_ERROR", "errors": issues}
        peer.send({"type": "error", "data": data}, peer.request())
        peer.send({"type": "error", "data": {"message": "boom", "code": "EXECUTION_ERROR"}}, peer.request())
        peer.counter()

    connection = await face.open(scripted(script).url)
    with pytest.raises(InvalidActionError, match="Invalid message") as caught:
        await connection.call("step", {})
    assert caught.value.errors[0]["loc"] == ["guess"]
    with pytest.raises(EnvironmentFailedError, match="boom"):
        await connection.call("step", {})
    assert (await connection.call("reset", {})).data["observation"] == {"count": 0}
    await connection.close()


async def test_concurrent_calls_follow_each_other(face: Face, counting_server: ScriptedServer) -> None:
    connection = await face.open(counting_server.url)
    replies = await asyncio.gather(*(connection.call("step", {"n": n}) for n in range(50)))
    assert sorted(reply.data["observation"]["count"] for reply in replies) == list(range(1, 51))
    for number, reply in enumerate(replies):
        assert reply.data["observation"]["got"] == {"n": number}
    await connection.close()


async def test_async_calls_keep_their_order(counting_server: ScriptedServer) -> None:
    connection = await AsyncConnection.open(Endpoint.at(counting_server.url))
    replies = await asyncio.gather(*(connection.call("step", {}) for _ in range(50)))
    assert [reply.data["observation"]["count"] for reply in replies] == list(range(1, 51))
    await connection.close()


@pytest.mark.parametrize("extended", [False, True])
async def test_a_late_reply_is_dropped_never_given_to_another_call(
    face: Face, scripted: Start, extended: bool
) -> None:
    slow = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept(extended=extended)
        first = peer.request()
        slow.wait(5)
        peer.observe(first, answer="late")
        while True:
            request = peer.request()
            peer.observe(request, answer=request["data"]["question"])

    connection = await face.open(scripted(script).url)
    with pytest.raises(StepTimeoutError) as caught:
        await connection.call("step", {"question": "slow"}, timeout_s=0.05)
    assert caught.value.timeout_s == 0.05
    assert caught.value.session_fate == "needs_reset"
    assert connection.it.alive
    second = asyncio.create_task(connection.call("step", {"question": "second"}))
    await asyncio.sleep(0.05)
    slow.set()
    assert (await second).data["observation"]["answer"] == "second"
    assert (await connection.call("step", {"question": "third"})).data["observation"]["answer"] == "third"
    assert connection.it.statistics().dropped == 1
    await connection.close()


@pytest.mark.parametrize("extended", [False, True])
async def test_a_cancelled_call_leaves_the_connection_consistent(scripted: Start, extended: bool) -> None:
    go = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept(extended=extended)
        waiting = [peer.request()]
        go.wait(5)
        while True:
            request = waiting.pop() if waiting else peer.request()
            peer.observe(request, answer=request["data"]["n"])

    connection = await AsyncConnection.open(Endpoint.at(scripted(script).url))
    first = asyncio.create_task(connection.call("step", {"n": 1}))
    queued = asyncio.create_task(connection.call("step", {"n": 2}))
    third = asyncio.create_task(connection.call("step", {"n": 3}))
    await asyncio.sleep(0.05)
    queued.cancel()  # never sent
    first.cancel()  # sent and answered late
    go.set()
    assert (await third).data["observation"]["answer"] == 3
    assert (await connection.call("step", {"n": 4})).data["observation"]["answer"] == 4
    for task in (first, queued):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert connection.statistics().dropped == 1
    assert connection.statistics().calls == 3
    await connection.close()


async def test_replies_out_of_order_find_their_requests(scripted: Start) -> None:
    def script(peer: Peer) -> None:
        peer.accept(extended=True)
        first, second = peer.request(), peer.request()
        peer.observe(second, n=2)
        peer.observe(first, n=1)
        peer.counter()

    connection = await AsyncConnection.open(Endpoint.at(scripted(script).url))
    with pytest.raises(StepTimeoutError):
        await connection.call("step", {}, timeout_s=0.01)
    assert (await connection.call("step", {})).data["observation"] == {"n": 2}
    assert (await connection.call("reset", {})).data["observation"] == {"count": 0}
    assert connection.statistics().dropped == 1
    await connection.close()


async def test_waiting_for_another_call_counts_towards_the_deadline(face: Face, scripted: Start) -> None:
    go = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept()
        request = peer.request()
        go.wait(5)
        peer.observe(request)
        peer.counter()

    connection = await face.open(scripted(script).url)
    first = asyncio.create_task(connection.call("reset", {}))
    await asyncio.sleep(0.05)
    with pytest.raises(StepTimeoutError, match="still running") as caught:
        await connection.call("step", {}, timeout_s=0.1)
    assert caught.value.session_fate == "alive"
    go.set()
    await first
    assert connection.it.statistics().calls == 1
    await connection.close()


async def test_unix_sockets(face: Face, scripted: Start, tmp_path: Path) -> None:
    connection = await face.open(scripted(counting, path=tmp_path / "s").url)
    assert (await connection.call("reset", {})).data["observation"] == {"count": 0}
    await connection.close()


async def test_large_messages_both_ways(face: Face, counting_server: ScriptedServer) -> None:
    connection = await face.open(counting_server.url)
    text = "x" * 3_000_000
    reply = await connection.call("step", {"text": text})
    assert reply.data["observation"]["got"]["text"] == text
    await connection.close()


async def test_a_reply_beyond_the_limit_ends_the_session(face: Face, counting_server: ScriptedServer) -> None:
    connection = await face.open(counting_server.url, max_message_bytes=1000)
    with pytest.raises(SessionLost, match="1000"):
        await connection.call("step", {"text": "x" * 2000})
    await connection.close()


async def test_pings_are_answered_while_waiting(face: Face, scripted: Start) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        request = peer.request()
        peer.ping()
        pong = peer.event()
        assert pong.payload == b"there?"  # type: ignore[union-attr]
        peer.observe(request, ponged=True)
        peer.counter()

    connection = await face.open(scripted(script).url)
    assert (await connection.call("step", {})).data["observation"] == {"ponged": True}
    await connection.close()


async def test_a_server_without_a_sign_of_life_is_lost(face: Face, scripted: Start) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.request()
        time.sleep(1.0)  # reads nothing, answers nothing

    connection = await face.open(scripted(script).url, ping_interval_s=0.1, ping_timeout_s=0.1)
    began = time.monotonic()
    with pytest.raises(SessionLost, match="no sign of life"):
        await connection.call("step", {})
    assert time.monotonic() - began < 0.8
    await connection.close()


async def test_a_slow_step_on_a_living_server_is_not_lost(face: Face, scripted: Start) -> None:
    done = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept()
        request = peer.request()

        def later() -> None:
            time.sleep(0.6)
            peer.observe(request, slow=True)
            done.set()

        threading.Thread(target=later).start()
        peer.counter()

    connection = await face.open(scripted(script).url, ping_interval_s=0.05, ping_timeout_s=0.2)
    assert (await connection.call("step", {})).data["observation"] == {"slow": True}
    done.wait(5)
    await connection.close()


async def test_values_beyond_json_are_sent_in_their_documented_form(
    face: Face, counting_server: ScriptedServer
) -> None:
    connection = await face.open(counting_server.url)
    reply = await connection.call("step", {"set": {1}, "bytes": b"\xff", "nan": float("nan"), "big": 1 << 80})
    got = reply.data["observation"]["got"]
    assert got["set"] == [1]
    assert got["nan"] is None
    assert got["bytes"] == {"$bytes": "/w=="}
    await connection.close()


async def test_close_waits_until_the_server_has_put_the_session_away(face: Face, scripted: Start) -> None:
    closed = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept()
        peer.delays_close = True
        assert peer.request() == {"type": "close"}
        time.sleep(0.1)
        closed.set()
        peer.close()

    connection = await face.open(scripted(script).url)
    await connection.close()
    assert closed.is_set()


async def test_close_does_not_wait_for_a_stuck_step(face: Face, scripted: Start) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.request()
        time.sleep(1.0)

    connection = await face.open(scripted(script).url)
    with pytest.raises(StepTimeoutError):
        await connection.call("step", {}, timeout_s=0.05)
    began = time.monotonic()
    await connection.close()
    assert time.monotonic() - began < 0.5


async def test_close_from_elsewhere_ends_a_waiting_call(face: Face, scripted: Start) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.request()
        peer.request()

    connection = await face.open(scripted(script).url)
    waiting = asyncio.create_task(connection.call("step", {}))
    await asyncio.sleep(0.05)
    await connection.close()
    with pytest.raises(SessionLost):
        await waiting


def test_threads_share_a_connection(counting_server: ScriptedServer) -> None:
    connection = SyncConnection(Endpoint.at(counting_server.url))
    seen: list[int] = []
    mixed_up: list[Any] = []

    def work(name: int) -> None:
        for turn in range(100):
            got = connection.call("step", {"who": [name, turn]}).data["observation"]
            seen.append(got["count"])
            if got["got"] != {"who": [name, turn]}:
                mixed_up.append(got)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(1, 801))
    assert not mixed_up
    connection.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "cert.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(tmp_path / "c")]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + (tmp_path / "c").read_bytes())
    return path


async def test_tls(face: Face, scripted: Start, certificate: Path) -> None:
    import ssl

    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    server = scripted(counting, context=serving)
    connection = await face.open(server.url, ssl_context=trusting)
    text = "x" * 300_000
    assert (await connection.call("step", {"text": text})).data["observation"]["got"]["text"] == text
    if isinstance(connection.it, SyncConnection):
        connection.it.attend()
        assert connection.it.alive
    assert (await connection.call("step", {})).data["observation"]["count"] == 2
    await connection.close()
    with pytest.raises(ServerUnreachableError, match=r"(?i)certificate"):
        await face.open(server.url)
