"""A closed-loop load generator for the plain protocol, on one epoll loop.

Every session is a connection of its own: connect, one reset, then step after step, each sent when the reply
to the one before has arrived. The first reply of each session is parsed and checked; later ones are only
searched for an error. The server's CPU time is read around the measured window, so the generator's own cost
does not count; its latency does, a few microseconds, the same for every server.

The generator sleeps in epoll like any client, so that a server that answers one session at a time pays for
waking it each time. On two cores that is most of the cost of a cheap step (some 20 µs in a virtual machine),
and a server that answers in batches is rightly seen to save it.
"""

from __future__ import annotations

import gc
import json
import select
import time
from dataclasses import dataclass, field

from .frames import CLOSE, TEXT, Refused, Socket
from .process import cpu_ns

RESET = b'{"type":"reset","data":{"seed":1}}'
STEP = json.dumps(
    {
        "type": "step",
        "data": {
            "message": "The quick brown fox jumps over the lazy dog. " * 2,
            "tokens": list(range(1000, 1010)),
        },
    },
    separators=(",", ":"),
).encode()


class LoadError(Exception):
    """The server answered with something that is not an observation, or not at all."""


@dataclass(frozen=True)
class Load:
    """What one window showed.

    Attributes:
        sessions: connections stepping at once.
        steps: steps answered within the window.
        seconds: length of the window.
        cpu_us_per_step: server CPU time per step, in microseconds.
        p50_us: median time from sending a step to having its reply.
        p99_us: the same, 99th percentile.
        compressed: whether the server accepted permessage-deflate.
    """

    sessions: int
    steps: int
    seconds: float
    cpu_us_per_step: float
    p50_us: float
    p99_us: float
    compressed: bool


def check_observation(reply: bytes) -> None:
    """Raise `LoadError` unless `reply` is an observation message."""
    if json.loads(reply).get("type") != "observation":
        raise LoadError(reply.decode()[:300])


def open_session(port: int, *, offer_deflate: bool) -> Socket:
    """Connect, reset and check the answer."""
    try:
        session = Socket(port, offer_deflate=offer_deflate)
    except Refused as refused:
        raise LoadError(str(refused)) from refused
    check_observation(session.call(RESET))
    return session


@dataclass
class _Run:
    """State of one closed loop."""

    sessions: dict[int, Socket]
    poll: select.epoll
    step: bytes
    sent_ns: dict[int, int] = field(default_factory=dict)
    latencies: list[int] = field(default_factory=list)

    def send(self, fd: int) -> None:
        session = self.sessions[fd]
        frame = session.encode(self.step)
        self.sent_ns[fd] = time.perf_counter_ns()
        # One outstanding step of 200 bytes per socket always fits the send buffer.
        session.sock.send(frame)

    def spin(self, seconds: float, *, resend: bool = True) -> None:
        """Answer replies with new steps for `seconds`, or drain what is outstanding."""
        deadline = time.perf_counter_ns() + int(seconds * 1e9)
        latencies, sent_ns = self.latencies, self.sent_ns
        while time.perf_counter_ns() < deadline and (resend or sent_ns):
            for fd, _ in self.poll.poll(0.1):
                session = self.sessions[fd]
                data = session.sock.recv(1 << 16)
                if not data:
                    raise LoadError("the server closed a connection under load")
                for opcode, message in session.feed(data):
                    if opcode == TEXT:
                        if b'"type":"error"' in message:
                            raise LoadError(message.decode()[:300])
                        latencies.append(time.perf_counter_ns() - sent_ns.pop(fd))
                        if resend:
                            self.send(fd)
                    elif opcode == CLOSE:
                        raise LoadError(f"the server closed a socket under load: {message!r}")
                    else:
                        session.answer(opcode, message)


def measure(
    port: int,
    pid: int,
    sessions: int,
    *,
    offer_deflate: bool,
    seconds: float = 0.8,
    warm_up_s: float = 0.3,
    step: bytes = STEP,
) -> Load:
    """Drive `sessions` sessions against a server for one window.

    Args:
        port: where it listens on the loopback interface.
        pid: its process, whose CPU time is read.
        sessions: how many sessions step at once.
        offer_deflate: offer permessage-deflate, as published clients do.
        seconds: length of the measured window.
        warm_up_s: load before it.
        step: the message that is sent again and again.

    Raises:
        LoadError: if a reply is not an observation or a connection breaks.
    """
    opened = [open_session(port, offer_deflate=offer_deflate) for _ in range(sessions)]
    poll = select.epoll()
    run = _Run({session.fd: session for session in opened}, poll, step)
    gc_was_on = gc.isenabled()
    gc.disable()
    try:
        for session in opened:
            check_observation(session.call(step))
            session.sock.setblocking(False)
            poll.register(session.fd, select.EPOLLIN)
        for session in opened:
            run.send(session.fd)
        run.spin(warm_up_s)
        run.latencies.clear()
        cpu_before, before = cpu_ns(pid), time.perf_counter()
        run.spin(seconds)
        elapsed, cpu = time.perf_counter() - before, cpu_ns(pid) - cpu_before
        latencies = sorted(run.latencies)
        run.spin(10.0, resend=False)
    finally:
        if gc_was_on:
            gc.enable()
        poll.close()
        for session in opened:
            session.close()
    if not latencies:
        raise LoadError("no step was answered within the window")
    return Load(
        sessions=sessions,
        steps=len(latencies),
        seconds=elapsed,
        cpu_us_per_step=cpu / 1e3 / len(latencies),
        p50_us=latencies[len(latencies) // 2] / 1e3,
        p99_us=latencies[len(latencies) * 99 // 100] / 1e3,
        compressed=opened[0].compressing,
    )
