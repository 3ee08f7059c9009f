"""A connection for synchronous code: one blocking socket, no event loop, no thread per connection.

A call sends one frame and reads until its reply is there, on the caller's own thread. A lock makes calls
of several threads follow each other. While nobody calls, a single background thread of the process
(`keeper`) answers the server's pings. A process forked from this one must open its own connections:
using an inherited one is refused, since two processes would tear one stream of frames apart.

On the extended protocol a call survives its socket: when that breaks, the call dials again, lets the
exchange resume the session and send the request once more under its id, and goes on waiting.
"""

from __future__ import annotations

import os
import threading
from time import monotonic
from typing import Any

from openenv.client.endpoint import CLOSE_TIMEOUT_S, FAREWELL_TIMEOUT_S, Endpoint, grace_s
from openenv.client.exchange import Exchange, Link
from openenv.client.keeper import KEEPER
from openenv.client.members import Member, Patience
from openenv.client.refusals import unreachable
from openenv.client.sockets import ConnectionStatistics, dial, shut, too_late
from openenv.client.tickets import Ticket
from openenv.errors import AuthenticationError, OpenEnvError, SessionLost, UsageError
from openenv.protocol.plain import Reply
from openenv.protocol.wire_errors import error_from_payload

_BUFFER_BYTES = 64 * 1024
_SLOWEST_BYTES_PER_S = 50_000
"""A long request may take this long to leave before the network counts as broken."""


class SyncConnection:
    """One connection to a server's `/ws`. Safe to share between threads.

    Args:
        endpoint: the server.
        route: route and query below the endpoint's path.
        own: whether connecting opens a session; else `open_sessions` does.

    Raises:
        ServerUnreachableError: nothing answers there.
        AuthenticationError: the server wants a token.
        SessionCapacityError: the server is full.
    """

    def __init__(self, endpoint: Endpoint, route: str = "/ws", *, own: bool = True) -> None:
        self._endpoint = endpoint
        self._exchange = Exchange(endpoint, route, own=own)
        self._lock = threading.Lock()
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._pid = os.getpid()
        self._timeout: float | None = -1.0
        # A TLS socket that may not wait at all raises errors of its own kind; one that may wait, does not.
        self._instant = 0.001 if endpoint.address.tls else 0.0
        self._heard = monotonic()
        self._asked: float | None = None
        self._closing = threading.Event()
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
        return self._exchange.usable and not self._closing.is_set() and not self.inherited

    @property
    def connected(self) -> bool:
        """Whether the socket is open, as far as is known."""
        return self._exchange.link is Link.OPEN and self._exchange.failure is None

    @property
    def inherited(self) -> bool:
        """Whether the connection belongs to the process this one was forked from."""
        return os.getpid() != self._pid

    def statistics(self) -> ConnectionStatistics:
        """What the connection has done so far."""
        return ConnectionStatistics.of(self._exchange)

    @property
    def session(self) -> str | None:
        """Id of the session that belongs to the connection, if it is known."""
        own = self._exchange.own
        return None if own is None else own.session

    def call(
        self, call: str, data: Any = None, *, timeout_s: float | None = None, member: Member | None = None
    ) -> Reply:
        """Send a request and wait for its reply.

        Args:
            call: `reset`, `step`, `state` or `mcp`.
            data: its payload, None for a message without one.
            timeout_s: deadline in seconds, the wait for calls of other threads and for another connection
                included; None takes the endpoint's.
            member: the session; the connection's own if absent.

        Raises:
            StepTimeoutError: the deadline passed.
            SessionLost: the connection broke, now or before, and the session could not be resumed.
            UsageError: the connection was inherited through a fork.
            OpenEnvError: the server's own error, typed.
        """
        if timeout_s is None:
            timeout_s = self._endpoint.timeout_s
        deadline = self._take_turn(call, timeout_s)
        try:
            self._check(call, deadline, timeout_s)
            subject = member or self._exchange.own
            if subject is not None and subject.loss is not None:
                raise error_from_payload(subject.loss)
            left = None if deadline is None else max(0.001, deadline - monotonic())
            ticket, frame = self._exchange.request(call, data, left, member)
            reply = self._carry(ticket, frame, deadline, left, timeout_s)
        finally:
            self._lock.release()
        if reply.type == "error":
            raise error_from_payload(reply.data)
        return reply

    def revive(self, timeout_s: float | None = None) -> bool:
        """Make sure that the connection is open, over a new socket if need be; False if that cannot be."""
        deadline = self._take_turn("connect", timeout_s)
        try:
            self._check("connect", deadline, timeout_s)
        except SessionLost:
            return False
        finally:
            self._lock.release()
        return self.alive

    def close(self) -> None:
        """End the session and close the connection. A second call does nothing."""
        KEEPER.forget(self)
        if self._closing.is_set():
            return
        self._closing.set()
        if self.inherited:
            self._socket.close()
            return
        if not self._lock.acquire(timeout=0.1):
            # A call is under way in another thread: cut it off.
            self._exchange.fail(SessionLost("the client was closed by another thread"), final=True)
            shut(self._socket)
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
            if self._exchange.link is not Link.OPEN:
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

    def _take_turn(self, call: str, timeout_s: float | None) -> float | None:
        """Acquire the lock; return the deadline."""
        if os.getpid() != self._pid:
            raise UsageError(
                "This connection belongs to the process that this one was forked from. "
                "Open a client of its own in each process."
            )
        deadline = None if timeout_s is None else monotonic() + timeout_s
        if not self._lock.acquire(timeout=-1 if timeout_s is None else max(0.0, timeout_s)):
            raise too_late(call, timeout_s, "another thread's call was still running", sent=False)
        return deadline

    # Everything below runs with the lock held -----------------------------------------------------------

    def _open(self) -> None:
        try:
            self._greet(self._exchange.hello(), self._endpoint.connect_timeout_s)
        except OSError as problem:
            raise unreachable(self._endpoint.address, problem) from problem
        failure = self._exchange.failure
        if failure is not None:
            if isinstance(failure, SessionLost):
                raise unreachable(self._endpoint.address, failure)
            raise failure

    def _greet(self, hello: bytes, patience_s: float) -> None:
        """Shake hands, and resume what there is to resume."""
        exchange, deadline = self._exchange, monotonic() + patience_s
        self._timeout = -1.0
        self._wait_at_most(patience_s)
        self._socket.sendall(hello)
        while not exchange.ready and exchange.link is not Link.CLOSED:
            self._wait_at_most(max(0.001, deadline - monotonic()))
            self._read()

    def _check(self, call: str, deadline: float | None, timeout_s: float | None) -> None:
        """See to it that there is a connection."""
        exchange = self._exchange
        while exchange.failure is not None or exchange.link is not Link.OPEN:
            if not exchange.resumable or self._closing.is_set():
                if exchange.failure is not None:
                    raise exchange.failure.with_traceback(None)
                raise SessionLost("the connection is closed")
            self._dial_again(call, deadline, timeout_s)

    def _dial_again(self, call: str, deadline: float | None, timeout_s: float | None) -> None:
        """Connect once more and resume; until it worked, or there is no hope, or the deadline passed."""
        exchange, endpoint = self._exchange, self._endpoint
        why = exchange.failure
        patience = Patience(monotonic(), min(endpoint.reconnect_timeout_s, exchange.lease_s))
        while (pause := patience.pause(monotonic())) is not None:
            if deadline is not None and monotonic() + pause >= deadline:
                raise too_late(call, timeout_s, f"{why}, and no other connection could be had", sent=True)
            if self._closing.wait(pause):
                raise SessionLost("the connection is closed")
            limit = min(endpoint.connect_timeout_s, max(0.05, patience.until - monotonic()))
            if deadline is not None:
                limit = min(limit, max(0.001, deadline - monotonic()))
            self._dial_once(limit)
            if exchange.failure is None or not exchange.resumable:
                return
            if isinstance(exchange.failure, AuthenticationError):
                break
        exchange.give_up(f"was lost ({why}), and no other connection could be had: {exchange.failure}")

    def _dial_once(self, limit: float) -> None:
        """Try once to connect and resume; the exchange knows how it went."""
        exchange = self._exchange
        self._socket.close()
        try:
            self._socket = dial(self._endpoint, limit)
            self._greet(exchange.again(), limit)
        except (OSError, OpenEnvError) as problem:
            exchange.ended(f"cannot be reached again ({problem or type(problem).__name__})")
        except BaseException:
            exchange.ended("was left in the middle of the handshake")
            raise

    def _carry(
        self,
        ticket: Ticket,
        frame: bytes,
        deadline: float | None,
        left: float | None,
        timeout_s: float | None,
    ) -> Reply:
        """Send a frame and read until its reply is there, over as many connections as it takes."""
        self._send(ticket, frame, deadline, timeout_s)
        if left is not None and deadline is not None and self._exchange.extended:
            deadline += grace_s(left)
        return self._await(ticket, deadline, timeout_s)

    def _send(self, ticket: Ticket, frame: bytes, deadline: float | None, timeout_s: float | None) -> None:
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
                late = too_late(ticket.call, timeout_s, "the server did not take the request", sent=True)
                if not self._exchange.resumable:
                    late.session_fate = "closed"  # it has half a request
                self._exchange.abandon(ticket)
                raise late from None
        except BaseException:
            # Interrupted in the middle of a frame: the stream cannot be continued.
            self._exchange.fail(SessionLost("a request was interrupted while it was being sent"))
            self._exchange.abandon(ticket)
            raise

    def _await(self, ticket: Ticket, deadline: float | None, timeout_s: float | None) -> Reply:
        try:
            while ticket.reply is None:
                self._advance(ticket.call, deadline, timeout_s)
        except BaseException:
            self._exchange.abandon(ticket)
            raise
        return ticket.reply

    def _advance(self, call: str, deadline: float | None, timeout_s: float | None) -> None:
        """Read once, or see to a connection or a silence that needs it."""
        exchange, wait = self._exchange, self._endpoint.ping_interval_s
        if exchange.link is not Link.OPEN:
            self._check(call, deadline, timeout_s)
            return
        if deadline is not None:
            left = deadline - monotonic()
            if left <= 0:
                raise too_late(call, timeout_s, "the server did not answer", sent=True)
            wait = left if wait is None else min(left, wait)
        self._wait_at_most(wait)
        try:
            self._read()
        except (BlockingIOError, TimeoutError):
            self._keep_alive()
        except OSError as problem:
            exchange.ended(f"dropped the connection ({problem})")

    @staticmethod
    def _finish(answered: list[Ticket]) -> None:
        """Put answered requests where those who submitted them look."""
        for ticket in answered:
            if ticket.waiter is not None:
                ticket.waiter.append(ticket)

    def _read(self) -> bool:
        """Read once; False at the end of the stream."""
        size = self._socket.recv_into(self._buffer)
        if not size:
            self._exchange.ended()
            return False
        self._heard = monotonic()
        self._asked = None
        answered = self._exchange.receive(bytes(self._buffer[:size]))
        if answered:
            self._finish(answered)
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
        if exchange.resumable:
            self._dial_once(FAREWELL_TIMEOUT_S)  # else the sessions would live until their leases end
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
