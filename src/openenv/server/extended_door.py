"""A connection that speaks the extended protocol: many sessions, none of which must end with it.

A request is decoded where it is read. A call goes to its session's lane (`lanes`), a batch to the threads of
its sessions (`batches`), and what opens, resumes or closes a session to the home loop (`tenancy`). The rest
is answered on the spot. The session that a connection opens for itself, unless its URL says `?session=none`,
is one tenant among the others: requests that name no session mean it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from openenv.errors import InvalidActionError, OpenEnvError, SessionLost
from openenv.protocol.extended import Codec, ExtendedRequest
from openenv.protocol.plain import invalid_message, issue, protocol_error
from openenv.server.batches import Batch, calls_of
from openenv.server.contract import MAX_PENDING, Close, Send
from openenv.server.door import GOING_AWAY, NORMAL, TOOLS_ONLY, SocketDoor
from openenv.server.lanes import CALLS, Lane, unknown_session
from openenv.server.tenancy import Tenant
from openenv.session.shards import Shard, ShardHost

if TYPE_CHECKING:
    from openenv.server.runtime import ServerRuntime

_LOST_TIMEOUT_S = 10.0
Handler = Callable[[ExtendedRequest], None]
Work = Callable[[], Awaitable[tuple[str, dict[str, Any]]]]


class ExtendedDoor(SocketDoor):
    """The door of one connection.

    Args:
        runtime: the server.
        codec: how messages are written.
        send: sends a frame of that codec.
        close: closes the connection.
        query: query string of the connection's URL: `session_id` attaches to an open session, `session=none`
            opens none.
        client: address of the peer.
        auto_reset: whether a first step resets first.

    Attributes:
        codec: how messages are written.
    """

    def __init__(
        self,
        runtime: ServerRuntime,
        codec: Codec,
        send: Send,
        close: Close,
        *,
        query: str = "",
        client: str | None = None,
        auto_reset: bool = False,
    ) -> None:
        super().__init__(runtime, send, close, query=query, client=client, auto_reset=auto_reset)
        self.codec = codec
        self._without = parse_qs(query).get("session") == ["none"]
        self._lanes: dict[str, Lane] = {}
        self._tenants: dict[str, Tenant] = {}
        self._own: Lane | None = None
        self._own_shard: Shard | None = None
        self._batches: set[Batch] = set()
        self._unanswered = 0
        self._leaving = False
        self._handlers: dict[str, Handler] = {
            "open": self._take_open,
            "close": self._take_close,
            "resume": self._take_resume,
            "token": self._take_token,
            "batch": self._take_batch,
            "cancel": self._take_cancel,
            "ping": lambda request: self._reply(request, "pong", {}),
        }
        self._calls = CALLS
        if runtime.settings.production:  # agents use tools; sessions are not theirs to control
            self._calls = CALLS & TOOLS_ONLY
            self._handlers = {kind: self._handlers[kind] for kind in ("close", "ping")}

    # What a transport asks ---------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Messages received and not yet answered, for each session."""
        return -(-self._unanswered // max(1, len(self._lanes)))

    @property
    def shard(self) -> Shard | None:
        """The shard on which the connection's own session lives."""
        return self._own_shard

    async def open(self) -> None:
        """Attach to the session that the URL names, or open one, unless it wants none.

        Raises:
            OpenEnvError: there is none to be had.
        """
        if self._ended:
            raise SessionLost("The connection was lost before its session was opened")
        if not self._without:
            tenant = await self.runtime.home.run(self._first)
            self._own = self._lanes[tenant.id]
            host = tenant.hosted.host
            self._own_shard = host.shard if isinstance(host, ShardHost) else None

    async def _first(self) -> Tenant:
        tenancy = self.runtime.tenancy
        if self._session_id is not None:
            return self._add(await tenancy.attach(self._session_id, self))
        return self._add(await self._opened(None))

    def _opened(self, lease_s: float | None) -> Awaitable[Tenant]:
        return self.runtime.tenancy.open(
            self.name, self, auto_reset=self._auto_reset, client=self._client, lease_s=lease_s
        )

    def receive(self, payload: bytes, binary: bool) -> None:
        """Take one message."""
        if self._ended or self._leaving:
            return
        self._received.amount += len(payload)
        with self._lock:
            self._unanswered += 1
        try:
            if binary is not self.codec.binary:
                raise _wrong_frame(self.codec)
            request = self.codec.decode(payload)
        except OpenEnvError as error:
            self._refuse(error.data.pop("request_id", None), None, error)
            return
        try:
            self._take(request)
        except OpenEnvError as error:
            self._refuse(request.id, request.session, error)

    def _take(self, request: ExtendedRequest) -> None:
        kind = request.type
        if kind in self._calls:
            self._lane(request).take(request)
            return
        handler = self._handlers.get(kind)
        if handler is None:
            known = ", ".join(sorted({*self._calls, *self._handlers}))
            raise protocol_error("UNKNOWN_TYPE", f"Unknown message type: {kind:.80} (one of {known})")
        handler(request)

    def _lane(self, request: ExtendedRequest) -> Lane:
        """The session that a request is for.

        Raises:
            SessionLost: the connection does not have it (any more).
        """
        name = request.session
        lane = self._own if name is None else self._lanes.get(name)
        if lane is None:
            if name is None:
                text = "This connection has no session of its own; name one with 'session'"
                raise SessionLost(text)
            raise unknown_session(name)
        return lane

    async def lost(self) -> None:
        """The connection is gone: detach sessions that can be resumed, close the others."""
        self.gone = self._ended = True
        self._received.settle()
        self._sent.settle()
        self.runtime.forget_door(self)
        done = self.runtime.home.start(self._release_all)
        await asyncio.wait({asyncio.wrap_future(done)}, timeout=_LOST_TIMEOUT_S)

    async def _release_all(self) -> None:
        tenants = list(self._tenants.values())
        release = self.runtime.tenancy.release
        await asyncio.gather(*(release(tenant, self, close=self._leaving) for tenant in tenants))

    # Replies -----------------------------------------------------------------------------------------

    def send(self, frame: bytes, answers: int = 0) -> None:
        """Send a frame, unless the connection ended; from any thread. `settle` follows an answer.

        Args:
            frame: the frame.
            answers: how many requests it answers.
        """
        with self._lock:
            self._unanswered -= answers
            if not self._ended:
                self._send(frame)
                self._sent.amount += len(frame)

    def settle(self) -> None:
        """See what follows from requests having been answered; from any thread."""
        if self._leaving and not self._unanswered:
            self.end(NORMAL, "")
        tell = self.on_drained
        if tell is not None and self.pending <= MAX_PENDING:
            tell()

    def finished(self, batch: Batch) -> None:
        """A batch was answered; from any thread."""
        self._batches.discard(batch)
        self.settle()

    def notify(self, kind: str, data: dict[str, Any], session: str | None = None) -> None:
        """Tell the peer something that is no answer; from any thread.

        Args:
            kind: what it is about.
            data: facts.
            session: the session it is about, if it is about one.
        """
        self.send(self.codec.frame(self.codec.body("notify", {"kind": kind, **data}), None, session))

    def _reply(self, request: ExtendedRequest, kind: str, data: dict[str, Any]) -> None:
        self.send(self.codec.frame(self.codec.body(kind, data), request.id, request.session), 1)
        self.settle()

    def _refuse(self, number: int | None, session: str | None, error: OpenEnvError) -> None:
        body = self.codec.error(self.runtime.presentable(error))
        self.send(self.codec.frame(body, number, session), 1)
        self.settle()

    # Sessions come and go ----------------------------------------------------------------------------

    def _add(self, tenant: Tenant) -> Tenant:
        if tenant.id not in self._lanes:
            self._lanes[tenant.id] = Lane(self, tenant)
        self._tenants[tenant.id] = tenant
        return tenant

    def _drop(self, tenant: Tenant) -> None:
        lane = self._lanes.pop(tenant.id, None)
        self._tenants.pop(tenant.id, None)
        if lane is self._own:
            self._own = None

    def evict(self, tenant: Tenant) -> None:
        """Another door has taken the tenant over. Called on the home loop."""
        self._drop(tenant)
        self.notify("taken_over", {}, tenant.id)

    def lose(self, session_id: str, reason: str) -> None:
        """A session was ended from outside: without its own one the connection ends too."""
        tenant = self._tenants.get(session_id)
        if tenant is None:
            return
        own = self._own is not None and self._own.tenant is tenant
        self._drop(tenant)
        self.notify("lost", {"reason": reason}, session_id)
        if own:
            self.end(GOING_AWAY, reason)

    def _at_home(self, request: ExtendedRequest, work: Work) -> None:
        """Do something on the home loop, and answer with the type and data that it returns."""

        async def working() -> None:
            try:
                kind, data = await work()
            except OpenEnvError as error:
                self._refuse(request.id, request.session, error)
            except Exception as problem:  # Boundary: whoever waits must be answered, whatever happened.
                self._refuse(request.id, request.session, self.runtime.internal_error(problem))
            else:
                self._reply(request, kind, data)

        self.runtime.home.start(working)

    def _take_open(self, request: ExtendedRequest) -> None:
        lease_s = _number(request, "lease_s")

        async def work() -> tuple[str, dict[str, Any]]:
            tenant = self._add(await self._opened(lease_s))
            self.runtime.tenancy.grant(tenant)
            return "opened", tenant.opened()

        self._at_home(request, work)

    def _take_token(self, request: ExtendedRequest) -> None:
        tenant = self._lane(request).tenant

        async def work() -> tuple[str, dict[str, Any]]:
            self.runtime.tenancy.grant(tenant)
            return "opened", tenant.opened()

        self._at_home(request, work)

    def _take_resume(self, request: ExtendedRequest) -> None:
        token = (request.data or {}).get("token")
        if not isinstance(token, str):
            raise _invalid("string_type", "token", "Input should be a valid string", token)

        async def work() -> tuple[str, dict[str, Any]]:
            tenant = self._add(self.runtime.tenancy.resume(token, self))
            if request.session is None:
                request.session = tenant.id
            return "resumed", tenant.resumed()

        self._at_home(request, work)

    def _take_close(self, request: ExtendedRequest) -> None:
        if request.session is None:
            with self._lock:
                self._leaving = True
                self._unanswered -= 1
            self.settle()
            return
        tenant = self._lane(request).tenant
        self._drop(tenant)

        async def work() -> tuple[str, dict[str, Any]]:
            await self.runtime.tenancy.release(tenant, self, close=True)
            return "closed", {}

        self._at_home(request, work)

    # Calls -------------------------------------------------------------------------------------------

    def _take_batch(self, request: ExtendedRequest) -> None:
        calls = calls_of(request)
        batch = Batch(self, request, len(calls))
        self._batches.add(batch)
        batch.run(calls, self._tenants)

    def _take_cancel(self, request: ExtendedRequest) -> None:
        number = (request.data or {}).get("id")
        if type(number) is not int:
            raise _invalid("int_type", "id", "Input should be a valid integer", number)
        self._reply(request, "cancelled", {"id": number, "cancelled": self._cancel(number)})

    def _cancel(self, number: int) -> bool:
        """Stop the calls of a request; return whether there were any to be stopped."""
        stopped = False
        for lane in list(self._lanes.values()):
            for call in list(lane.calls):
                if call.request.id == number:
                    stopped |= call.cancel()
        for batch in list(self._batches):
            if batch.request.id == number:
                stopped |= batch.cancel()
        return stopped


def _wrong_frame(codec: Codec) -> InvalidActionError:
    expected, got = ("binary", "text") if codec.binary else ("text", "binary")
    content = "MessagePack" if codec.binary else "a JSON object"
    text = f"A message is a {expected} frame with {content}; this was a {got} frame"
    return invalid_message([issue(f"{expected}_frame", [], text, None)])


def _invalid(kind: str, field: str, text: str, value: Any) -> InvalidActionError:
    return invalid_message([issue(kind, ["data", field], text, value)])


def _number(request: ExtendedRequest, field: str) -> float | None:
    value = (request.data or {}).get(field)
    if value is not None and not (type(value) in (int, float) and value > 0):
        raise _invalid("greater_than", field, "Input should be a number greater than 0", value)
    return None if value is None else float(value)
