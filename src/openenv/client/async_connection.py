"""A connection for asynchronous code: an asyncio protocol that fills one fixed buffer.

Calls of several coroutines follow each other in the order they were made. A caller that is cancelled
leaves its request behind: the server still answers it, and the `Exchange` drops that answer. The loop
answers the server's pings at any time, and a timer asks a silent server for a sign of life.
"""

from __future__ import annotations

import asyncio
import os
import socket
from time import monotonic
from typing import Any, cast

from openenv.client.connection import ConnectionStatistics, too_late
from openenv.client.endpoint import CLOSE_TIMEOUT_S, Endpoint, grace_s
from openenv.client.exchange import Exchange, Link, Ticket
from openenv.client.refusals import unreachable
from openenv.errors import SessionLost, UsageError
from openenv.protocol.plain import Reply
from openenv.protocol.wire_errors import error_from_payload

_BUFFER_BYTES = 64 * 1024


class AsyncConnection(asyncio.BufferedProtocol):
    """One connection to a server's `/ws`, for the event loop it was opened on.

    `await AsyncConnection.open(endpoint)` makes one.
    """

    def __init__(self, endpoint: Endpoint, route: str = "/ws") -> None:
        self._endpoint = endpoint
        self._exchange = Exchange(endpoint, route)
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._transport: asyncio.Transport | None = None
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._pending: Ticket | None = None
        self._expires: float | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._callers = 0
        self._pid = os.getpid()
        self._heard = monotonic()
        self._asked: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def open(cls, endpoint: Endpoint, route: str = "/ws") -> AsyncConnection:
        """Connect to a server.

        Raises:
            ServerUnreachableError: nothing answers there.
            AuthenticationError: the server wants a token.
            SessionCapacityError: the server is full.
        """
        connection = cls(endpoint, route)
        try:
            async with asyncio.timeout(endpoint.connect_timeout_s):
                await connection._dial()
                await connection._opened
        except OSError as problem:
            connection.abort()
            raise unreachable(endpoint.address, problem) from problem
        except BaseException:
            connection.abort()
            raise
        failure = connection._exchange.failure
        if failure is not None:
            connection.abort()
            if isinstance(failure, SessionLost):
                raise unreachable(endpoint.address, failure)
            raise failure
        connection._schedule_sign_of_life(endpoint.ping_interval_s)
        return connection

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

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that the connection lives on."""
        return self._loop

    def statistics(self) -> ConnectionStatistics:
        """What the connection has done so far."""
        exchange = self._exchange
        return ConnectionStatistics(exchange.calls, exchange.owing, exchange.dropped, exchange.extended)

    async def call(self, call: str, data: Any = None, *, timeout_s: float | None = None) -> Reply:
        """Send a request and wait for its reply.

        Args:
            call: `reset`, `step`, `state` or `mcp`.
            data: its payload, None for a message without one.
            timeout_s: deadline in seconds, the wait for earlier calls included; None takes the endpoint's.

        Raises:
            StepTimeoutError: the deadline passed.
            SessionLost: the connection broke, now or before.
            UsageError: the connection belongs to another loop or another process.
            OpenEnvError: the server's own error, typed.
        """
        if asyncio.get_running_loop() is not self._loop or self.inherited:
            raise UsageError(
                "This connection belongs to another event loop or another process; "
                "open a client of its own in each."
            )
        if timeout_s is None:
            timeout_s = self._endpoint.timeout_s
        deadline = None if timeout_s is None else self._loop.time() + timeout_s
        await self._take_turn(call, deadline, timeout_s)
        try:
            reply = await self._exchanged(call, data, deadline, timeout_s)
        finally:
            self._callers -= 1
            self._turn.release()
        if reply.type == "error":
            raise error_from_payload(reply.data)
        return reply

    async def close(self) -> None:
        """End the session and close the connection. A second call does nothing."""
        transport = self._transport
        if transport is None:
            return
        if self.inherited or self._loop is not asyncio.get_running_loop():
            self.abort()
            return
        waits = not self._exchange.owing
        farewell = self._exchange.goodbye() if self._exchange.failure is None else b""
        try:
            if farewell and not transport.is_closing():
                transport.write(farewell)
                if waits:
                    await asyncio.wait([self._gone], timeout=CLOSE_TIMEOUT_S)
            transport.close()
            await asyncio.wait([self._gone], timeout=0 if waits else CLOSE_TIMEOUT_S)
        finally:
            self.abort()

    def abort(self) -> None:
        """Drop the connection at once. Works after its loop was closed, too."""
        transport, self._transport = self._transport, None
        self._cancel_timers()
        self._exchange.fail(SessionLost("the connection was dropped"))
        if transport is None:
            return
        if not self._loop.is_closed() and not self.inherited:
            transport.abort()
            return
        link = transport.get_extra_info("socket")
        if link is not None and link.fileno() >= 0 and not self.inherited:
            # Its loop is gone, so only the server can be told; the descriptor goes with the transport.
            link.shutdown(socket.SHUT_RDWR)

    # The asyncio protocol -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._exchange.hello())

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the transport shall put what arrives."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what arrived."""
        self._heard = monotonic()
        self._asked = None
        exchange = self._exchange
        for ticket in exchange.receive(bytes(self._buffer[:nbytes])):
            _wake(ticket)
        answer = exchange.outgoing()
        if answer and self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)
        if exchange.link is not Link.OPENING and not self._opened.done():
            self._opened.set_result(None)
        if exchange.link is Link.CLOSED:
            self._settle()

    def eof_received(self) -> bool:
        """Let the transport close itself."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        if exc is None:
            self._exchange.ended()
        else:
            self._exchange.ended(f"dropped the connection ({exc or type(exc).__name__})")
        self._settle()
        if not self._gone.done():
            self._gone.set_result(None)
        self._cancel_timers()
        self._transport = None

    # Inside ---------------------------------------------------------------------------------------------

    async def _dial(self) -> None:
        address = self._endpoint.address
        if address.unix is not None:
            await self._loop.create_unix_connection(lambda: self, address.unix)
            return
        context = self._endpoint.tls()
        name = address.host if context is not None else None
        await self._loop.create_connection(
            lambda: self, address.host, address.port, ssl=context, server_hostname=name
        )

    async def _take_turn(self, call: str, deadline: float | None, timeout_s: float | None) -> None:
        """Wait until the calls made before are over."""
        queued = self._callers > 0
        self._callers += 1
        try:
            if not queued or deadline is None:
                await self._turn.acquire()
                return
            async with asyncio.timeout_at(deadline):
                await self._turn.acquire()
        except TimeoutError:
            self._callers -= 1
            raise too_late(call, timeout_s, "an earlier call was still running", sent=False) from None
        except BaseException:
            self._callers -= 1
            raise

    async def _exchanged(
        self, call: str, data: Any, deadline: float | None, timeout_s: float | None
    ) -> Reply:
        exchange = self._exchange
        if exchange.failure is not None:
            raise exchange.failure.with_traceback(None)
        if exchange.link is not Link.OPEN or self._transport is None:
            raise SessionLost("the connection is closed")
        left = None if deadline is None else max(0.001, deadline - self._loop.time())
        ticket, frame = exchange.request(call, data, left)
        ticket.waiter = waiter = self._loop.create_future()
        self._pending = ticket
        if deadline is not None and left is not None:
            self._expect(deadline + grace_s(left) if exchange.extended else deadline)
        self._transport.write(frame)
        try:
            await waiter
        except BaseException:
            exchange.abandon(ticket)
            raise
        finally:
            self._pending = self._expires = None
        if ticket.reply is not None:
            return ticket.reply
        if ticket.abandoned:
            raise too_late(call, timeout_s, "the server did not answer", sent=True)
        raise exchange.failure or SessionLost("the connection was closed")

    def _expect(self, moment: float) -> None:
        """See to it that the pending call does not wait beyond a moment.

        One timer serves all calls: it is set again only for a call that ends sooner, and looks at the
        call then pending when it rings. A timer for each call would cost as much as the call.
        """
        self._expires = moment
        alarm = self._alarm
        if alarm is None or alarm.when() > moment:
            if alarm is not None:
                alarm.cancel()
            self._alarm = self._loop.call_at(moment, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        ticket, expires = self._pending, self._expires
        if ticket is None or expires is None:
            return
        if self._loop.time() < expires:
            self._expect(expires)
            return
        waiter = ticket.waiter
        self._exchange.abandon(ticket)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _settle(self) -> None:
        """Wake everybody who waits: nothing more will come."""
        if self._pending is not None:
            _wake(self._pending)
        if not self._opened.done():
            self._opened.set_result(None)

    def _cancel_timers(self) -> None:
        for timer in (self._timer, self._alarm):
            if timer is not None:
                timer.cancel()

    def _schedule_sign_of_life(self, seconds: float | None) -> None:
        if seconds is not None and self._transport is not None:
            self._timer = self._loop.call_later(seconds, self._want_sign_of_life)

    def _want_sign_of_life(self) -> None:
        """Ask a silent server for a sign of life, or give up on a question asked before."""
        transport, interval, patience = (
            self._transport,
            self._endpoint.ping_interval_s,
            self._endpoint.ping_timeout_s,
        )
        if transport is None or interval is None or self._exchange.link is not Link.OPEN:
            return
        now = monotonic()
        silence = now - self._heard
        if silence < interval:
            self._schedule_sign_of_life(interval - silence)
        elif self._asked is None:
            self._asked = now
            transport.write(self._exchange.ping())
            self._schedule_sign_of_life(patience)
        elif patience is not None and now - self._asked >= patience:
            self._exchange.ended(f"gave no sign of life for {silence:.0f} s")
            self._settle()
            transport.abort()
        else:
            self._schedule_sign_of_life(patience)


def _wake(ticket: Ticket) -> None:
    if ticket.waiter is not None and not ticket.waiter.done():
        ticket.waiter.set_result(None)
