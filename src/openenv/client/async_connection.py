"""A connection for asynchronous code: an asyncio protocol that fills one fixed buffer.

Calls of several coroutines follow each other in the order they were made. A caller that is cancelled
leaves its request behind: the server still answers it, and the `Exchange` drops that answer. The loop
answers the server's pings at any time, and a timer asks a silent server for a sign of life.

On the extended protocol a call survives its transport: when that breaks, the first caller who needs it
dials again, the exchange resumes the sessions and sends the requests once more under their ids, and every
caller goes on waiting.
"""

from __future__ import annotations

import asyncio
import os
import socket
from time import monotonic
from typing import Any, Self

from openenv.client.endpoint import CLOSE_TIMEOUT_S, FAREWELL_TIMEOUT_S, Endpoint, grace_s
from openenv.client.exchange import Exchange, Link
from openenv.client.members import Member, Patience
from openenv.client.pipe import Pipe
from openenv.client.refusals import unreachable
from openenv.client.sockets import ConnectionStatistics, too_late
from openenv.client.tickets import Ticket
from openenv.errors import AuthenticationError, OpenEnvError, SessionLost, UsageError
from openenv.protocol.plain import Reply
from openenv.protocol.wire_errors import error_from_payload

_BUFFER_BYTES = 64 * 1024


class AsyncConnection:
    """One connection to a server's `/ws`, for the event loop it was opened on.

    `await AsyncConnection.open(endpoint)` makes one.
    """

    def __init__(self, endpoint: Endpoint, route: str = "/ws", *, own: bool = True) -> None:
        self._endpoint = endpoint
        self._exchange = Exchange(endpoint, route, own=own)
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._dialing = asyncio.Lock()
        self.buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._pipe: Pipe | None = None
        self._greeted: asyncio.Future[None] = self._loop.create_future()
        self._calling: dict[Ticket, float | None] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._callers = 0
        self._closed = False
        self._pid = os.getpid()
        self._heard = monotonic()
        self._asked: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    async def open(cls, endpoint: Endpoint, route: str = "/ws", *, own: bool = True) -> Self:
        """Connect to a server.

        Args:
            endpoint: the server.
            route: route and query below the endpoint's path.
            own: whether connecting opens a session.

        Raises:
            ServerUnreachableError: nothing answers there.
            AuthenticationError: the server wants a token.
            SessionCapacityError: the server is full.
        """
        connection = cls(endpoint, route, own=own)
        try:
            await connection._dial(connection._exchange.hello(), endpoint.connect_timeout_s)
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
        return connection

    @property
    def extended(self) -> bool:
        """Whether the server speaks the extended protocol."""
        return self._exchange.extended

    @property
    def alive(self) -> bool:
        """Whether calls can be made, as far as is known without asking the server."""
        return self._exchange.usable and not self._closed and not self.inherited

    @property
    def connected(self) -> bool:
        """Whether the socket is open, as far as is known."""
        return self._exchange.link is Link.OPEN and self._exchange.failure is None

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
        return ConnectionStatistics.of(self._exchange)

    @property
    def session(self) -> str | None:
        """Id of the session that belongs to the connection, if it is known."""
        own = self._exchange.own
        return None if own is None else own.session

    async def call(
        self, call: str, data: Any = None, *, timeout_s: float | None = None, member: Member | None = None
    ) -> Reply:
        """Send a request and wait for its reply.

        Calls without `member` follow each other; calls for different members do not wait for each other.

        Args:
            call: `reset`, `step`, `state` or `mcp`.
            data: its payload, None for a message without one.
            timeout_s: deadline in seconds, the wait for earlier calls and for another connection included;
                None takes the endpoint's.
            member: the session; the connection's own if absent.

        Raises:
            StepTimeoutError: the deadline passed.
            SessionLost: the connection broke, now or before, and the session could not be resumed.
            UsageError: the connection belongs to another loop or another process.
            OpenEnvError: the server's own error, typed.
        """
        deadline, timeout_s = self._begin(timeout_s)
        if member is not None:
            reply = await self._exchanged(call, data, deadline, timeout_s, member)
        else:
            await self._take_turn(call, deadline, timeout_s)
            try:
                reply = await self._exchanged(call, data, deadline, timeout_s, None)
            finally:
                self._callers -= 1
                self._turn.release()
        if reply.type == "error":
            raise error_from_payload(reply.data)
        return reply

    async def revive(self, timeout_s: float | None = None) -> bool:
        """Make sure that the connection is open, over a new one if need be; False if that cannot be."""
        deadline, timeout_s = self._begin(timeout_s)
        try:
            await self._ensure("connect", deadline, timeout_s)
        except SessionLost:
            return False
        return self.alive

    async def close(self) -> None:
        """End the session and close the connection. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if self.inherited or self._loop is not _running_loop():
            self.abort()
            return
        if self._exchange.resumable and not self._calling:
            await self._dial_once(FAREWELL_TIMEOUT_S)  # else the sessions would live until their leases end
        pipe, transport = self._pipe, self._transport
        if pipe is None or transport is None:
            self.abort()
            return
        waits = not self._exchange.owing
        farewell = self._exchange.goodbye() if self._exchange.failure is None else b""
        try:
            if farewell and not transport.is_closing():
                transport.write(farewell)
                if waits:
                    await asyncio.wait([pipe.gone], timeout=CLOSE_TIMEOUT_S)
            transport.close()
            await asyncio.wait([pipe.gone], timeout=0 if waits else CLOSE_TIMEOUT_S)
        finally:
            self.abort()

    def abort(self) -> None:
        """Drop the connection at once. Works after its loop was closed, too."""
        self._closed = True
        pipe, self._pipe = self._pipe, None
        self._cancel_timers()
        self._exchange.fail(SessionLost("the connection was dropped"), final=True)
        if not self._loop.is_closed() and not self.inherited:
            if pipe is not None:
                pipe.drop()
            self._settle()
            return
        transport = None if pipe is None else pipe.transport
        link = None if transport is None else transport.get_extra_info("socket")
        if link is not None and link.fileno() >= 0 and not self.inherited:
            # Its loop is gone, so only the server can be told; the descriptor goes with the transport.
            link.shutdown(socket.SHUT_RDWR)

    # What the transport says ----------------------------------------------------------------------------

    def heard(self, data: bytes) -> None:
        """Take what arrived."""
        self._heard = monotonic()
        self._asked = None
        exchange = self._exchange
        for ticket in exchange.receive(data):
            _wake(ticket)
        answer = exchange.outgoing()
        if answer:
            self._write(answer)
        if exchange.link is Link.CLOSED:
            self._settle()
        elif exchange.ready and not self._greeted.done():
            self._greeted.set_result(None)

    def lost(self, problem: Exception | None) -> None:
        """Take note that the transport is gone, and why."""
        if problem is None:
            self._exchange.ended()
        else:
            self._exchange.ended(f"dropped the connection ({problem or type(problem).__name__})")
        self._settle()
        if self._timer is not None:
            self._timer.cancel()
        self._pipe = None

    # Connecting -----------------------------------------------------------------------------------------

    async def _dial(self, hello: bytes, limit: float) -> None:
        """Connect, shake hands and resume what there is to resume."""
        self._greeted = self._loop.create_future()
        if self._pipe is not None:
            self._pipe.drop()
        self._pipe = pipe = Pipe(self, hello)
        address, context = self._endpoint.address, self._endpoint.tls()
        try:
            async with asyncio.timeout(limit):
                if address.unix is not None:
                    await self._loop.create_unix_connection(lambda: pipe, address.unix)
                else:
                    name = address.host if context is not None else None
                    await self._loop.create_connection(
                        lambda: pipe, address.host, address.port, ssl=context, server_hostname=name
                    )
                await self._greeted
        except BaseException:
            pipe.drop()
            raise
        self._schedule_sign_of_life(self._endpoint.ping_interval_s)

    async def _ensure(self, call: str, deadline: float | None, timeout_s: float | None) -> None:
        """See to it that there is a connection."""
        if self._exchange.link is Link.OPEN and self._exchange.ready and self._exchange.failure is None:
            return
        try:
            async with asyncio.timeout_at(deadline), self._dialing:
                await self._dial_again()
        except TimeoutError:
            raise too_late(
                call, timeout_s, f"{self._exchange.failure}, and no other connection could be had", sent=True
            ) from None

    async def _dial_again(self) -> None:
        """Connect once more and resume, until it worked or there is no hope."""
        exchange, endpoint, why = self._exchange, self._endpoint, self._exchange.failure
        patience = Patience(monotonic(), min(endpoint.reconnect_timeout_s, exchange.lease_s))
        while exchange.failure is not None or not exchange.ready:
            if not exchange.resumable or self._closed:
                raise (exchange.failure or SessionLost("the connection is closed")).with_traceback(None)
            pause = patience.pause(monotonic())
            if pause is None or isinstance(exchange.failure, AuthenticationError):
                exchange.give_up(f"was lost ({why}), and cannot be reached again: {exchange.failure}")
                continue
            await asyncio.sleep(pause)
            limit = min(endpoint.connect_timeout_s, max(0.05, patience.until - monotonic()))
            await self._dial_once(limit)

    async def _dial_once(self, limit: float) -> None:
        """Try once to connect and resume; the exchange knows how it went."""
        exchange = self._exchange
        try:
            await self._dial(exchange.again(), limit)
        except (OSError, OpenEnvError) as problem:
            exchange.ended(f"cannot be reached again ({problem or type(problem).__name__})")
        except BaseException:
            exchange.ended("was left in the middle of the handshake")
            raise

    # Calls ----------------------------------------------------------------------------------------------

    def _begin(self, timeout_s: float | None) -> tuple[float | None, float | None]:
        """Deadline and time-out of a call that begins now."""
        if asyncio.get_running_loop() is not self._loop or self.inherited:
            raise UsageError(
                "This connection belongs to another event loop or another process; "
                "open a client of its own in each."
            )
        if timeout_s is None:
            timeout_s = self._endpoint.timeout_s
        return (None if timeout_s is None else self._loop.time() + timeout_s), timeout_s

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
        self, call: str, data: Any, deadline: float | None, timeout_s: float | None, member: Member | None
    ) -> Reply:
        exchange = self._exchange
        if exchange.link is not Link.OPEN or not exchange.ready or exchange.failure is not None:
            await self._ensure(call, deadline, timeout_s)
        subject = member or exchange.own
        if subject is not None and subject.loss is not None:
            raise error_from_payload(subject.loss)
        left = None if deadline is None else max(0.001, deadline - self._loop.time())
        ticket, frame = exchange.request(call, data, left, member)
        return await self._carry(ticket, frame, deadline, left, timeout_s)

    async def _carry(
        self,
        ticket: Ticket,
        frame: bytes,
        deadline: float | None,
        left: float | None,
        timeout_s: float | None,
    ) -> Reply:
        """Send a frame and wait for its reply, over as many connections as it takes."""
        exchange = self._exchange
        if deadline is not None and left is not None:
            if exchange.extended:
                deadline += grace_s(left)
            self._expect(deadline)
        self._calling[ticket] = deadline
        self._write(frame)
        try:
            while ticket.reply is None and not ticket.abandoned:
                if exchange.link is Link.OPEN and exchange.ready:
                    ticket.waiter = waiter = self._loop.create_future()
                    await waiter
                else:
                    await self._ensure(ticket.call, deadline, timeout_s)
        except BaseException:
            exchange.abandon(ticket)
            raise
        finally:
            del self._calling[ticket]
        if ticket.reply is None:
            raise too_late(ticket.call, timeout_s, "the server did not answer", sent=True)
        return ticket.reply

    @property
    def _transport(self) -> asyncio.Transport | None:
        return None if self._pipe is None else self._pipe.transport

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.write(data)

    def _expect(self, moment: float) -> None:
        """See to it that no pending call waits beyond its moment.

        One timer serves all calls: it is set again only for a call that ends sooner, and looks at the
        calls then pending when it rings. A timer for each call would cost as much as the call.
        """
        alarm = self._alarm
        if alarm is None or alarm.when() > moment:
            if alarm is not None:
                alarm.cancel()
            self._alarm = self._loop.call_at(moment, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        now, later = self._loop.time(), float("inf")
        for ticket, expires in self._calling.items():
            if expires is None:
                continue
            if now < expires:
                later = min(later, expires)
                continue
            waiter = ticket.waiter
            self._exchange.abandon(ticket)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        if later < float("inf"):
            self._expect(later)

    def _settle(self) -> None:
        """Wake everybody who waits: nothing more will come on this transport."""
        for ticket in self._calling:
            _wake(ticket)
        if not self._greeted.done():
            self._greeted.set_result(None)

    def _cancel_timers(self) -> None:
        for timer in (self._timer, self._alarm):
            if timer is not None:
                timer.cancel()

    def _schedule_sign_of_life(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if seconds is not None and self._pipe is not None:
            self._timer = self._loop.call_later(seconds, self._want_sign_of_life)

    def _want_sign_of_life(self) -> None:
        """Ask a silent server for a sign of life, or give up on a question asked before."""
        pipe, interval, patience = (
            self._pipe,
            self._endpoint.ping_interval_s,
            self._endpoint.ping_timeout_s,
        )
        if pipe is None or interval is None or self._exchange.link is not Link.OPEN:
            return
        now = monotonic()
        silence = now - self._heard
        if silence < interval:
            self._schedule_sign_of_life(interval - silence)
        elif self._asked is None:
            self._asked = now
            self._write(self._exchange.ping())
            self._schedule_sign_of_life(patience)
        elif patience is not None and now - self._asked >= patience:
            self._exchange.ended(f"gave no sign of life for {silence:.0f} s")
            pipe.drop()
            self._pipe = None
            self._settle()
        else:
            self._schedule_sign_of_life(patience)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _wake(ticket: Ticket) -> None:
    if ticket.waiter is not None and not ticket.waiter.done():
        ticket.waiter.set_result(None)
