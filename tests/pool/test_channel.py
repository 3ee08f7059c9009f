"""Frames over sockets that take their time."""

from __future__ import annotations

import os
import random
import socket
import threading
import time

import pytest

from openenv.errors import ProtocolError
from openenv.pool.channel import Channel, Feed, Incoming, framed


def test_frames_come_out_however_they_are_cut() -> None:
    draw = random.Random(4)
    frames = [draw.randbytes(draw.choice([0, 1, 3, 200, 70_000])) for _ in range(50)]
    stream = b"".join(map(framed, frames))
    for _ in range(20):
        incoming, found, start = Incoming(), [], 0
        while start < len(stream):
            end = start + draw.choice([1, 2, 5, 1000, 100_000])
            found += incoming.feed(stream[start:end])
            start = end
        assert found == frames


def test_a_frame_that_is_too_long_is_refused() -> None:
    with pytest.raises(ProtocolError, match="a frame of"):
        Incoming().feed(b"\xff\xff\xff\xff")


def test_a_feed_keeps_what_the_socket_does_not_take() -> None:
    ours, theirs = socket.socketpair()
    feed, channel = Feed(ours), Channel(theirs)
    large = os.urandom(3_000_000)
    read_end, write_end = os.pipe()
    feed.send(large)
    assert feed.blocked
    feed.send(b"with a descriptor", [write_end])
    received: list[bytes | None] = []
    reader = threading.Thread(target=lambda: received.extend([channel.recv(), channel.recv()]))
    reader.start()
    deadline = time.monotonic() + 30
    while feed.blocked and time.monotonic() < deadline:
        feed.flush()
    reader.join(30)
    assert received == [large, b"with a descriptor"]
    passed = channel.descriptors.popleft()
    os.write(passed, b"x")
    assert os.read(read_end, 1) == b"x"
    os.close(passed)
    assert os.read(read_end, 1) == b"", "no copy was kept"
    os.close(read_end)
    theirs.close()
    assert feed.read() == ([], False)
    feed.close()


def test_descriptors_that_were_never_sent_are_closed() -> None:
    ours, theirs = socket.socketpair()
    feed = Feed(ours)
    feed.send(os.urandom(3_000_000))
    read_end, write_end = os.pipe()
    feed.send(b"late", [write_end])
    feed.close()
    assert os.read(read_end, 1) == b"", "the write end is closed"
    os.close(read_end)
    theirs.close()


def test_sending_to_whoever_is_gone_shows_when_reading() -> None:
    ours, theirs = socket.socketpair()
    feed = Feed(ours)
    theirs.close()
    feed.send(b"anybody there")
    assert feed.read() == ([], False)
    feed.close()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(ours)
        theirs.shutdown(socket.SHUT_RDWR)
        assert channel.recv() is None
