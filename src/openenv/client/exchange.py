"""Requests and replies over one WebSocket, without I/O.

An `Exchange` is fed the bytes that arrived and says which bytes to send; a blocking socket
(`connection.SyncConnection`) and an asyncio transport (`async_connection.AsyncConnection`) drive the same
object. Each request is a `Ticket`. On the extended protocol a reply names its ticket by id; on the plain
one replies come in the order of the requests, so a ticket whose caller has gone keeps its place in the
queue and swallows exactly one reply. Either way a late reply is never taken for another call's.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import Any

from pydantic_core import to_json

from openenv.client.endpoint import Endpoint
from openenv.client.refusals import refusal
from openenv.errors import OpenEnvError, ProtocolError, SessionLost
from openenv.protocol.handshake import (
    EXTENDED_SUBPROTOCOL,
    HEAD_END,
    MAX_HEAD_BYTES,
    HandshakeError,
    ResponseHead,
    check_response,
    client_handshake,
    parse_response_head,
)
from openenv.protocol.jsonvalue import to_jsonable
from openenv.protocol.plain import Reply, decode_reply, encode_json
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
    text_frame,
)
from openenv.protocol.wire_errors import error_from_payload

_ANSWERS = {"reset": "observation", "step": "observation", "state": "state", "mcp": "mcp"}


class Link(StrEnum):
    """Where the connection stands."""

    OPENING = "opening"
    """Waiting for the answer to the handshake."""
    OPEN = "open"
    CLOSING = "closing"
    """We said goodbye and wait for the server's close frame."""
    CLOSED = "closed"


class Ticket:
    """One request on its way.

    Attributes:
        number: counts requests from 1; the `id` on the extended protocol.
        call: `reset`, `step`, `state` or `mcp`.
        reply: what came back, None until then.
        abandoned: nobody waits any more; the reply will be dropped.
        waiter: where an asyncio connection keeps the future of its caller.
    """

    __slots__ = ("abandoned", "call", "number", "reply", "waiter")

    def __init__(self, number: int, call: str) -> None:
        self.number = number
        self.call = call
        self.reply: Reply | None = None
        self.abandoned = False
        self.waiter: Any = None


class Exchange:
    """The client's end of one connection to `/ws`.

    Args:
        endpoint: the server.
        route: what follows the address's path: route and query of the WebSocket.

    Attributes:
        link: where the connection stands.
        extended: whether the server speaks `openenv.2.json`.
        failure: why the connection is of no more use, None while it is well.
        dropped: replies that came too late for their callers.
    """

    def __init__(self, endpoint: Endpoint, route: str = "/ws") -> None:
        self.link = Link.OPENING
        self.extended = False
        self.failure: OpenEnvError | None = None
        self.dropped = 0
        self._endpoint = endpoint
        self._url = endpoint.address.url
        self._frames = Frames("client", endpoint.max_message_bytes)
        self._hello, self._key = client_handshake(
            endpoint.address.authority,
            endpoint.address.path + route,
            endpoint.headers,
            [EXTENDED_SUBPROTOCOL],
        )
        self._head = b""
        self._refused: ResponseHead | None = None
        self._outgoing: list[bytes] = []
        self._waiting: deque[Ticket] = deque()
        self._count = 0

    # What to send ------------------------------------------------------------------------------------

    def hello(self) -> bytes:
        """The handshake request."""
        return self._hello

    def outgoing(self) -> bytes:
        """What the protocol itself wants sent (pongs, the answer to a close); mostly empty."""
        if not self._outgoing:
            return b""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    def request(self, call: str, data: Any = None, timeout_s: float | None = None) -> tuple[Ticket, bytes]:
        """Register a request and return it with its frame.

        Args:
            call: `reset`, `step`, `state` or `mcp`.
            data: options, an action or a JSON-RPC request, as a model or a dict; None where the message
                has none. What JSON lacks is written by the table of `openenv.protocol.jsonvalue`.
            timeout_s: deadline for the server to keep; it travels on the extended protocol only.
        """
        self._count += 1
        ticket = Ticket(self._count, call)
        message: dict[str, Any] = {"type": call}
        if data is not None:
            message["data"] = data
        if self.extended:
            message["id"] = ticket.number
            if timeout_s is not None:
                message["timeout_s"] = timeout_s
        try:
            payload = to_json(message, inf_nan_mode="null", fallback=to_jsonable)
        except (ValueError, RecursionError):
            payload = encode_json(message)
        self._waiting.append(ticket)
        return ticket, text_frame(payload, True)

    def ping(self) -> bytes:
        """A question for a sign of life."""
        return ping_frame(b"", True)

    def goodbye(self) -> bytes:
        """The end of the session: the server puts the environment away, then closes the connection.

        With a request still unanswered the server would read the message only after its answer, so
        then the close frame itself is sent.
        """
        if self.link is not Link.OPEN:
            return b""
        self.link = Link.CLOSING
        if self._waiting:
            return close_frame(1000, mask=True)
        return text_frame(b'{"type":"close"}', True)

    # What arrived --------------------------------------------------------------------------------------

    @property
    def owing(self) -> int:
        """How many requests the server has not answered."""
        return len(self._waiting)

    @property
    def calls(self) -> int:
        """How many requests were made."""
        return self._count

    def abandon(self, ticket: Ticket) -> None:
        """Give up waiting: the reply, should it come, is dropped."""
        ticket.abandoned = True
        ticket.waiter = None

    def receive(self, data: bytes) -> list[Ticket]:
        """Take what arrived.

        Returns:
            Tickets that now have a reply which somebody waits for.
        """
        if self.link is Link.OPENING:
            data = self._handshake(data)
        done: list[Ticket] = []
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
            self._outgoing.append(close_frame(broken.close_code, mask=True))
            self._fail(f"sent a frame that cannot be read ({broken})")
        return done

    def ended(self, why: str = "closed the connection without a word") -> None:
        """Note that no more bytes will come.

        Args:
            why: what the server, or the network, did.
        """
        if self._refused is not None:
            self.fail(self._refusal(self._refused))
        self._fail(why)

    def fail(self, error: OpenEnvError) -> None:
        """Note that the connection is of no more use; the first reason counts."""
        if self.link is not Link.CLOSED:
            orderly = self.link is Link.CLOSING
            self.link = Link.CLOSED
            if self.failure is None and not orderly:
                self.failure = error

    def _fail(self, what: str) -> None:
        self.fail(SessionLost(f"{self._url} {what}"))

    def _handshake(self, data: bytes) -> bytes:
        """Take the answer to the handshake; return what came after it."""
        self._head += data
        head, end, rest = self._head.partition(HEAD_END)
        if not end:
            if len(self._head) > MAX_HEAD_BYTES:
                self.fail(refusal(self._endpoint.address, 0, {}))
            return b""
        try:
            response = parse_response_head(head)
            if response.status != 101:
                self._refused = response
                if len(rest) >= _content_length(response):
                    self.fail(self._refusal(response))
                return b""
            self.extended = check_response(response, self._key, [EXTENDED_SUBPROTOCOL]) is not None
        except HandshakeError as problem:
            self.fail(refusal(self._endpoint.address, 0, {}, str(problem).encode()))
            return b""
        self.link = Link.OPEN
        self._head = b""
        return rest

    def _refusal(self, response: ResponseHead) -> OpenEnvError:
        body = self._head.partition(HEAD_END)[2]
        return refusal(self._endpoint.address, response.status, response.headers, body)

    def _take(self, events: list[Event], done: list[Ticket]) -> None:
        for event in events:
            kind = type(event)
            if kind is Text or kind is Binary:
                ticket = self._match(decode_reply(event.payload))  # type: ignore[union-attr]
                if ticket is not None:
                    done.append(ticket)
            elif kind is Ping:
                self._outgoing.append(pong_frame(event.payload, True))  # type: ignore[union-attr]
            elif kind is Close:
                self._closed_by_server(event)  # type: ignore[arg-type]

    def _match(self, reply: Reply) -> Ticket | None:
        """Find the request that a reply answers; None if nobody waits for it."""
        if reply.id is None and reply.type == "error" and (self.extended or not self._waiting):
            # Not an answer: the server refuses the session (capacity, factory) and will close.
            self.failure = error_from_payload(reply.data)
            return None
        if self.extended and reply.type == "notify":
            return None
        ticket = self._pop(reply)
        if reply.type != _ANSWERS.get(ticket.call, reply.type) and reply.type != "error":
            raise ProtocolError(f"a reply of type {reply.type!r} to {ticket.call!r}")
        if reply.type == "observation" and not isinstance(reply.data, dict):
            raise ProtocolError("an observation reply without data")
        ticket.reply = reply
        if ticket.abandoned:
            self.dropped += 1
            return None
        return ticket

    def _pop(self, reply: Reply) -> Ticket:
        if not self._waiting:
            raise ProtocolError(f"a reply of type {reply.type!r} to nothing")
        if not self.extended or reply.id == self._waiting[0].number:
            return self._waiting.popleft()
        for ticket in self._waiting:
            if ticket.number == reply.id:
                self._waiting.remove(ticket)
                return ticket
        raise ProtocolError(f"a reply with the unknown id {reply.id}")

    def _closed_by_server(self, close: Close) -> None:
        self._outgoing.append(close_frame(close.code, mask=True))
        reason = f", {close.reason}" if close.reason else ""
        self._fail(f"closed the connection (code {close.code}{reason})")


def _content_length(response: ResponseHead) -> float:
    length = response.headers.get("content-length", "")
    return min(int(length), MAX_HEAD_BYTES) if length.isdecimal() else float("inf")
