"""A pool over sessions on servers.

Each server has a group of sessions (`openenv.client.AsyncSessionGroup`): one connection and one frame per
batch where the server speaks the extended protocol, a connection per session where it is a published one.
All groups live on one event loop in a thread; results come back through a queue and a flag.

Slots and sessions are not the same. A slot needs a session for the length of an episode. Where servers
have fewer sessions than the pool has slots, a slot waits for one when it is reset, at most
`capacity_timeout_s`, and hands its session to the next slot that waits when its episode has ended. No
episode fails because there are too many of them, and nothing grows with the wait.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from openenv.client import AsyncSessionGroup
from openenv.client.backends import reset_options
from openenv.client.endpoint import Endpoint
from openenv.client.http import fetch_json
from openenv.client.learned import Learned, generic
from openenv.client.loop_thread import LoopThread
from openenv.client.roster import SessionOutcome
from openenv.errors import (
    InfrastructureError,
    OpenEnvError,
    OrderError,
    SessionCapacityError,
    SessionLost,
    UsageError,
)
from openenv.pool.calls import Answer, Arrival, BackendStatistics, Call
from openenv.pool.seats import lost_seat
from openenv.pool.signal import Signal
from openenv.types import StepResult

CAPACITY_TIMEOUT_S = 60.0
"""How long a slot waits for a session, unless told otherwise."""
_PAUSE_S = 0.5
"""How long a server is left alone after it had no session to give."""
_GLANCE_S = 0.002
"""How long it looks on while others open the sessions that are waited for."""
_CLOSE_S = 10.0


class _Server:
    """One server.

    Attributes:
        group: its sessions.
        count: how many it has.
        filling: the task that opens more, while slots wait.
        rest_until: `time.monotonic()` before which it is not asked again.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.group = AsyncSessionGroup(endpoint)
        self.count = 0
        self.filling: asyncio.Task[None] | None = None
        self.rest_until = 0.0


class _Waiting:
    """A slot that waits for a session.

    Attributes:
        call: the reset to be made with it.
        give_up: ends the wait.
        deadline: `time.monotonic()` at which it does.
    """

    def __init__(self, call: Call, give_up: asyncio.TimerHandle, deadline: float) -> None:
        self.call = call
        self.give_up = give_up
        self.deadline = deadline


class RemotePoolBackend:
    """Sessions on servers.

    Args:
        endpoints: the servers.
        count: how many slots.
        capacity_timeout_s: how long a slot waits for a session.
        models: whether observations become models; else they are dicts.

    Raises:
        ServerUnreachableError: none of the servers answers (noticed here only if `models`).
    """

    stoppable = True

    def __init__(
        self, endpoints: Sequence[Endpoint], count: int, *, capacity_timeout_s: float, models: bool
    ) -> None:
        self._endpoints = endpoints
        self._models = _learn(endpoints) if models else None
        self._patience_s = capacity_timeout_s
        self._names = [endpoint.address.url for endpoint in endpoints]
        self._places: list[tuple[_Server, int] | None] = [None] * count
        self._over: dict[int, None] = {}
        self._deadlines: dict[int, float] = {}
        self._waiting: deque[_Waiting] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._inbox: deque[tuple[Sequence[Call], bool]] = deque()
        self._outbox: deque[Arrival] = deque()
        self._signal = Signal()
        self._opening = 0
        self._replaced = 0
        self._trouble: OpenEnvError | None = None
        self._closed = False
        self._thread = LoopThread("openenv-pool")

        async def connect() -> list[_Server]:
            return [_Server(endpoint) for endpoint in endpoints]

        self._servers = self._thread.run(connect())

    @classmethod
    def plan(
        cls, urls: Sequence[str], count: int, timeout_s: float | None, options: dict[str, Any]
    ) -> Callable[[], RemotePoolBackend]:
        """Check the options of a pool over these servers; return what opens it.

        Raises:
            TargetError: a URL names no server.
            UsageError: an option that makes no sense, or that there is none of.
        """
        rest = dict(options)
        patience_s = rest.pop("capacity_timeout_s", CAPACITY_TIMEOUT_S)
        if not isinstance(patience_s, int | float) or not patience_s > 0:
            raise UsageError(f"capacity_timeout_s: expected seconds above 0, got {patience_s!r}")
        models = bool(rest.pop("models", True))
        try:
            endpoints = [Endpoint.at(url, timeout_s=timeout_s, **rest) for url in urls]
        except TypeError as problem:
            raise UsageError(f"no such option of a connection: {problem}") from None
        return lambda: cls(endpoints, count, capacity_timeout_s=patience_s, models=models)

    # For the pool's thread ---------------------------------------------------------------------------

    def fileno(self) -> int:
        """Readable when something has arrived."""
        return self._signal.fileno()

    def submit(self, calls: Sequence[Call], together: bool = False) -> None:
        """Hand calls to the loop."""
        self._inbox.append((calls, together))
        self._thread.loop.call_soon_threadsafe(self._take_in)

    def pump(self) -> list[Arrival]:
        """What has arrived."""
        self._signal.clear()
        arrivals = []
        while self._outbox:
            arrivals.append(self._outbox.popleft())
        return arrivals

    def alarm(self) -> float | None:
        """The loop keeps its own time."""
        return None

    def action_schema(self) -> dict[str, Any]:
        """The JSON Schema of an action."""
        learned = self._models or _learn(self._endpoints)
        schema: dict[str, Any] = learned.schema.get("action") or {}
        return schema

    @property
    def pids(self) -> list[int]:
        """There are no workers."""
        return []

    def statistics(self) -> BackendStatistics:
        """Counts so far."""
        return BackendStatistics(
            workers=sum(server.group.statistics().connections for server in self._servers),
            replaced=self._replaced,
            waiting=len(self._waiting),
        )

    def close(self) -> None:
        """End every session."""
        if self._closed:
            return
        self._closed = True
        try:
            self._thread.run(self._close())
        finally:
            self._thread.stop()
            self._signal.close()

    async def _close(self) -> None:
        for waiting in self._waiting:
            waiting.give_up.cancel()
        self._waiting.clear()
        tasks = [*self._running, *(s.filling for s in self._servers if s.filling is not None)]
        for task in tasks:
            task.cancel()
        closing = [asyncio.ensure_future(_ended(tasks))]
        closing += [asyncio.ensure_future(server.group.close()) for server in self._servers]
        done, left = await asyncio.wait(closing, timeout=_CLOSE_S)
        for task in left:
            task.cancel()
        for task in done:
            task.exception()  # a server that is gone cannot be told

    def __repr__(self) -> str:
        return f"sessions at {', '.join(self._names)}"

    # On the loop -------------------------------------------------------------------------------------

    def _take_in(self) -> None:
        while self._inbox:
            calls, together = self._inbox.popleft()
            ready = [call for call in calls if self._is_placed(call)]
            for batch in self._batches(ready) if together else [[call] for call in ready]:
                self._begin(batch)

    def _is_placed(self, call: Call) -> bool:
        """Whether a call's slot has a session; if not, it waits for one, or is refused."""
        if self._places[call.slot] is not None:
            self._over.pop(call.slot, None)
            return True
        if call.kind == "step":
            message = f"step() of slot {call.slot}: no episode is running; reset it first"
            self._report(call.slot, OrderError(message, expected="reset", actual="step"))
            return False
        self._wait(call, time.monotonic() + self._patience_s)
        return False

    def _wait(self, call: Call, deadline: float) -> None:
        """Have a slot wait for a session; those whose episodes are over give theirs."""
        give_up = self._thread.loop.call_later(deadline - time.monotonic(), self._give_up, call)
        self._waiting.append(_Waiting(call, give_up, deadline))
        if self._over:
            self._pass_on(next(iter(self._over)))
        else:
            self._fill()

    def _batches(self, calls: list[Call]) -> list[list[Call]]:
        """Calls that may travel in one frame: the same server, kind and deadline."""
        batches: dict[tuple[int, str, float | None], list[Call]] = {}
        for call in calls:
            place = self._places[call.slot]
            if place is not None:
                batches.setdefault((id(place[0]), call.kind, call.timeout_s), []).append(call)
        return list(batches.values())

    def _begin(self, batch: list[Call]) -> None:
        task = self._thread.loop.create_task(self._run(batch))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, batch: list[Call]) -> None:
        places = [place for call in batch if (place := self._places[call.slot]) is not None]
        group, indices, first = places[0][0].group, [index for _, index in places], batch[0]
        try:
            if first.kind == "step":
                actions = [call.action for call in batch]
                outcomes = await group.step(indices, actions, timeout_s=first.timeout_s)
            else:
                options = [reset_options(call.seed, None, call.options or {}) for call in batch]
                outcomes = await group.reset(indices, options=options, timeout_s=first.timeout_s)
        except OpenEnvError as error:
            outcomes = [SessionOutcome(index, first.kind, error=error) for index in indices]
        # Boundary: whoever waits must be answered, whatever happened on the way.
        except Exception as problem:
            broken = InfrastructureError(f"{type(problem).__name__}: {problem}")
            outcomes = [SessionOutcome(index, first.kind, error=broken) for index in indices]
        for call, outcome in zip(batch, outcomes, strict=True):
            self._finished(call, outcome)

    def _finished(self, call: Call, outcome: SessionOutcome) -> None:
        answer: Answer
        if outcome.error is not None:
            if isinstance(outcome.error, SessionCapacityError) and call.kind == "reset":
                self._refused_late(call, outcome.error)
                return
            answer = outcome.error
            if answer.session_fate == "closed":
                answer = self._lost(call.slot, answer)
        else:
            answer = self._read(outcome.unwrap(), first=call.kind == "reset")
            if answer.done:
                self._over[call.slot] = None
                if self._waiting:
                    self._pass_on(call.slot)
        self._deadlines.pop(call.slot, None)
        self._report(call.slot, answer)

    def _refused_late(self, call: Call, error: SessionCapacityError) -> None:
        """A server took the connection and has no session for it: the slot waits on."""
        place = self._vacate(call.slot)
        if place is not None:
            self._begin_closing(*place)
            self._refused(place[0], error)
        self._wait(call, self._deadlines.get(call.slot, time.monotonic()))

    def _read(self, result: StepResult[Any], *, first: bool) -> StepResult[Any]:
        return generic(result) if self._models is None else self._models.read(result, first=first)

    def _report(self, slot: int, answer: Answer) -> None:
        self._outbox.append((slot, answer))
        self._signal.set()

    def _lost(self, slot: int, error: OpenEnvError) -> OpenEnvError:
        """A session is gone: give its place up, so that the slot's next reset opens another."""
        place = self._vacate(slot)
        if place is not None:
            self._replaced += 1
            self._begin_closing(*place)
        if isinstance(error, SessionLost):
            return error
        lost = lost_seat(slot, error.message)
        lost.session, lost.episode, lost.step = error.session, error.episode, error.step
        lost.__cause__ = error
        return lost

    def _vacate(self, slot: int) -> tuple[_Server, int] | None:
        """Take a slot's session from it, to be closed."""
        place, self._places[slot] = self._places[slot], None
        self._over.pop(slot, None)
        if place is not None:
            place[0].count -= 1
        return place

    def _begin_closing(self, server: _Server, index: int) -> None:
        async def close() -> None:
            try:
                await server.group.close([index])
            except OpenEnvError:
                return  # it is gone already

        task = self._thread.loop.create_task(close())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    # Waiting for sessions ----------------------------------------------------------------------------

    def _pass_on(self, slot: int) -> None:
        """Hand a slot's session to the slot that waits longest."""
        place, self._places[slot] = self._places[slot], None
        self._over.pop(slot, None)
        if place is not None:
            self._place(*place)

    def _place(self, server: _Server, index: int) -> None:
        waiting = self._waiting.popleft()
        waiting.give_up.cancel()
        self._places[waiting.call.slot] = (server, index)
        self._deadlines[waiting.call.slot] = waiting.deadline
        self._begin([waiting.call])

    def _give_up(self, call: Call) -> None:
        """The time is up for a slot that waits."""
        self._waiting = deque(waiting for waiting in self._waiting if waiting.call is not call)
        self._report(call.slot, self._no_session(call.slot))

    def _no_session(self, slot: int) -> OpenEnvError:
        trouble = self._trouble
        said = f"slot {slot} got no session within {self._patience_s:g} s"
        error: OpenEnvError
        if trouble is None or isinstance(trouble, SessionCapacityError):
            active, most = (trouble.active_sessions, trouble.max_sessions) if trouble else (0, 0)
            error = SessionCapacityError(active, most, f"{said}: all sessions are taken")
        else:
            error = InfrastructureError(f"{said}: {trouble.message}")
            error.__cause__ = trouble
        error.session_fate = "needs_reset"
        return error

    def _fill(self) -> None:
        """Have every server open sessions while slots wait."""
        for server in self._servers:
            if server.filling is None:
                server.filling = self._thread.loop.create_task(self._open_for_those_who_wait(server))

    async def _open_for_those_who_wait(self, server: _Server) -> None:
        try:
            while self._waiting:
                now = time.monotonic()
                if server.rest_until > now:
                    await asyncio.sleep(server.rest_until - now)
                    continue
                if self._opening >= len(self._waiting) or self._others_first(server, now):
                    await asyncio.sleep(_GLANCE_S)
                    continue
                server.count += 1
                self._opening += 1
                try:
                    (index,) = await server.group.open_many(1)
                except BaseException as problem:
                    server.count -= 1
                    if not isinstance(problem, OpenEnvError | OSError):
                        raise
                    self._refused(server, problem)
                    continue
                finally:
                    self._opening -= 1
                if self._waiting:
                    self._place(server, index)
                else:
                    server.count -= 1
                    self._begin_closing(server, index)
        finally:
            server.filling = None

    def _others_first(self, server: _Server, now: float) -> bool:
        """Whether another server that has sessions to give has fewer of ours."""
        willing = (other for other in self._servers if other.rest_until <= now)
        return any(other.count < server.count for other in willing)

    def _refused(self, server: _Server, problem: OpenEnvError | OSError) -> None:
        error = problem if isinstance(problem, OpenEnvError) else InfrastructureError(str(problem))
        self._trouble = error
        pause_s = min(error.retry_after, _PAUSE_S) if isinstance(error, SessionCapacityError) else _PAUSE_S
        server.rest_until = time.monotonic() + pause_s
        if not error.retryable and len(self._servers) == 1:
            # It will not get better by waiting: a token that is missing, an environment that is broken.
            while self._waiting:
                waiting = self._waiting.popleft()
                waiting.give_up.cancel()
                self._report(waiting.call.slot, _own(error))


def _own(error: OpenEnvError) -> OpenEnvError:
    from openenv.client.roster import copy_of

    twin = copy_of(error)
    twin.session_fate = "needs_reset"
    return twin


def _learn(endpoints: Sequence[Endpoint]) -> Learned:
    """Ask the servers, one after another, what the environment's models are."""
    for endpoint in endpoints[:-1]:
        try:
            return Learned(fetch_json(endpoint, "/schema"))
        except InfrastructureError:
            continue
    return Learned(fetch_json(endpoints[-1], "/schema"))


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
