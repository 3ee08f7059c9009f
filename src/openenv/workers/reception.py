"""Where new connections wait until it is known which worker they belong to.

Their first bytes are looked at and left where they are (`MSG_PEEK`). That is bounded: a connection that says
nothing within `PEEK_S` seconds, or too much, goes to some worker as it is, which has limits of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
import time
import zlib
from collections import deque
from typing import TYPE_CHECKING

from openenv.session.names import worker_of
from openenv.workers.crew import State, Worker
from openenv.workers.peek import MAX_HEAD_BYTES, Wish, is_complete, read_wish

if TYPE_CHECKING:
    from openenv.workers.supervisor import Supervisor

PEEK_S = 5.0
"""Seconds a connection may take to say where it wants to go."""

PATIENCE_S = 30.0
"""Seconds a connection waits for a worker that starts."""

MAX_PEEKING = 1024
"""Connections looked at at once; beyond that, the oldest goes to some worker as it is."""

MAX_PARKED = 1024
"""Connections that wait for a worker to start; further ones are closed."""

_AGAIN_S = 0.01
_PAUSE_S = 0.1
_BATCH = 64
_CONGESTED = 256


class Reception:
    """Looks at new connections and hands them to workers.

    Args:
        supervisor: knows the workers.
        selector: the supervisor's selector.
        tls: whether connections are encrypted, so that there is nothing to see.
        cookie: name of the server's session cookie.
    """

    def __init__(
        self, supervisor: Supervisor, selector: selectors.BaseSelector, *, tls: bool, cookie: str
    ) -> None:
        self._supervisor = supervisor
        self._selector = selector
        self._tls = tls
        self._cookie = cookie
        self._peeking: dict[socket.socket, float] = {}
        self._parked: deque[tuple[socket.socket, Wish, float]] = deque()
        self._count = itertools.count(1)

    def accept(self) -> None:
        """Take what waits at the listening socket, a batch at a time."""
        listener = self._supervisor.listener
        for _ in range(_BATCH):
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptors left, or the connection was reset
                self._selector.unregister(listener)
                self._supervisor.later(_PAUSE_S, self._supervisor.listen)
                return
            self.take(sock)

    def take(self, sock: socket.socket) -> None:
        """Find out where a connection belongs."""
        sock.setblocking(False)
        if self._tls:
            self._place(sock, Wish(lasting=True))
            return
        if len(self._peeking) >= MAX_PEEKING:
            self._settle(next(iter(self._peeking)), Wish())
        self._peeking[sock] = time.monotonic() + PEEK_S
        self._supervisor.later(PEEK_S, lambda: self._look(sock))
        self._look(sock)

    def _look(self, sock: socket.socket) -> None:
        """Read what a connection has sent, and leave it there."""
        deadline = self._peeking.get(sock)
        if deadline is None:
            return
        with contextlib.suppress(KeyError):
            self._selector.unregister(sock)
        try:
            data: bytes | None = sock.recv(MAX_HEAD_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            data = None
        except OSError:
            data = b""
        if data == b"":  # it is gone already
            del self._peeking[sock]
            sock.close()
        elif data is not None and is_complete(data):
            self._settle(sock, read_wish(data, self._cookie, _peer_of(sock)))
        elif time.monotonic() >= deadline:
            self._settle(sock, Wish())
        elif data is None:
            self._selector.register(sock, selectors.EVENT_READ, lambda _: self._look(sock))
        else:  # the socket stays readable, so waiting for that would be no wait
            self._supervisor.later(_AGAIN_S, lambda: self._look(sock))

    def _settle(self, sock: socket.socket, wish: Wish) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(sock)
        del self._peeking[sock]
        self._place(sock, wish)

    def _place(self, sock: socket.socket, wish: Wish) -> None:
        worker = self.choose(wish)
        if worker is not None:
            self._hand_over(sock, wish, worker)
        elif len(self._parked) < MAX_PARKED:
            self._parked.append((sock, wish, time.monotonic() + PATIENCE_S))
            self._supervisor.later(PATIENCE_S, self.retry)
        else:
            sock.close()

    def retry(self) -> None:
        """Place the connections that waited for a worker; close those that waited too long."""
        for _ in range(len(self._parked)):
            sock, wish, deadline = self._parked.popleft()
            worker = self.choose(wish)
            if worker is not None:
                self._hand_over(sock, wish, worker)
            elif time.monotonic() >= deadline:
                sock.close()
            else:
                self._parked.append((sock, wish, deadline))

    def _hand_over(self, sock: socket.socket, wish: Wish, worker: Worker) -> None:
        worker.last_served = next(self._count)
        if wish.lasting:
            worker.expect()
        if wish.by_address:
            worker.remember_address(wish.address)
        self._supervisor.tell(worker, {"do": "connection"}, sock)

    def choose(self, wish: Wish) -> Worker | None:
        """The worker for a request; None if it has to wait for one."""
        workers = self._supervisor.workers()
        if wish.session is not None:
            owner = worker_of(wish.session)
            found = next((worker for worker in workers if worker.number == owner), None)
            if found is not None:
                return found
        elif wish.by_address:
            return self._of_address(wish.address, workers)
        free = [worker for worker in workers if worker.state is State.READY]
        calm = [worker for worker in free if worker.channel.waiting < _CONGESTED] or free
        load = self._supervisor.load
        return min(calm, key=lambda worker: (load(worker), worker.last_served), default=None)

    def _of_address(self, address: str | None, workers: list[Worker]) -> Worker | None:
        """The worker of a client that names no session: always the same one."""
        for worker in workers:
            if worker.state is State.RETIRING and address in worker.addresses:
                return worker
        slots = self._supervisor.slots
        worker_there = slots[zlib.crc32((address or "").encode()) % len(slots)].worker
        return worker_there if worker_there in workers else None

    def close(self) -> None:
        """Close every connection that waits."""
        for sock in self._peeking:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(sock)
            sock.close()
        for sock, _, _ in self._parked:
            sock.close()
        self._peeking.clear()
        self._parked.clear()


def _peer_of(sock: socket.socket) -> str | None:
    with contextlib.suppress(OSError):
        peer = sock.getpeername()
        return str(peer[0]) if isinstance(peer, tuple) else None
    return None
