"""Both faces of a connection against servers that behave, misbehave and die."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.client.scripted import Peer, ScriptedServer, counting, counting_extended, until

from openenv.client.async_connection import AsyncConnection
from openenv.client.connection import SyncConnection
from openenv.client.endpoint import Endpoint
from openenv.errors import (
    AuthenticationError,
    EnvironmentFailedError,
    InvalidActionError,
    ServerUnreachableError,
    SessionCapacityError,
    SessionLost,
    StepTimeoutError,
    UsageError,
)
from openenv.protocol.websocket import encode_frame, text_frame

Start = Callable[..., ScriptedServer]


class SyncFace:
    """The synchronous connection, each call in a thread of its own."""

    def __init__(self, connection: SyncConnection) -> None:
        self.it = connection

    @classmethod
    async def open(cls, url: str, **options: Any) -> SyncFace:
        return cls(await asyncio.to_thread(SyncConnection, Endpoint.at(url, **options)))

    async def call(self, call: str, data: Any = None, *, timeout_s: float | None = None) -> Any:
        return await asyncio.to_thread(self.it.call, call, data, timeout_s=timeout_s)

    async def close(self) -> None:
        await asyncio.to_thread(self.it.close)


class AsyncFace:
    """The asynchronous connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.it = connection
        self.call = connection.call
        self.close = connection.close

    @classmethod
    async def open(cls, url: str, **options: Any) -> AsyncFace:
        return cls(await AsyncConnection.open(Endpoint.at(url, **options)))


Face = type[SyncFace] | type[AsyncFace]


@pytest.fixture(params=[SyncFace, AsyncFace], ids=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    kind: Face = request.param
    return kind


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
    assert seen[0]["id"] == 1
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


def _cut(peer: Peer) -> None:
    peer.accept()
    peer.request()


def _cut_mid_frame(peer: Peer) -> None:
    peer.accept()
    request = peer.request()
    frame = text_frame(
        json.dumps({"type": "observation", "data": {"observation": {}}, "r": request}).encode()
    )
    peer.raw(frame[:-3])


def _says_goodbye(peer: Peer) -> None:
    peer.accept()
    peer.request()
    peer.close(1012, "restarting")
    peer.request()


def _garbage_json(peer: Peer) -> None:
    peer.accept()
    peer.request()
    peer.raw(text_frame(b"{nonsense"))
    peer.request()


def _garbage_frame(peer: Peer) -> None:
    peer.accept()
    peer.request()
    peer.raw(b"\xff\xff\xff\xff")
    peer.request()


def _masked_frame(peer: Peer) -> None:
    peer.accept()
    peer.request()
    peer.raw(encode_frame(1, b"{}", mask=True))
    peer.request()


def _wrong_kind(peer: Peer) -> None:
    peer.accept()
    peer.request()
    peer.send({"type": "state", "data": {}})
    peer.request()


def _wrong_shape(peer: Peer) -> None:
    peer.accept()
    peer.request()
    peer.send({"type": "observation", "data": [1, 2]})
    peer.request()


def _unknown_id(peer: Peer) -> None:
    peer.accept(extended=True)
    peer.request()
    peer.send({"type": "observation", "data": {"observation": {}}, "id": 77})
    peer.request()


def _not_text(peer: Peer) -> None:
    peer.accept()
    peer.request()
    peer.raw(text_frame(b"\xff\xfe"))
    peer.request()


def _too_big(peer: Peer) -> None:
    peer.accept()
    peer.request()
    peer.raw(b"\x81\x7f" + (1 << 40).to_bytes(8, "big"))
    peer.request()


def _deeply_nested(peer: Peer) -> None:
    peer.accept()
    peer.request()
    peer.raw(text_frame(b'{"type":' + b"[" * 100_000))
    peer.request()


BREAKS = {
    _cut: "without a word",
    _cut_mid_frame: "without a word",
    _says_goodbye: "code 1012, restarting",
    _garbage_json: "not of the protocol",
    _garbage_frame: "cannot be read",
    _masked_frame: "cannot be read",
    _wrong_kind: "type 'state' to 'step'",
    _wrong_shape: "without data",
    _unknown_id: "unknown id 77",
    _not_text: "cannot be read",
    _too_big: "cannot be read.*limit",
    _deeply_nested: "not of the protocol",
}


@pytest.mark.parametrize(("script", "says"), BREAKS.items(), ids=[script.__name__ for script in BREAKS])
async def test_a_broken_connection_is_session_lost_now_and_later(
    face: Face, scripted: Start, script: Callable[[Peer], None], says: str
) -> None:
    server = scripted(script)
    connection = await face.open(server.url)
    with pytest.raises(SessionLost, match=says):
        await connection.call("step", {})
    assert not connection.it.alive
    for _ in range(2):
        with pytest.raises(SessionLost, match=says):
            await connection.call("step", {})
    await connection.close()
    assert len(server.peers) == 1, "a step was sent to a fresh session"


async def test_a_reply_that_came_before_the_end_counts(face: Face, scripted: Start) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        request = peer.request()
        reply = json.dumps({"type": "observation", "data": {"observation": {"last": True}}}).encode()
        assert request
        peer.raw(text_frame(reply) + b"\xff\xff")

    connection = await face.open(scripted(script).url)
    assert (await connection.call("step", {})).data["observation"] == {"last": True}
    with pytest.raises(SessionLost, match="cannot be read"):
        await connection.call("step", {})
    await connection.close()


async def test_a_server_that_left_while_the_client_was_idle(face: Face, scripted: Start) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.observe(peer.request())
        peer.close(1001, "going away")

    server = scripted(script)
    connection = await face.open(server.url)
    await connection.call("reset", {})
    await asyncio.sleep(0.1)
    with pytest.raises(SessionLost, match="1001, going away"):
        await connection.call("step", {})
    await connection.close()
    assert len(server.peers) == 1


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("pause", [0.0, 0.1])
async def test_a_session_refused_after_the_handshake(
    face: Face, scripted: Start, extended: bool, pause: float
) -> None:
    def script(peer: Peer) -> None:
        peer.accept(extended=extended)
        data = {"message": "full", "code": "CAPACITY_REACHED", "active_sessions": 1, "max_sessions": 1}
        peer.send({"type": "error", "data": data})
        peer.close()
        time.sleep(0.05)

    server = scripted(script)

    async def use() -> None:
        connection = await face.open(server.url)
        try:
            await asyncio.sleep(pause)
            await connection.call("reset", {})
        finally:
            await connection.close()

    with pytest.raises(SessionCapacityError, match="full") as caught:
        await use()
    assert caught.value.max_sessions == 1


def _answer_http(status: str, body: bytes = b"", headers: str = "") -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.head()
        peer.raw(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode())
        time.sleep(0.02)
        peer.raw(body)

    return script


REFUSALS = [
    ("401 Unauthorized", b'{"detail":"no token"}', "", AuthenticationError, "no token.*OPENENV_TOKEN"),
    ("403 Forbidden", b"", "", AuthenticationError, "HTTP 403"),
    ("404 Not Found", b'{"detail":"Not Found"}', "", ServerUnreachableError, "not as an OpenEnv server"),
    ("503 Service Unavailable", b"", "Retry-After: 7\r\n", SessionCapacityError, "retry after 7 s"),
    ("307 Temporary Redirect", b"", "Location: /web/\r\n", ServerUnreachableError, "HTTP 307 to /web/"),
    ("500 Oops", b"<html>", "", ServerUnreachableError, "HTTP 500$"),
]


@pytest.mark.parametrize(
    ("status", "body", "headers", "kind", "says"), REFUSALS, ids=[r[0] for r in REFUSALS]
)
async def test_a_refused_handshake_is_typed(
    face: Face, scripted: Start, status: str, body: bytes, headers: str, kind: type[Exception], says: str
) -> None:
    server = scripted(_answer_http(status, body, headers))
    with pytest.raises(kind, match=says) as caught:
        await face.open(server.url)
    if isinstance(caught.value, SessionCapacityError):
        assert caught.value.retry_after == 7


def _not_http(peer: Peer) -> None:
    peer.raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


def _wrong_accept(peer: Peer) -> None:
    peer.head()
    peer.raw(
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Sec-WebSocket-Accept: no\r\n\r\n"
    )


def _hangs_up(peer: Peer) -> None:
    peer.head()


def _endless_head(peer: Peer) -> None:
    peer.raw(b"HTTP/1.1 101 Switching\r\n")
    while True:
        peer.raw(b"X: " + b"y" * 1000 + b"\r\n")


@pytest.mark.parametrize("script", [_not_http, _wrong_accept, _hangs_up, _endless_head])
async def test_a_server_that_is_no_websocket_server(
    face: Face, scripted: Start, script: Callable[[Peer], None]
) -> None:
    with pytest.raises(ServerUnreachableError):
        await face.open(scripted(script).url)


async def test_a_silent_server_is_given_up(face: Face, scripted: Start) -> None:
    server = scripted(lambda peer: time.sleep(0.5))
    began = time.monotonic()
    with pytest.raises(ServerUnreachableError, match="no answer in time"):
        await face.open(server.url, connect_timeout_s=0.1)
    assert time.monotonic() - began < 0.4


async def test_nothing_listens(face: Face) -> None:
    with pytest.raises(ServerUnreachableError, match=r"Nothing answers at http://127.0.0.1:1.*openenv serve"):
        await face.open("http://127.0.0.1:1")


async def test_nothing_listens_on_a_unix_socket(face: Face, tmp_path: Path) -> None:
    with pytest.raises(ServerUnreachableError, match="openenv serve TARGET --uds"):
        await face.open(f"unix:{tmp_path}/missing")


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


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_child_is_refused_and_the_parent_goes_on(counting_server: ScriptedServer) -> None:
    connection = SyncConnection(Endpoint.at(counting_server.url))
    connection.call("reset", {})
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            connection.call("step", {})
        except UsageError as refused:
            code = 42 if "forked" in str(refused) else 2
        connection.close()
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42
    assert connection.alive
    assert connection.call("step", {}).data["observation"]["count"] == 1
    connection.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_child_may_connect_by_itself(counting_server: ScriptedServer) -> None:
    connection = SyncConnection(Endpoint.at(counting_server.url))
    pid = os.fork()
    if pid == 0:
        own = SyncConnection(Endpoint.at(counting_server.url))
        good = own.call("step", {}).data["observation"]["count"] == 1
        own.close()
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    connection.close()


async def test_another_event_loop_is_refused(counting_server: ScriptedServer) -> None:
    connection = await AsyncConnection.open(Endpoint.at(counting_server.url))

    def elsewhere() -> None:
        asyncio.run(connection.call("reset", {}))

    with pytest.raises(UsageError, match="another event loop"):
        await asyncio.to_thread(elsewhere)
    await connection.close()


def test_an_interrupted_call_leaves_the_connection_consistent(scripted: Start) -> None:
    import _thread
    import signal

    answer = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept()
        first = peer.request()
        time.sleep(0.1)
        _thread.interrupt_main(signal.SIGINT)
        answer.wait(5)
        peer.observe(first, answer="first")
        peer.observe(peer.request(), answer="second")
        peer.counter()

    connection = SyncConnection(Endpoint.at(scripted(script).url, ping_interval_s=0.1))
    with pytest.raises(KeyboardInterrupt):
        connection.call("step", {})
    answer.set()
    assert connection.call("step", {}).data["observation"] == {"answer": "second"}
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


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
async def test_a_lost_loop_frees_the_session(scripted: Start) -> None:
    server = scripted(counting)
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept()
        try:
            peer.counter()
        finally:
            gone.set()

    server = scripted(script)
    held: list[AsyncConnection] = []

    def other_loop() -> None:
        async def main() -> None:
            held.append(await AsyncConnection.open(Endpoint.at(server.url)))

        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        loop.close()

    await asyncio.to_thread(other_loop)
    held.pop().abort()
    until(gone.is_set)
    gc.collect()  # while the warnings about the lost loop's sockets are still expected
