"""Calls of many sessions in one frame, and one frame with all their replies.

Sessions that share a thread and have no deadline are called one after another in a single job of that thread:
decoding, calls and encoding then cost little more than the environments' own steps. The others are posted one
by one. Every call counts for its session under the batch's id: one that was taken before is answered from the
session's log.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from openenv.errors import InfrastructureError, OpenEnvError
from openenv.protocol.extended import ExtendedRequest
from openenv.protocol.plain import invalid_message, issue, protocol_error
from openenv.server.lanes import body_of, never_begun, prepared, stop, unknown_session
from openenv.server.tenancy import Tenant
from openenv.session.deadline import Abandoned
from openenv.session.handle import HostedSession, Prepared
from openenv.session.hosts import InlineHost, SharedThread
from openenv.session.shards import ShardHost

if TYPE_CHECKING:
    from openenv.server.extended_door import ExtendedDoor

logger = logging.getLogger("openenv.server.websocket")

MOST_CALLS = 65536
"""Calls that a batch may hold."""

KINDS = frozenset({"reset", "step", "state"})
"""Requests that a batch may hold."""


class Batch:
    """One batch on its way.

    Args:
        door: the connection's door.
        request: the request.
        count: how many calls it holds.

    Attributes:
        cancelled: whether calls that have not begun shall not begin.
        single: the calls that are posted one by one.
        grouped: the calls that share a job.
    """

    __slots__ = ("_bodies", "_left", "_lock", "cancelled", "door", "grouped", "request", "single")

    def __init__(self, door: ExtendedDoor, request: ExtendedRequest, count: int) -> None:
        self.door = door
        self.request = request
        self.cancelled = False
        self.single: list[BatchCall] = []
        self.grouped: list[BatchCall] = []
        self._bodies: list[bytes] = [b""] * count
        self._left = count
        self._lock = threading.Lock()

    def cancel(self) -> bool:
        """Stop its calls; return whether there was anything to be stopped. From any thread."""
        self.cancelled = True
        stopped = [call.cancel() for call in [*self.single, *self.grouped]]
        return any(stopped)

    def put(self, index: int, body: bytes) -> None:
        """Take the reply to one call."""
        self._bodies[index] = body
        self.count(1)

    def put_later(self, index: int, body: bytes) -> None:
        """Take the reply to one call; `count` follows."""
        self._bodies[index] = body

    def count(self, answered: int) -> None:
        """Count calls that are answered; after the last one, the reply leaves."""
        with self._lock:
            self._left -= answered
            if self._left:
                return
        door = self.door
        door.send(door.codec.batch(self._bodies, self.request.id), 1)
        # They know the batch, too: without this only the garbage collector would free it, replies and all.
        self.single, self.grouped = [], []
        door.finished(self)

    def run(self, calls: list[Any], tenants: dict[str, Tenant]) -> None:
        """Make the calls. Where messages are read.

        Args:
            calls: the calls, as they came.
            tenants: the sessions of the connection.
        """
        groups: dict[Hashable, Group] = {}
        seen: set[str] = set()
        failed = 0
        for index, call in enumerate(calls):
            try:
                tenant, kind, data = _checked(call, index, tenants, seen)
                if not self._is_new(index, tenant):
                    continue
            except OpenEnvError as error:
                self.put_later(index, self.door.codec.error(self.door.runtime.presentable(error)))
                failed += 1
                continue
            self._place(groups, BatchCall(self, index, tenant, kind, data))
        # Only now: a call that is answered at once must not complete the batch before it is all placed.
        for call in self.single:
            call.tenant.hosted.post(call.prepare, call.done)
        for group in groups.values():
            group.start()
        if failed or not calls:
            self.count(failed)

    def _is_new(self, index: int, tenant: Tenant) -> bool:
        number = self.request.id
        if number is None or tenant.log.claim(number):
            return True
        codec = self.door.codec
        return tenant.log.take(number, lambda body: self.put(index, codec.translated(body)))

    def _place(self, groups: dict[Hashable, Group], call: BatchCall) -> None:
        hosted = call.tenant.hosted
        host = hosted.host
        if self.request.timeout_s is None and not hosted.session.limits.has_deadlines:
            key: Any = None
            if type(host) is ShardHost:
                key = host.shard
            elif type(host) in (InlineHost, SharedThread):
                key = type(host)
            if key is not None:
                group = groups.get(key)
                if group is None:
                    group = groups[key] = Group(self, hosted)
                group.calls.append(call)
                self.grouped.append(call)
                return
        self.single.append(call)


class BatchCall:
    """One call of a batch."""

    __slots__ = ("batch", "body", "data", "index", "kind", "started", "tenant")

    def __init__(
        self, batch: Batch, index: int, tenant: Tenant, kind: str, data: dict[str, Any] | None
    ) -> None:
        self.batch = batch
        self.index = index
        self.tenant = tenant
        self.kind = kind
        self.data = data
        self.body: bytes | None = None
        self.started = False

    def prepare(self) -> Prepared:
        """Say which call of the session it stands for. Runs where the environment lives."""
        self.started = True
        batch = self.batch
        if batch.cancelled:
            raise never_begun()
        request = batch.request
        return prepared(batch.door.runtime, self.kind, self.data, request.timeout_s, arrays=request.arrays)

    def cancel(self) -> bool:
        """Stop it; return whether there was anything to be stopped. From any thread."""
        return self.body is None and (not self.started or stop(self.tenant, lambda: self.body is None))

    def encode(self, value: Any, error: OpenEnvError | None) -> None:
        """Encode and keep what came of it."""
        batch = self.batch
        codec = batch.door.codec
        self.body = body = body_of(batch.door.runtime, codec, self.kind, value, error)
        if batch.request.id is not None:
            self.tenant.log.finish(batch.request.id, body)
        batch.put_later(self.index, body)

    def done(self, value: Any, error: OpenEnvError | None) -> None:
        """Take what came of it."""
        self.encode(value, error)
        self.batch.count(1)


class Group:
    """Calls that one thread makes one after another, in one job."""

    __slots__ = ("_first", "batch", "calls")

    def __init__(self, batch: Batch, first: HostedSession) -> None:
        self.batch = batch
        self.calls: list[BatchCall] = []
        self._first = first

    def start(self) -> None:
        """Hand the job to the thread."""
        for call in self.calls:
            call.tenant.hosted.enter()
        self._first.host.submit(self)

    def __call__(self) -> None:
        """Make the calls. Where the environments live."""
        batch, number = self.batch, self.batch.request.id
        quick = not batch.request.arrays
        result, put = batch.door.codec.result, batch.put_later
        for call in self.calls:
            tenant = call.tenant
            hosted = tenant.hosted
            value, failure = None, None
            try:
                # The usual call of a batch, without the detours that other calls need.
                if quick and call.kind == "step" and call.data is not None and not batch.cancelled:
                    call.started = True
                    value = hosted.session.step(call.data)
                    call.body = body = result(value)
                    hosted.leave()
                    if number is not None:
                        tenant.log.finish(number, body)
                    put(call.index, body)
                    continue
                kind, arguments = call.prepare()
                value = getattr(hosted.session, kind)(**arguments)
            except OpenEnvError as error:
                failure = error
            # Boundary: whoever waits must be answered, whatever happened, be it in an author's serializer.
            except (Exception, Abandoned, SystemExit, KeyboardInterrupt) as problem:
                logger.exception("A call of session %s failed", hosted.id[:8])
                failure = InfrastructureError(
                    f"{type(problem).__name__} in session {hosted.id}", session=hosted.id
                )
            hosted.leave()
            call.encode(value, failure)
        batch.count(len(self.calls))


def calls_of(request: ExtendedRequest) -> list[Any]:
    """The calls that a batch holds.

    Raises:
        InvalidActionError: it holds no list, or too many.
    """
    calls = (request.data or {}).get("calls")
    if not isinstance(calls, list):
        raise invalid_message([issue("list_type", ["data", "calls"], "Input should be a valid list", calls)])
    if len(calls) > MOST_CALLS:
        text = f"List should have at most {MOST_CALLS} items"
        raise invalid_message([issue("too_long", ["data", "calls"], text, len(calls))])
    return calls


def _checked(
    call: Any, index: int, tenants: dict[str, Tenant], seen: set[str]
) -> tuple[Tenant, str, dict[str, Any] | None]:
    try:
        name, kind, data = call["session"], call["type"], call.get("data")
        tenant = tenants[name]
        if kind in KINDS and name not in seen and (data is None or type(data) is dict):
            seen.add(name)
            return tenant, kind, data
    except (TypeError, KeyError, AttributeError, IndexError):
        pass  # what is wrong with it is found out below
    raise _refusal(call, index, tenants)


def _refusal(call: Any, index: int, tenants: dict[str, Tenant]) -> OpenEnvError:
    place = ["data", "calls", str(index)]
    if not isinstance(call, dict):
        return invalid_message([issue("dict_type", place, "Input should be a valid dictionary", call)])
    name, kind, data = call.get("session"), call.get("type"), call.get("data")
    if not isinstance(name, str):
        return invalid_message(
            [issue("string_type", [*place, "session"], "Input should be a valid string", name)]
        )
    if name not in tenants:
        return unknown_session(name)
    if not isinstance(kind, str) or kind not in KINDS:
        return protocol_error("UNKNOWN_TYPE", f"A batch holds {', '.join(sorted(KINDS))}, not {kind!s:.80}")
    if data is not None and not isinstance(data, dict):
        return invalid_message(
            [issue("dict_type", [*place, "data"], "Input should be a valid dictionary", data)]
        )
    return invalid_message(
        [issue("duplicate", [*place, "session"], "A session has one call in a batch at most", name)]
    )
