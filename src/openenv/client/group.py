"""`SessionGroup`: many sessions on one server, driven together by synchronous code.

On the extended protocol all of them share one connection: `reset` and `step` are one frame there and one
back, `send_step` and `recv` hand out results as they come. Towards a published server, which knows one
session per connection, the same calls go over a connection for each.
"""

from __future__ import annotations

import select
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic
from typing import Any, Self

from openenv.client.endpoint import Endpoint
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
from openenv.client.shared_connection import SharedConnection
from openenv.client.tickets import Ticket
from openenv.errors import InvalidActionError, OpenEnvError, ProtocolError, UsageError
from openenv.protocol.plain import Reply

UNOPENED = "/ws?session=none"
"""Route of a connection that opens no session of its own."""


class SessionGroup:
    """Sessions on one server, numbered from 0 in the order they were opened. For one thread at a time.

    Every call answers with one `SessionOutcome` for each session asked; only a mistake of the caller
    (`UsageError`) and failing to open a session raise. A broken connection is replaced and its sessions
    resumed behind the caller's back; a session for which that is impossible answers `SessionLost`,
    until `replace` puts a new one in its place.

    Args:
        endpoint: the server, as a URL or as an `Endpoint`.
        **options: those of `Endpoint.at`, where a URL is given: `token`, `headers`, `timeout_s`,
            `reconnect`, ... `arrays` is True unless set.

    Raises:
        TargetError: the URL names no server.
    """

    def __init__(self, endpoint: Endpoint | str, **options: Any) -> None:
        if not isinstance(endpoint, Endpoint):
            endpoint = Endpoint.at(endpoint, **{"arrays": True, **options})
        self.endpoint = endpoint
        self._roster = Roster()
        self._lanes: list[SharedConnection] = []
        self._done: list[Ticket] = []
        self._refused: list[SessionOutcome] = []
        self._slots: dict[Member, Slot] = {}
        self._extended: bool | None = None

    # Sessions -----------------------------------------------------------------------------------------

    def open_many(self, n: int, *, lease_s: float | None = None) -> list[int]:
        """Open `n` more sessions; all of them or none.

        Args:
            n: how many.
            lease_s: seconds that the server shall keep them after a lost connection; its own choice if
                absent. A server may grant less. Published servers know no leases.

        Returns:
            Their numbers.

        Raises:
            ServerUnreachableError: nothing answers there.
            AuthenticationError: the server wants a token.
            SessionCapacityError: the server has not so many slots free.
        """
        return [self._enter(member, lane) for member, lane in self._acquire(n, lease_s)]

    def replace(self, indices: Sequence[int], *, lease_s: float | None = None) -> None:
        """Put new sessions in the place of old ones, lost or not; the old ones are closed.

        Args:
            indices: whose.
            lease_s: as for `open_many`.
        """
        slots = self._roster.chosen(indices)
        self._end(slots)
        fresh = self._acquire(len(slots), lease_s)
        for old, (member, lane) in zip(slots, fresh, strict=True):
            self._slots[member] = self._roster.slots[old.index] = Slot(old.index, member, lane)

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

    def reset(
        self,
        indices: Sequence[int] | None = None,
        seeds: Sequence[int | None] | None = None,
        *,
        episode_ids: Sequence[str | None] | None = None,
        options: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        timeout_s: float | None = None,
    ) -> list[SessionOutcome]:
        """Start an episode in each session and wait for all.

        Args:
            indices: which sessions; all if None.
            seeds: a seed for each of them.
            episode_ids: a name for each episode.
            options: what else the environment's reset takes, for all or for each.
            timeout_s: deadline of each reset; the endpoint's if absent.

        Returns:
            Outcomes in the order of the indices.
        """
        slots = self._roster.chosen(indices)
        return self._together("reset", slots, reset_data(len(slots), seeds, episode_ids, options), timeout_s)

    def step(
        self, indices: Sequence[int] | None, actions: Sequence[Any], *, timeout_s: float | None = None
    ) -> list[SessionOutcome]:
        """Take a step in each session and wait for all.

        Args:
            indices: which sessions; all if None.
            actions: an action for each of them: a model or a dict.
            timeout_s: deadline of each step; the endpoint's if absent.

        Returns:
            Outcomes in the order of the indices.
        """
        slots = self._roster.chosen(indices)
        return self._together("step", slots, step_data(len(slots), actions), timeout_s)

    def state(
        self, indices: Sequence[int] | None = None, *, timeout_s: float | None = None
    ) -> list[SessionOutcome]:
        """The public state of each session, as it came."""
        slots = self._roster.chosen(indices)
        return self._together("state", slots, [None] * len(slots), timeout_s)

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
        return sum(slot.asked is not None for slot in self._roster.slots.values()) + len(self._refused)

    def recv(self, at_least: int = 1, *, timeout_s: float | None = None) -> list[SessionOutcome]:
        """Outcomes of calls that were sent, in the order they came.

        Args:
            at_least: how many to wait for, at most as many as are pending.
            timeout_s: how long to wait for them; None for as long as it takes. What has come by then is
                returned, possibly nothing, and the rest stays pending.
        """
        found, self._refused = self._refused, []
        deadline = None if timeout_s is None else monotonic() + timeout_s
        while True:
            found += self._handed_out()
            left = None if deadline is None else max(0.0, deadline - monotonic())
            if len(found) >= at_least or not self.pending or left == 0.0:
                return found
            self._wait(left)

    def as_ready(
        self, indices: Sequence[int] | None, actions: Sequence[Any], *, timeout_s: float | None = None
    ) -> Iterator[SessionOutcome]:
        """Take a step in each session and iterate over the outcomes as they come."""
        self.send_step(indices, actions, timeout_s=timeout_s)
        while self.pending:
            yield from self.recv()

    # Life ---------------------------------------------------------------------------------------------

    def close(self, indices: Sequence[int] | None = None) -> None:
        """End these sessions; all of them and the connections if None. A second call does nothing."""
        if indices is not None:
            slots = self._roster.chosen(indices)
            self._end(slots)
            for slot in slots:
                del self._roster.slots[slot.index]
            return
        lanes, self._lanes = self._lanes, []
        self._roster.slots.clear()
        self._slots.clear()
        for lane in lanes:
            lane.close()

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self._roster.slots)} at {self.endpoint.address.url}>"

    # Inside -------------------------------------------------------------------------------------------

    def _enter(self, member: Member, lane: SharedConnection) -> int:
        index = self._roster.add(member, lane)
        self._slots[member] = self._roster.slots[index]
        return index

    def _acquire(self, n: int, lease_s: float | None) -> list[tuple[Member, SharedConnection]]:
        if n < 0:
            raise UsageError(f"n: expected a number of sessions, got {n}")
        if n and self._extended is None:
            self._lanes.append(SharedConnection(self.endpoint, UNOPENED, own=False))
            self._extended = self._lanes[0].extended
        if not self._extended:
            return self._acquire_plain(n)
        if not self._lanes[0].alive:
            self._lanes[0].close()
            self._lanes[0] = SharedConnection(self.endpoint, UNOPENED, own=False)
        try:
            return [(member, self._lanes[0]) for member in self._lanes[0].open_sessions(n, lease_s)]
        except ProtocolError as error:
            if error.code != "UNKNOWN_TYPE":
                raise
        self._extended = False  # it speaks of single sessions only
        self._lanes.pop().close()
        return self._acquire_plain(n)

    def _acquire_plain(self, n: int) -> list[tuple[Member, SharedConnection]]:
        """A connection for each session; the one that learned of it carries the first."""
        unused = [lane for lane in self._lanes if not any(s.lane is lane for s in self._slots.values())]
        taken: list[SharedConnection] = []
        try:
            while len(taken) < n:
                taken.append(unused.pop() if unused else SharedConnection(self.endpoint))
        except BaseException:
            for lane in taken:
                lane.close()
            self._lanes = [lane for lane in self._lanes if lane not in taken]
            raise
        self._lanes += [lane for lane in taken if lane not in self._lanes]
        return [(lane.only_member(), lane) for lane in taken]

    def _end(self, slots: list[Slot]) -> None:
        """Close sessions; a connection that carried nothing else goes, too."""
        for slot in slots:
            self._slots.pop(slot.member, None)
        if self._extended:
            for lane in {slot.lane for slot in slots}:
                lane.close_sessions([slot.member for slot in slots if slot.lane is lane])
            return
        for slot in slots:
            slot.lane.close()
            self._lanes.remove(slot.lane)

    def _together(
        self, call: str, slots: list[Slot], data: list[Any], timeout_s: float | None
    ) -> list[SessionOutcome]:
        refused = {slot.index: slot.take(call, each) for slot, each in zip(slots, data, strict=True)}
        asked = [slot for slot in slots if refused[slot.index] is None]
        answers = self._batch(asked, timeout_s) if self._extended else self._one_by_one(asked, timeout_s)
        found = {slot.index: answer for slot, answer in zip(asked, answers, strict=True)}
        return [refused[slot.index] or found[slot.index] for slot in slots]

    def _batch(self, slots: list[Slot], timeout_s: float | None) -> list[SessionOutcome]:
        if not slots:
            return []
        parts = [part_of(slot) for slot in slots]
        try:
            results = self._lanes[0].batch(parts, timeout_s=timeout_s)
        except OpenEnvError as error:
            refused = unsendable(slots) if type(error) is InvalidActionError else {}
            if not refused:
                return [slot.failed(copy_of(error)) for slot in slots]
            rest = [slot for slot in slots if slot.index not in refused]
            refused |= {outcome.index: outcome for outcome in self._batch(rest, timeout_s)}
            return [refused[slot.index] for slot in slots]
        return [slot.answered(reply_of(result)) for slot, result in zip(slots, results, strict=True)]

    def _one_by_one(self, slots: list[Slot], timeout_s: float | None) -> list[SessionOutcome]:
        """Send all before the first reply is awaited."""
        if timeout_s is None:
            timeout_s = self.endpoint.timeout_s
        deadline = None if timeout_s is None else monotonic() + timeout_s
        tickets: list[Ticket | OpenEnvError] = []
        for slot in slots:
            try:
                tickets += slot.lane.submit([part_of(slot)], [], timeout_s=timeout_s)
            except OpenEnvError as error:
                tickets.append(error)
        found = []
        for slot, ticket in zip(slots, tickets, strict=True):
            if isinstance(ticket, OpenEnvError):
                found.append(slot.failed(ticket))
                continue
            try:
                slot.lane.finish(ticket, deadline, timeout_s)
            except OpenEnvError as error:
                found.append(slot.failed(error))
            else:
                found.append(slot.answered(ticket.reply or Reply()))
        return found

    def _send(self, call: str, slots: list[Slot], data: list[Any], timeout_s: float | None) -> None:
        asked: dict[SharedConnection, list[Slot]] = {}
        for slot, each in zip(slots, data, strict=True):
            refused = slot.take(call, each)
            if refused is not None:
                self._refused.append(refused)
            else:
                asked.setdefault(slot.lane, []).append(slot)
        for lane, group in asked.items():
            self._submit(lane, group, timeout_s)

    def _submit(self, lane: SharedConnection, slots: list[Slot], timeout_s: float | None) -> None:
        try:
            lane.submit([part_of(slot) for slot in slots], self._done, timeout_s=timeout_s)
        except OpenEnvError as error:
            refused = unsendable(slots) if type(error) is InvalidActionError else {}
            if refused:
                self._refused += refused.values()
                self._submit(lane, [slot for slot in slots if slot.index not in refused], timeout_s)
            else:
                self._refused += [slot.failed(copy_of(error)) for slot in slots]

    def _handed_out(self) -> list[SessionOutcome]:
        done = self._done[:]
        self._done.clear()
        found = []
        for ticket in done:
            slot = self._slots.get(ticket.member) if ticket.member is not None else None
            if slot is not None and ticket.reply is not None:
                found.append(slot.answered(ticket.reply))
        return found

    def _wait(self, seconds: float | None) -> None:
        """Wait until something came, at most so long."""
        busy = {slot.lane for slot in self._roster.slots.values() if slot.asked is not None}
        if len(busy) == 1:
            busy.pop().collect(self._done, timeout_s=seconds)
            return
        poll = select.poll()
        for lane in busy:
            lane.collect(self._done, timeout_s=0.0)
            if lane.connected:
                poll.register(lane.fileno(), select.POLLIN)
        if not self._done:
            poll.poll(None if seconds is None else 1000 * seconds)
