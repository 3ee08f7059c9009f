"""Frames from many threads over one socket: whole, in order, bounded, on both event loops."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
import uvloop

from openenv.protocol.websocket import Binary, Event, Frames, Text, text_frame
from openenv.server.writer import FrameWriter


class Endpoint(asyncio.Protocol):
    """The server's side of a socket pair, with a writer on it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.changes = 0
        self.broken: list[str] = []
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.writer = FrameWriter(
            self.transport,
            asyncio.get_running_loop(),
            max_buffered_bytes=self.limit,
            on_change=self.changed,
            on_broken=self.broken.append,
        )

    def changed(self) -> None:
        self.changes += 1

    def resume_writing(self) -> None:
        self.writer.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.writer.lost()
        self.gone.set()


@pytest.fixture(params=[8, 0], ids=["at once", "batched"], autouse=True)
def batching(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies of the loop's own thread leave at once, or at the end of its turn."""
    monkeypatch.setattr("openenv.server.writer.BATCH_FROM", request.param)


Scenario = Callable[[Endpoint, socket.socket], Awaitable[None]]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def play(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Runs a scenario with an endpoint and the other end of its socket, whose buffers are small."""

    def run(scenario: Scenario, limit: int = 1 << 30) -> None:
        async def main() -> None:
            ours, theirs = socket.socketpair()
            for sock in (ours, theirs):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
            ours.setblocking(False)
            theirs.settimeout(10)
            loop = asyncio.get_running_loop()
            _, endpoint = await loop.connect_accepted_socket(lambda: Endpoint(limit), ours)
            try:
                await scenario(endpoint, theirs)
            finally:
                theirs.close()
                if not endpoint.gone.is_set():
                    endpoint.transport.abort()
                await endpoint.gone.wait()

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main())

    return run


def read_all(sock: socket.socket, count: int, pause: float = 0.0) -> list[bytes]:
    frames, texts = Frames("client"), list[bytes]()
    while len(texts) < count:
        data = sock.recv(3000)
        assert data, "the stream ended early"
        texts += [event.payload for event in frames.feed(data) if isinstance(event, Text)]
        if pause:
            time.sleep(pause)
    return texts


def test_frames_of_many_threads_arrive_whole_and_in_each_threads_order(play: Callable[..., None]) -> None:
    sizes = [10, 100, 5000, 40_000, 3]

    async def scenario(endpoint: Endpoint, peer: socket.socket) -> None:
        def work(name: int) -> None:
            for index in range(120):
                endpoint.writer.send_text(b"%d %d " % (name, index) + b"x" * sizes[index % len(sizes)])

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        reading = asyncio.create_task(asyncio.to_thread(read_all, peer, 5 * 120))
        for thread in threads:
            thread.start()
        for index in range(120):
            endpoint.writer.send_text(b"4 %d " % index + b"y" * sizes[index % len(sizes)])
            await asyncio.sleep(0)
        texts = await reading
        for name in range(5):
            own = [text.split(b" ", 2) for text in texts if text.startswith(b"%d " % name)]
            assert [int(words[1]) for words in own] == list(range(120))
            assert all(len(words[2]) == sizes[int(words[1]) % len(sizes)] for words in own)
        assert endpoint.broken == []

    play(scenario)


def test_a_thread_writes_without_the_loop(play: Callable[..., None]) -> None:
    async def scenario(endpoint: Endpoint, peer: socket.socket) -> None:
        thread = threading.Thread(target=endpoint.writer.send_text, args=(b"now",))
        thread.start()
        thread.join()  # the loop stands still
        assert peer.recv(100) == text_frame(b"now")
        assert endpoint.writer.buffered == 0

    play(scenario)


def test_binary_messages_keep_the_order(play: Callable[..., None]) -> None:
    async def scenario(endpoint: Endpoint, peer: socket.socket) -> None:
        sent = [Binary(b"\xff" * size) if size % 2 else Text(b"t" * size) for size in range(120, 131)]
        for event in sent:
            writer = endpoint.writer
            (writer.send_binary if type(event) is Binary else writer.send_text)(event.payload)
        frames = Frames("client")
        received: list[Event] = []
        while len(received) < len(sent):
            received += frames.feed(await asyncio.to_thread(peer.recv, 65536))
        assert received == sent

    play(scenario)


def test_writing_goes_back_to_the_thread_when_the_peer_caught_up(play: Callable[..., None]) -> None:
    async def scenario(endpoint: Endpoint, peer: socket.socket) -> None:
        big = b"x" * 500_000
        endpoint.writer.send_text(big)
        assert endpoint.writer.buffered > 0
        assert await asyncio.to_thread(read_all, peer, 1) == [big]
        await asyncio.sleep(0.05)
        assert endpoint.writer.buffered == 0
        assert endpoint.changes > 0
        thread = threading.Thread(target=endpoint.writer.send_text, args=(b"now",))
        thread.start()
        thread.join()
        assert peer.recv(100) == text_frame(b"now")

    play(scenario)


def test_a_peer_that_does_not_read_is_given_up(play: Callable[..., None]) -> None:
    async def scenario(endpoint: Endpoint, peer: socket.socket) -> None:
        def flood() -> None:
            for _ in range(100):
                endpoint.writer.send_text(b"x" * 10_000)

        await asyncio.to_thread(flood)
        await asyncio.sleep(0.01)
        assert len(endpoint.broken) == 1
        assert "unread" in endpoint.broken[0]
        assert endpoint.writer.buffered <= 100_000

    play(scenario, limit=100_000)


def test_a_peer_that_is_gone_is_noticed_once(play: Callable[..., None]) -> None:
    async def scenario(endpoint: Endpoint, peer: socket.socket) -> None:
        endpoint.transport.pause_reading()
        peer.close()

        def write() -> None:
            for _ in range(5):
                endpoint.writer.send_text(b"x")

        await asyncio.to_thread(write)
        await asyncio.sleep(0.01)
        assert len(endpoint.broken) == 1
        assert "writing failed" in endpoint.broken[0]

    play(scenario)


def test_nothing_is_written_to_a_descriptor_that_is_no_longer_ours(play: Callable[..., None]) -> None:
    async def scenario(endpoint: Endpoint, peer: socket.socket) -> None:
        descriptor = endpoint.transport.get_extra_info("socket").fileno()
        endpoint.transport.abort()
        await endpoint.gone.wait()
        ours, stranger = socket.socketpair()
        with ours, stranger:
            assert descriptor in (ours.fileno(), stranger.fileno())  # the kernel gave the number away again
            thread = threading.Thread(target=endpoint.writer.send_text, args=(b"not for you",))
            thread.start()
            thread.join()
            for sock in (ours, stranger):
                sock.setblocking(False)
                with pytest.raises(BlockingIOError):
                    sock.recv(1)

    play(scenario)


def test_what_is_corked_leaves_in_one_piece(play: Callable[..., None]) -> None:
    async def scenario(endpoint: Endpoint, peer: socket.socket) -> None:
        endpoint.writer.cork()
        endpoint.writer.send_text(b"one")
        thread = threading.Thread(target=endpoint.writer.send_text, args=(b"two",))
        thread.start()
        thread.join()
        peer.setblocking(False)
        with pytest.raises(BlockingIOError):
            peer.recv(1)
        endpoint.writer.uncork()
        assert peer.recv(100) == text_frame(b"one") + text_frame(b"two")
        endpoint.writer.cork()
        endpoint.writer.uncork()
        endpoint.writer.write(text_frame(b"three"))
        assert peer.recv(100) == text_frame(b"three")

    play(scenario)


def test_a_corked_flood_is_sent_whole(play: Callable[..., None]) -> None:
    async def scenario(endpoint: Endpoint, peer: socket.socket) -> None:
        reading = asyncio.create_task(asyncio.to_thread(read_all, peer, 100))
        for _ in range(10):
            endpoint.writer.cork()
            for _ in range(10):
                endpoint.writer.send_text(b"x" * 20_000)
            endpoint.writer.uncork()
            await asyncio.sleep(0)
        assert await reading == [b"x" * 20_000] * 100

    play(scenario)


@pytest.mark.parametrize("size", [10, 300_000])
@pytest.mark.parametrize("corked", [False, True])
def test_nothing_follows_the_last_frame(play: Callable[..., None], size: int, corked: bool) -> None:
    async def scenario(endpoint: Endpoint, peer: socket.socket) -> None:
        if corked:
            endpoint.writer.cork()
        endpoint.writer.send_text(b"x" * size)
        endpoint.writer.write(text_frame(b"last"), last=True)
        endpoint.writer.send_text(b"too late")
        if corked:
            endpoint.writer.uncork()
        endpoint.writer.close_when_sent()

        def read() -> bytes:
            data = b""
            while piece := peer.recv(65536):
                data += piece
            return data

        assert await asyncio.to_thread(read) == text_frame(b"x" * size) + text_frame(b"last")
        await endpoint.gone.wait()

    play(scenario)


def test_the_stream_can_end_before_the_connection(play: Callable[..., None]) -> None:
    async def scenario(endpoint: Endpoint, peer: socket.socket) -> None:
        endpoint.writer.send_text(b"x" * 300_000)
        endpoint.writer.end_when_sent()
        assert await asyncio.to_thread(read_all, peer, 1) == [b"x" * 300_000]
        assert await asyncio.to_thread(peer.recv, 10) == b""
        assert not endpoint.gone.is_set()

    play(scenario)


class Bare(asyncio.Transport):
    """A socket's transport that does nothing by itself."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__({"socket": sock})

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0

    def get_write_buffer_size(self) -> int:
        return 0


def test_writing_after_the_loop_is_closed_is_harmless() -> None:
    loop = asyncio.new_event_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        broken: list[str] = []
        writer = FrameWriter(
            Bare(ours), loop, max_buffered_bytes=1 << 20, on_change=lambda: None, on_broken=broken.append
        )
        loop.close()

        def write() -> None:
            for _ in range(10):
                writer.send_text(b"x" * 500_000)

        thread = threading.Thread(target=write)
        thread.start()
        thread.join(5)
        assert not thread.is_alive()
        assert writer.buffered == 0
        assert broken == []
