"""A connection for synchronous code: one blocking socket, no event loop, no thread per connection.

A call sends one frame and reads until its reply is there, on the caller's own thread. A lock makes calls
of several threads follow each other. While nobody calls, a single background thread of the process
(`keeper`) answers the server's pings. A process forked from this one must open its own connections:
using an inherited one is refused, since two processes would tear one stream of frames apart.
"""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass
from time import monotonic
from typing import Any

from openenv.client.endpoint import CLOSE_TIMEOUT_S, Endpoint, grace_s
from openenv.client.exchange import Exchange, Link, Ticket
from openenv.client.keeper import KEEPER
from openenv.client.refusals import unreachable
from openenv.errors import SessionLost, StepTimeoutError, UsageError
from openenv.protocol.plain import Reply
from openenv.protocol.wire_errors import error_from_payload

_BUFFER_BYTES = 64 * 1024
_SLOWEST_BYTES_PER_S = 50_000
"""A long request may take this long to leave before the network counts as broken."""


@dataclass(frozen=True, slots=True)
class ConnectionStatistics:
    """What a connection has done.

    Attributes:
        calls: requests sent.
        owing: requests that the server has not answered yet.
        dropped: replies that came after their callers had gone.
        extended: whether the extended protocol is spoken.
    """

    calls: int
    owing: int
    dropped: int
    extended: bool


class SyncConnection:
    """One connection to a server's `/ws`. Safe to share between threads.

    Args:
        endpoint: the server.
        route: route and query below the endpoint's path.

    Raises:
        ServerUnreachableError: nothing answers there.
        AuthenticationError: the server wants a token.
        SessionCapacityError: the server is full.
    """

    def __init__(self, endpoint: Endpoint, route: str = "/ws") -> None:
        self._endpoint = endpoint
        self._exchange = Exchange(endpoint, route)
        self._lock = threading.Lock()
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._pid = os.getpid()
        self._timeout: float | None = -1.0
        # A TLS socket that may not wait at all raises errors of its own kind; one that may wait, does not.
        self._instant = 0.001 if endpoint.address.tls else 0.0
        self._heard = monotonic()
        self._asked: float | None = None
        self._socket = dial(endpoint)
        try:
            self._open()
        except BaseException:
            self._socket.close()
            raise
        KEEPER.watch(self)

    @property
    def extended(self) -> bool:
        """Whether the server speaks the extended protocol."""
        return self._exchange.extended

    @property
    def alive(self) -> bool:
        """Whether calls can be made, as far as is known without asking the server."""
        return self._exchange.link is Link.OPEN and self._exchange.failure is None and not self.inherited

    @property
    def inherited(self) -> bool:
        """Whether the connection belongs to the process this one was forked from."""
        return os.getpid() != self._pid

    def statistics(self) -> ConnectionStatistics:
        """What the connection has done so far."""
        exchange = self._exchange
        return ConnectionStatistics(exchange.calls, exchange.owing, exchange.dropped, exchange.extended)

    def call(self, call: str, data: Any = None, *, timeout_s: float | None = None) -> Reply:
        """Send a request and wait for its reply.

        Args:
            call: `reset`, `step`, `state` or `mcp`.
            data: its payload, None for a message without one.
            timeout_s: deadline in seconds, the wait for calls of other threads included; None takes the
                endpoint's.

        Raises:
            StepTimeoutError: the deadline passed.
            SessionLost: the connection broke, now or before.
            UsageError: the connection was inherited through a fork.
            OpenEnvError: the server's own error, typed.
        """
        if os.getpid() != self._pid:
            raise UsageError(
                "This connection belongs to the process that this one was forked from. "
                "Open a client of its own in each process."
            )
        if timeout_s is None:
            timeout_s = self._endpoint.timeout_s
        deadline = None if timeout_s is None else monotonic() + timeout_s
        if not self._lock.acquire(timeout=-1 if timeout_s is None else max(0.0, timeout_s)):
            raise too_late(call, timeout_s, "another thread's call was still running", sent=False)
        try:
            self._check()
            left = None if deadline is None else max(0.001, deadline - monotonic())
            ticket, frame = self._exchange.request(call, data, left)
            self._send(call, frame, deadline, timeout_s)
            if left is not None and deadline is not None and self._exchange.extended:
                deadline += grace_s(left)
            reply = self._await(ticket, deadline, timeout_s)
        finally:
            self._lock.release()
        if reply.type == "error":
            raise error_from_payload(reply.data)
        return reply

    def close(self) -> None:
        """End the session and close the connection. A second call does nothing."""
        KEEPER.forget(self)
        if self._socket.fileno() < 0:
            return
        if self.inherited:
            self._socket.close()
            return
        if not self._lock.acquire(timeout=0.1):
            # A call is under way in another thread: cut it off.
            self._exchange.fail(SessionLost("the client was closed by another thread"))
            _shut(self._socket)
            self._lock.acquire()
        try:
            self._say_goodbye()
        finally:
            self._socket.close()
            self._lock.release()

    def attend(self) -> None:
        """Answer what the server asked while nobody called (the keeper's errand).

        Also asks a server that has been silent for a sign of life, and notices when it is gone. Does
        nothing while a call is under way, which does all this itself.
        """
        if self.inherited or not self._lock.acquire(blocking=False):
            return
        try:
            if not self.alive:
                return
            self._wait_at_most(self._instant)
            while self._read():
                pass
        except (BlockingIOError, TimeoutError):
            self._keep_alive()
        except OSError as problem:
            self._exchange.ended(f"dropped the connection ({problem})")
        finally:
            self._lock.release()

    # Everything below runs with the lock held -----------------------------------------------------------

    def _open(self) -> None:
        deadline = monotonic() + self._endpoint.connect_timeout_s
        try:
            self._socket.sendall(self._exchange.hello())
            while self._exchange.link is Link.OPENING:
                self._wait_at_most(max(0.001, deadline - monotonic()))
                if not self._read() and self._exchange.link is Link.OPENING:
                    self._exchange.ended()
        except OSError as problem:
            raise unreachable(self._endpoint.address, problem) from problem
        failure = self._exchange.failure
        if failure is not None:
            if isinstance(failure, SessionLost):
                raise unreachable(self._endpoint.address, failure)
            raise failure

    def _check(self) -> None:
        exchange = self._exchange
        if exchange.failure is not None:
            raise exchange.failure.with_traceback(None)
        if exchange.link is not Link.OPEN:
            raise SessionLost("the connection is closed")

    def _send(self, call: str, frame: bytes, deadline: float | None, timeout_s: float | None) -> None:
        patience = self._endpoint.ping_interval_s
        if patience is not None and len(frame) > _BUFFER_BYTES:
            patience += len(frame) / _SLOWEST_BYTES_PER_S
        if deadline is not None:
            left = max(0.001, deadline - monotonic())
            patience = left if patience is None else min(left, patience)
        self._wait_at_most(patience)
        try:
            self._socket.sendall(frame)
        except OSError as problem:
            self._read_last_words()
            self._exchange.ended(f"took no more requests ({problem or type(problem).__name__})")
            if isinstance(problem, TimeoutError) and deadline is not None and monotonic() >= deadline:
                late = too_late(call, timeout_s, "the server did not take the request", sent=True)
                late.session_fate = "closed"  # it has half a request
                raise late from None
            self._check()
        except BaseException:
            # Interrupted in the middle of a frame: the stream cannot be continued.
            self._exchange.fail(SessionLost("a request was interrupted while it was being sent"))
            raise

    def _await(self, ticket: Ticket, deadline: float | None, timeout_s: float | None) -> Reply:
        patience = self._endpoint.ping_interval_s
        try:
            while ticket.reply is None:
                if self._exchange.link is not Link.OPEN:
                    self._check()
                wait = patience
                if deadline is not None:
                    left = deadline - monotonic()
                    if left <= 0:
                        raise too_late(ticket.call, timeout_s, "the server did not answer", sent=True)
                    wait = left if patience is None else min(left, patience)
                self._wait_at_most(wait)
                try:
                    self._read()
                except (BlockingIOError, TimeoutError):
                    self._keep_alive()
                except OSError as problem:
                    self._exchange.ended(f"dropped the connection ({problem})")
        except BaseException:
            self._exchange.abandon(ticket)
            raise
        return ticket.reply

    def _read(self) -> bool:
        """Read once; False at the end of the stream."""
        size = self._socket.recv_into(self._buffer)
        if not size:
            self._exchange.ended()
            return False
        self._heard = monotonic()
        self._asked = None
        self._exchange.receive(bytes(self._buffer[:size]))
        answer = self._exchange.outgoing()
        if answer:
            self._answer(answer)
        return True

    def _answer(self, frames: bytes) -> None:
        try:
            self._socket.sendall(frames)
        except OSError as problem:
            self._exchange.ended(f"took no more answers ({problem})")

    def _keep_alive(self) -> None:
        """Called after a silence: ask for a sign of life, or give up on a question asked before."""
        endpoint, now = self._endpoint, monotonic()
        if endpoint.ping_interval_s is None or now - self._heard < endpoint.ping_interval_s:
            return
        if self._asked is None:
            self._asked = now
            self._wait_at_most(endpoint.ping_timeout_s)
            self._answer(self._exchange.ping())
        elif endpoint.ping_timeout_s is not None and now - self._asked >= endpoint.ping_timeout_s:
            self._exchange.ended(f"gave no sign of life for {now - self._heard:.0f} s")

    def _read_last_words(self) -> None:
        """Read what the server said before it stopped listening: the reason is often there."""
        self._wait_at_most(self._instant)
        try:
            while self._read():
                pass
        except OSError:
            return

    def _say_goodbye(self) -> None:
        exchange = self._exchange
        owing = exchange.owing
        farewell = exchange.goodbye() if exchange.failure is None else b""
        if not farewell:
            return
        deadline = monotonic() + (0.0 if owing else CLOSE_TIMEOUT_S)
        try:
            self._wait_at_most(CLOSE_TIMEOUT_S)
            self._socket.sendall(farewell)
            while exchange.link is Link.CLOSING and (left := deadline - monotonic()) > 0:
                self._wait_at_most(left)
                self._read()
        except OSError:
            return

    def _wait_at_most(self, seconds: float | None) -> None:
        if seconds != self._timeout:
            self._socket.settimeout(seconds)
            self._timeout = seconds


def dial(endpoint: Endpoint) -> socket.socket:
    """Open a socket to a server, with TLS where the address says so.

    Raises:
        ServerUnreachableError: nothing answers there.
    """
    address, patience = endpoint.address, endpoint.connect_timeout_s
    try:
        if address.unix is not None:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                link.settimeout(patience)
                link.connect(address.unix)
            except BaseException:
                link.close()
                raise
            return link
        link = socket.create_connection((address.host, address.port), patience)
        try:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = endpoint.tls()
            return link if context is None else context.wrap_socket(link, server_hostname=address.host)
        except BaseException:
            link.close()
            raise
    except OSError as problem:
        raise unreachable(address, problem) from problem


def too_late(call: str, timeout_s: float | None, why: str, *, sent: bool) -> StepTimeoutError:
    """The error for a deadline that passed here; a call that changes nothing leaves the session alone."""
    error = StepTimeoutError(f"{call} did not finish within {timeout_s:g} s: {why}", timeout_s=timeout_s)
    if not sent or call not in ("reset", "step"):
        error.session_fate = "alive"
    return error


def _shut(link: socket.socket) -> None:
    """Wake whoever waits on the socket."""
    try:
        link.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
