"""`AsyncSessionGroup`: many sessions on one server, driven together by coroutines. Twin of `SessionGroup`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self

from openenv.client.async_shared_connection import AsyncSharedConnection
from openenv.client.endpoint import Endpoint
from openenv.client.group import UNOPENED
from openenv.client.members import Member
from openenv.client.roster import (
    GroupStatistics,
    Roster,
    SessionOutcome,
    Slot,
    copy_of,
    part_of,
    reply_of,
    reset_data,
    step_data,
    unsendable,
)
from openenv.errors import InvalidActionError, OpenEnvError, ProtocolError, UsageError
from openenv.protocol.plain import Reply


class AsyncSessionGroup:
    """Sessions on one server, numbered from 0 in the order they were opened, for one event loop.

    What each call does, answers and raises is described in `SessionGroup`.

    Args:
        endpoint: the server, as a URL or as an `Endpoint`.
        **options: those of `Endpoint.at`, where a URL is given.

    Raises:
        TargetError: the URL names no server.
    """

    def __init__(self, endpoint: Endpoint | str, **options: Any) -> None:
        if not isinstance(endpoint, Endpoint):
            endpoint = Endpoint.at(endpoint, **{"arrays": True, **options})
        self.endpoint = endpoint
        self._roster = Roster()
        self._lanes: list[AsyncSharedConnection] = []
        self._running: set[asyncio.Task[tuple[Slot, Reply | OpenEnvError]]] = set()
        self._refused: list[SessionOutcome] = []
        self._extended: bool | None = None

    # Sessions -----------------------------------------------------------------------------------------

    async def open_many(self, n: int, *, lease_s: float | None = None) -> list[int]:
        """Open `n` more sessions, all or none, and return their numbers."""
        return [self._roster.add(member, lane) for member, lane in await self._acquire(n, lease_s)]

    async def replace(self, indices: Sequence[int], *, lease_s: float | None = None) -> None:
        """Put new sessions in the place of old ones, lost or not; the old ones are closed."""
        slots = self._roster.chosen(indices)
        await self._end(slots)
        fresh = await self._acquire(len(slots), lease_s)
        for old, (member, lane) in zip(slots, fresh, strict=True):
            self._roster.slots[old.index] = Slot(old.index, member, lane)

    @property
    def indices(self) -> list[int]:
        """Numbers of the sessions, lost ones included."""
        return list(self._roster.slots)

    @property
    def lost(self) -> list[int]:
        """Numbers of the sessions that are lost."""
        return self._roster.lost()

    def session_id(self, index: int) -> str | None:
        """The server's id of a session; None where it has told none."""
        return self._roster.chosen([index])[0].member.session

    # All together -------------------------------------------------------------------------------------

    async def reset(
        self,
        indices: Sequence[int] | None = None,
        seeds: Sequence[int | None] | None = None,
        *,
        episode_ids: Sequence[str | None] | None = None,
        options: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        timeout_s: float | None = None,
    ) -> list[SessionOutcome]:
        """Start an episode in each session and wait for all."""
        slots = self._roster.chosen(indices)
        data = reset_data(len(slots), seeds, episode_ids, options)
        return await self._together("reset", slots, data, timeout_s)

    async def step(
        self, indices: Sequence[int] | None, actions: Sequence[Any], *, timeout_s: float | None = None
    ) -> list[SessionOutcome]:
        """Take a step in each session and wait for all."""
        slots = self._roster.chosen(indices)
        return await self._together("step", slots, step_data(len(slots), actions), timeout_s)

    async def state(
        self, indices: Sequence[int] | None = None, *, timeout_s: float | None = None
    ) -> list[SessionOutcome]:
        """The public state of each session, as it came."""
        slots = self._roster.chosen(indices)
        return await self._together("state", slots, [None] * len(slots), timeout_s)

    # As they come -------------------------------------------------------------------------------------

    def send_reset(
        self,
        indices: Sequence[int] | None = None,
        seeds: Sequence[int | None] | None = None,
        *,
        episode_ids: Sequence[str | None] | None = None,
        options: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Start an episode in each session and wait for none; `recv` has the outcomes."""
        slots = self._roster.chosen(indices)
        self._send("reset", slots, reset_data(len(slots), seeds, episode_ids, options), timeout_s)

    def send_step(
        self, indices: Sequence[int] | None, actions: Sequence[Any], *, timeout_s: float | None = None
    ) -> None:
        """Take a step in each session and wait for none; `recv` has the outcomes."""
        slots = self._roster.chosen(indices)
        self._send("step", slots, step_data(len(slots), actions), timeout_s)

    @property
    def pending(self) -> int:
        """Calls that were sent and whose outcome `recv` has not handed out yet."""
        return len(self._running) + len(self._refused)

    async def recv(self, at_least: int = 1, *, timeout_s: float | None = None) -> list[SessionOutcome]:
        """Outcomes of calls that were sent; see `SessionGroup.recv`. A cancelled `recv` loses none."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        while len(self._refused) < at_least and self._running:
            left = None if deadline is None else max(0.0, deadline - loop.time())
            done, _ = await asyncio.wait(self._running, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            self._running -= done
            self._refused += [_outcome(*task.result()) for task in done]
            if not done:
                break
        found, self._refused = self._refused, []
        return found

    async def as_ready(
        self, indices: Sequence[int] | None, actions: Sequence[Any], *, timeout_s: float | None = None
    ) -> AsyncIterator[SessionOutcome]:
        """Take a step in each session and iterate over the outcomes as they come."""
        self.send_step(indices, actions, timeout_s=timeout_s)
        while self.pending:
            for outcome in await self.recv():
                yield outcome

    # Life ---------------------------------------------------------------------------------------------

    async def close(self, indices: Sequence[int] | None = None) -> None:
        """End these sessions; all of them and the connections if None. A second call does nothing."""
        if indices is not None:
            slots = self._roster.chosen(indices)
            await self._end(slots)
            for slot in slots:
                del self._roster.slots[slot.index]
            return
        lanes, self._lanes = self._lanes, []
        self._roster.slots.clear()
        running, self._running = self._running, set()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for lane in lanes:
            await lane.close()

    def statistics(self) -> GroupStatistics:
        """Figures of now."""
        lost = len(self._roster.lost())
        return GroupStatistics(
            sessions=len(self._roster.slots) - lost,
            lost=lost,
            connections=len(self._lanes),
            reconnects=sum(lane.statistics().reconnects for lane in self._lanes),
            extended=bool(self._extended),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._roster.slots)} at {self.endpoint.address.url}>"

    # Inside -------------------------------------------------------------------------------------------

    async def _acquire(self, n: int, lease_s: float | None) -> list[tuple[Member, AsyncSharedConnection]]:
        if n < 0:
            raise UsageError(f"n: expected a number of sessions, got {n}")
        if n and self._extended is None:
            self._lanes.append(await AsyncSharedConnection.open(self.endpoint, UNOPENED, own=False))
            self._extended = self._lanes[0].extended
        if not self._extended:
            return await self._acquire_plain(n)
        if not self._lanes[0].alive:
            await self._lanes[0].close()
            self._lanes[0] = await AsyncSharedConnection.open(self.endpoint, UNOPENED, own=False)
        try:
            return [(member, self._lanes[0]) for member in await self._lanes[0].open_sessions(n, lease_s)]
        except ProtocolError as error:
            if error.code != "UNKNOWN_TYPE":
                raise
        self._extended = False  # it speaks of single sessions only
        await self._lanes.pop().close()
        return await self._acquire_plain(n)

    async def _acquire_plain(self, n: int) -> list[tuple[Member, AsyncSharedConnection]]:
        """A connection for each session; the one that learned of it carries the first."""
        used = {slot.lane for slot in self._roster.slots.values()}
        taken = [lane for lane in self._lanes if lane not in used][:n]
        try:
            while len(taken) < n:
                taken.append(await AsyncSharedConnection.open(self.endpoint))
        except BaseException:
            for lane in taken:
                await lane.close()
            self._lanes = [lane for lane in self._lanes if lane not in taken]
            raise
        self._lanes += [lane for lane in taken if lane not in self._lanes]
        return [(Member(own=True), lane) for lane in taken]

    async def _end(self, slots: list[Slot]) -> None:
        """Close sessions; a connection that carried nothing else goes, too."""
        if self._extended:
            for lane in {slot.lane for slot in slots}:
                await lane.close_sessions([slot.member for slot in slots if slot.lane is lane])
            return
        for slot in slots:
            self._lanes.remove(slot.lane)
            await slot.lane.close()

    async def _together(
        self, call: str, slots: list[Slot], data: list[Any], timeout_s: float | None
    ) -> list[SessionOutcome]:
        refused = {slot.index: slot.take(call, each) for slot, each in zip(slots, data, strict=True)}
        asked = [slot for slot in slots if refused[slot.index] is None]
        if self._extended:
            answers = await self._batch(asked, timeout_s)
        else:
            replies = await asyncio.gather(*(self._one(slot, timeout_s) for slot in asked))
            answers = [_outcome(*reply) for reply in replies]
        found = {slot.index: answer for slot, answer in zip(asked, answers, strict=True)}
        return [refused[slot.index] or found[slot.index] for slot in slots]

    async def _batch(self, slots: list[Slot], timeout_s: float | None) -> list[SessionOutcome]:
        if not slots:
            return []
        try:
            results = await self._lanes[0].batch([part_of(slot) for slot in slots], timeout_s=timeout_s)
        except OpenEnvError as error:
            refused = unsendable(slots) if type(error) is InvalidActionError else {}
            if not refused:
                return [slot.failed(copy_of(error)) for slot in slots]
            rest = [slot for slot in slots if slot.index not in refused]
            refused |= {outcome.index: outcome for outcome in await self._batch(rest, timeout_s)}
            return [refused[slot.index] for slot in slots]
        except BaseException:
            for slot in slots:
                slot.given_up()
            raise
        return [slot.answered(reply_of(result)) for slot, result in zip(slots, results, strict=True)]

    async def _one(self, slot: Slot, timeout_s: float | None) -> tuple[Slot, Reply | OpenEnvError]:
        member, call, data = part_of(slot)
        try:
            return slot, await slot.lane.call(call, data, timeout_s=timeout_s, member=member)
        except OpenEnvError as error:
            return slot, error
        except BaseException:
            slot.given_up()
            raise

    def _send(self, call: str, slots: list[Slot], data: list[Any], timeout_s: float | None) -> None:
        for slot, each in zip(slots, data, strict=True):
            refused = slot.take(call, each)
            if refused is not None:
                self._refused.append(refused)
            else:
                self._running.add(asyncio.create_task(self._one(slot, timeout_s)))


def _outcome(slot: Slot, answer: Reply | OpenEnvError) -> SessionOutcome:
    return slot.failed(answer) if isinstance(answer, OpenEnvError) else slot.answered(answer)
