"""Requests and replies over one WebSocket, without I/O.

An `Exchange` is fed the bytes that arrived and says which bytes to send; a blocking socket
(`connection.SyncConnection`) and an asyncio transport (`async_connection.AsyncConnection`) drive the same
object. Each request is a `Ticket`. On the extended protocol a reply names its ticket by id; on the plain
one replies come in the order of the requests, so a ticket whose caller has gone keeps its place in the
queue and swallows exactly one reply. Either way a late reply is never taken for another call's.

On the extended protocol an exchange outlives its connection. `again` begins a new one: once the server has
accepted it, every session is resumed by its token, and then every request without a reply is sent again
under its old id. The server answers an id it knows from its cache, so nothing runs twice. Whoever drives
the exchange has only to send what `outgoing` says and to wait until `ready`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from openenv.client.endpoint import Endpoint
from openenv.client.greeting import Greeting
from openenv.client.members import FINAL_CODES, REFUSALS, Member
from openenv.client.tickets import ANSWERS, Part, Ticket
from openenv.client.wording import Wording
from openenv.errors import OpenEnvError, ProtocolError, SessionLost
from openenv.protocol.plain import Reply
from openenv.protocol.websocket import (
    Binary,
    Close,
    Event,
    Frames,
    Ping,
    Text,
    WebSocketError,
    close_frame,
    ping_frame,
    pong_frame,
)
from openenv.protocol.wire_errors import error_from_payload

_UNNAMED = "/ws?session=none"


class Link(StrEnum):
    """Where the connection stands."""

    OPENING = "opening"
    """Waiting for the answer to the handshake."""
    OPEN = "open"
    CLOSING = "closing"
    """We said goodbye and wait for the server's close frame."""
    CLOSED = "closed"


class Exchange:
    """The client's end of one connection to `/ws`, and of those that follow it.

    Args:
        endpoint: the server.
        route: what follows the address's path: route and query of the WebSocket.
        own: whether connecting opens a session; else the sessions are opened by requests.

    Attributes:
        link: where the connection stands.
        extended: whether the server speaks the extended protocol.
        failure: why the connection is of no more use, None while it is well.
        dropped: replies that came too late for their callers.
        own: the session that belongs to the connection, if there is one.
        members: the sessions to take along, by id.
        reconnects: connections that were resumed.
    """

    def __init__(self, endpoint: Endpoint, route: str = "/ws", *, own: bool = True) -> None:
        self.link = Link.OPENING
        self.extended = False
        self.failure: OpenEnvError | None = None
        self.dropped = 0
        self.own = Member(own=True) if own else None
        self.members: dict[str, Member] = {}
        self.reconnects = 0
        self._endpoint = endpoint
        self._wording = Wording(endpoint.arrays)
        self._url = endpoint.address.url
        self._waiting: dict[int, Ticket] = {}
        self._token: Ticket | None = None
        self._held: list[tuple[Ticket, Reply]] = []
        self._resuming: dict[int, Ticket] = {}
        self._pending: dict[Member, int] = {}
        self._final = False
        self._again = False
        self._ready = False
        self._calls = 0
        self._count = 0
        self._begin(route, {})

    def _begin(self, route: str, headers: Mapping[str, str]) -> None:
        self._greeting = Greeting(self._endpoint, route, headers, self._wording.offered)
        self._frames = Frames("client", self._endpoint.max_message_bytes)
        self._outgoing: list[bytes] = []

    # What to send ------------------------------------------------------------------------------------

    def hello(self) -> bytes:
        """The handshake request."""
        return self._greeting.hello

    def outgoing(self) -> bytes:
        """What the protocol itself wants sent (pongs, the answer to a close); mostly empty."""
        if not self._outgoing:
            return b""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    def request(
        self, call: str, data: Any = None, timeout_s: float | None = None, member: Member | None = None
    ) -> tuple[Ticket, bytes]:
        """Register a request and return it with its frame.

        Args:
            call: type of the request.
            data: options, an action or a JSON-RPC request, as a model or a dict; None where the message
                has none. What JSON lacks is written by the table of `openenv.protocol.jsonvalue`.
            timeout_s: deadline for the server to keep; it travels on the extended protocol only.
            member: the session; the connection's own if absent.

        Raises:
            InvalidActionError: a text in the payload cannot travel; nothing was registered.
        """
        before = b""
        ticket = Ticket(0, call, data, timeout_s, member)
        if member is None and self.own is not None and self.extended:
            ticket.member = self.own
            if not self._calls and self._endpoint.reconnect:
                self._wording.frame(ticket)  # what cannot be sent is refused before anything is registered
                self._token = Ticket(0, "token", member=self.own)
                before = self._register(self._token)
        frame = before + self._register(ticket)
        self._calls += 1
        return ticket, frame

    def batch(self, parts: list[Part], timeout_s: float | None = None) -> tuple[Ticket, bytes]:
        """Register one request that calls several sessions; its reply's data is a list, one per part."""
        ticket = Ticket(0, "batch", timeout_s=timeout_s, parts=parts)
        frame = self._register(ticket)
        self._calls += 1
        return ticket, frame

    def _register(self, ticket: Ticket) -> bytes:
        ticket.number = self._count + 1
        frame = self._wording.frame(ticket)
        self._count += 1
        self._waiting[ticket.number] = ticket
        return frame

    def ping(self) -> bytes:
        """A question for a sign of life."""
        return ping_frame(b"", True)

    def goodbye(self) -> bytes:
        """The end of the sessions: the server puts the environments away, then closes the connection.

        With a request still unanswered the server would read the message only after its answer, so
        then the close frame itself is sent.
        """
        if self.link is not Link.OPEN:
            return b""
        self.link = Link.CLOSING
        frames = []
        if not self._waiting or self.extended:
            frames.append(self._wording.farewell())
        if self._waiting:
            frames.append(close_frame(1000, mask=True))
        return b"".join(frames)

    # What arrived --------------------------------------------------------------------------------------

    @property
    def owing(self) -> int:
        """How many requests the server has not answered."""
        return len(self._waiting)

    @property
    def calls(self) -> int:
        """How many requests were made."""
        return self._calls

    @property
    def ready(self) -> bool:
        """Whether the connection is open and what was to be resumed is resumed."""
        return self._ready

    @property
    def usable(self) -> bool:
        """Whether calls can be made, as far as is known without asking the server."""
        if self.own is not None and self.own.loss is not None:
            return False
        return (self.link is Link.OPEN and self.failure is None) or self.resumable

    def abandon(self, ticket: Ticket) -> None:
        """Give up waiting: the reply, should it come, is dropped."""
        ticket.abandoned = True
        ticket.waiter = None

    def withdraw(self, tickets: list[Ticket]) -> None:
        """Forget requests whose frames were not sent."""
        for ticket in tickets:
            self._waiting.pop(ticket.number, None)

    def receive(self, data: bytes) -> list[Ticket]:
        """Take what arrived.

        Returns:
            Tickets that now have a reply which somebody waits for.
        """
        done: list[Ticket] = []
        if self.link is Link.OPENING:
            data = self._handshake(data, done)
        if not data or self.link is Link.CLOSED:
            return done
        broken: WebSocketError | None = None
        try:
            try:
                events = self._frames.feed(data)
            except WebSocketError as problem:
                broken, events = problem, problem.events
            self._take(events, done)
        except ProtocolError as problem:
            self._outgoing.append(close_frame(1002, mask=True))
            self._fail(f"sent what is not of the protocol ({problem})")
        if broken is not None:
            self._final |= broken.close_code in FINAL_CODES
            self._outgoing.append(close_frame(broken.close_code, mask=True))
            self._fail(f"sent a frame that cannot be read ({broken})")
        return done

    def ended(self, why: str = "closed the connection without a word") -> None:
        """Note that no more bytes will come.

        Args:
            why: what the server, or the network, did.
        """
        refused = self._greeting.ended()
        if refused is not None:
            self.fail(refused)
        self._fail(why)

    def fail(self, error: OpenEnvError, *, final: bool = False) -> None:
        """Note that the connection is of no more use; the first reason counts.

        Args:
            error: the reason.
            final: whether nothing is to be resumed either.
        """
        self._final |= final
        if self.link is not Link.CLOSED:
            orderly = self.link is Link.CLOSING
            self.link = Link.CLOSED
            self._final |= orderly
            self._ready = False
            if self.failure is None and not orderly:
                self.failure = error

    def _fail(self, what: str) -> None:
        self.fail(SessionLost(f"{self._url} {what}"))

    # The next connection ----------------------------------------------------------------------------

    @property
    def resumable(self) -> bool:
        """Whether another connection may take up what this one has lost."""
        if self._final or not self.extended or not self._endpoint.reconnect or self.link is not Link.CLOSED:
            return False
        if not self._again and type(self.failure) is not SessionLost:
            return False
        return self.own is None or (self.own.token is not None and self.own.loss is None)

    @property
    def lease_s(self) -> float:
        """Seconds after which the server has given up every session; infinite where there is none."""
        return max((member.lease_s for member in self.members.values()), default=float("inf"))

    def again(self) -> bytes:
        """Begin another connection after a loss; returns its handshake request."""
        self._again = True
        self._resuming.clear()
        self.link, self.failure = Link.OPENING, None
        member = next((m for m in self.members.values() if m.loss is None), None)
        headers = {"X-OpenEnv-Session": member.session or ""} if member is not None else {}
        self._begin(_UNNAMED, headers)
        return self._greeting.hello

    def give_up(self, why: str) -> None:
        """Note that the sessions are lost: no connection could be had in time."""
        self.link, self._final = Link.CLOSED, True
        self.failure = SessionLost(f"{self._url} {why}")

    def forget(self, member: Member) -> None:
        """Take a session along no longer."""
        if member.session is not None:
            self.members.pop(member.session, None)

    def bury(self, lost: OpenEnvError) -> list[Ticket]:
        """Answer every request that waits with the loss of its session; return those with a caller."""
        done: list[Ticket] = []
        for ticket in list(self._waiting.values()):
            for member in ticket.concerns():
                member.lose(lost.message)
            del self._waiting[ticket.number]
            ticket.sent = []
            loss = {**Member().lose(lost.message)} if ticket.member is None else ticket.member.loss
            reply = Reply("error", loss) if ticket.parts is None else Reply("batch", {"results": []})
            self._answer(ticket, reply, done)
        return done

    def _resume(self) -> None:
        """Ask for every session; the requests follow when all are answered."""
        self._pending.clear()
        last: dict[Member, int] = {}
        for ticket in self._waiting.values():
            for member in ticket.concerns():
                self._pending.setdefault(member, ticket.number)
                last[member] = ticket.number
        highest = self._count
        for member in self.members.values():
            if member.loss is None:
                member.own = False
                self._count += 1
                data = {"token": member.token, "last": last.get(member, highest)}
                ticket = Ticket(self._count, "resume", data, member=member)
                self._resuming[ticket.number] = ticket
                self._outgoing.append(self._wording.frame(ticket))

    def _resumed(self, member: Member, reply: Reply) -> None:
        if reply.type == "error":
            payload = reply.data if isinstance(reply.data, dict) else {}
            member.lose(str(payload.get("message", "the server has it no more")))
            return
        if not member.opened(reply.data):
            raise ProtocolError("a resumed reply that says nothing of the session")
        wrong = member.contradiction(reply.data, self._count, self._pending.get(member))
        if wrong is not None:
            member.lose(f"the session that was resumed is not the one that was lost: {wrong}")

    def _send_again(self, done: list[Ticket]) -> None:
        """Send what has no reply, under the old ids and in the old order; answer what cannot be sent."""
        self._ready = True
        self.reconnects += 1
        for ticket in list(self._waiting.values()):
            ticket.carries += 1
            reply = ticket.unsendable()
            if reply is None:
                self._outgoing.append(self._wording.frame(ticket))
            else:
                del self._waiting[ticket.number]
                self._answer(ticket, reply, done)

    # Inside ------------------------------------------------------------------------------------------

    def _handshake(self, data: bytes, done: list[Ticket]) -> bytes:
        """Take the answer to the handshake; return what came after it."""
        try:
            rest = self._greeting.feed(data)
        except OpenEnvError as refused:
            self.fail(refused)
            return b""
        if self._greeting.accepted:
            self._accepted(self._greeting.selected, done)
        return rest

    def _accepted(self, selected: str | None, done: list[Ticket]) -> None:
        self._wording.negotiated(selected)
        extended = selected is not None
        if not self._again:
            self.extended = extended
            self.link = Link.OPEN
            self._ready = True
        elif not extended:
            self._final = True
            self._fail("does not speak the extended protocol any more")
        else:
            self.link = Link.OPEN
            self._resume()
            if not self._resuming:
                self._send_again(done)

    def _take(self, events: list[Event], done: list[Ticket]) -> None:
        for event in events:
            kind = type(event)
            if kind is Text or kind is Binary:
                self._match(self._wording.reply(event), done)  # type: ignore[arg-type]
            elif kind is Ping:
                self._outgoing.append(pong_frame(event.payload, True))  # type: ignore[union-attr]
            elif kind is Close:
                self._closed_by_server(event)  # type: ignore[arg-type]

    def _match(self, reply: Reply, done: list[Ticket]) -> None:
        """Find the request that a reply answers."""
        if reply.id is None and reply.type == "error" and (self.extended or not self._waiting):
            # Not an answer: the server refuses the session (capacity, factory) and will close.
            self.failure = error_from_payload(reply.data)
            return
        if self.extended and reply.type == "notify":
            self._notified(reply, done)
            return
        ticket = self._pop(reply)
        if ticket is None:
            self.dropped += 1  # answered before: a frame came twice, or was asked for twice
            self._unwanted(reply)
            return
        if reply.type != ANSWERS.get(ticket.call, reply.type) and reply.type != "error":
            raise ProtocolError(f"a reply of type {reply.type!r} to {ticket.call!r}")
        if reply.type == "observation" and not isinstance(reply.data, dict):
            raise ProtocolError("an observation reply without data")
        if ticket.call == "resume" and ticket.member is not None:
            self._resumed(ticket.member, reply)
            if not self._resuming:
                self._send_again(done)
        else:
            if ticket.number == 1 and reply.type == "error" and not self.extended:
                refusal = error_from_payload(reply.data)
                if refusal.code in REFUSALS:
                    self.failure = refusal  # it crossed our first request; the server will close
            self._answer(ticket, reply, done)

    def _notified(self, reply: Reply, done: list[Ticket]) -> None:
        """Take note of what the server says unasked about a session."""
        kind = reply.data.get("kind") if isinstance(reply.data, dict) else None
        member = self.members.get(str(reply.session))
        if member is None or kind not in ("taken_over", "lost"):
            return
        if kind == "taken_over" and member.taken_over():
            # Mostly by a connection of ours that was given up before its request to resume came through.
            self._fail(f"gave session {member.session} to another connection")
            return
        loss = member.lose(f"the server says that the session was {kind.replace('_', ' ')}")
        for ticket in [each for each in self._waiting.values() if each.member is member]:
            del self._waiting[ticket.number]
            self._answer(ticket, Reply("error", loss), done)

    def _unwanted(self, reply: Reply) -> None:
        """Close a session that was opened twice because the request came twice."""
        member = Member()
        if reply.type == "opened" and member.opened(reply.data) and member.session not in self.members:
            ticket = Ticket(0, "close", member=member)
            self._outgoing.append(self._register(ticket))
            self.abandon(ticket)

    def _pop(self, reply: Reply) -> Ticket | None:
        """The ticket of a reply, which waits no more; None if it has had one."""
        waiting, number = self._waiting, reply.id
        if self.extended:
            if number in waiting:
                return waiting.pop(number)
            if number in self._resuming:
                return self._resuming.pop(number)
            if number is None or not 0 < number <= self._count:
                raise ProtocolError(f"a reply with the unknown id {number}")
            return None
        if not waiting:
            raise ProtocolError(f"a reply of type {reply.type!r} to nothing")
        return waiting.pop(next(iter(waiting)))

    def _answer(self, ticket: Ticket, reply: Reply, done: list[Ticket]) -> None:
        member = ticket.member
        if ticket.parts is not None:
            if reply.type == "batch":
                reply.data = ticket.results(reply.data)
        elif reply.type == "opened":
            if member is None:
                member = ticket.member = Member()
            if not member.opened(reply.data):
                raise ProtocolError("an opened reply without session and token")
            self.members[str(member.session)] = member
        elif member is not None and ticket.call != "state":
            member.note(reply.type, reply.data, reply.result)
        if ticket is self._token:
            self._token = None
            held, self._held = self._held, []
            for other, waited in held:
                self._hand_out(other, waited, done)
        elif self._token is not None:
            self._held.append((ticket, reply))  # whoever has a reply has a session that can be resumed
        else:
            self._hand_out(ticket, reply, done)

    def _hand_out(self, ticket: Ticket, reply: Reply, done: list[Ticket]) -> None:
        ticket.reply = reply
        if ticket.abandoned:
            self.dropped += 1
        else:
            done.append(ticket)

    def _closed_by_server(self, close: Close) -> None:
        self._outgoing.append(close_frame(close.code, mask=True))
        reason = f", {close.reason}" if close.reason else ""
        self._final |= close.code in FINAL_CODES
        self._fail(f"closed the connection (code {close.code}{reason})")
