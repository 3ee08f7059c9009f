"""The sessions of a group without I/O: what each may be asked, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openenv.client.ledger import EpisodeLedger, Standing
from openenv.client.members import Member
from openenv.client.texts import refuse_surrogates
from openenv.client.tickets import Part
from openenv.errors import (
    InvalidActionError,
    OpenEnvError,
    ProtocolError,
    SessionLost,
    StepTimeoutError,
    UsageError,
)
from openenv.protocol.plain import Reply, result_from_reply
from openenv.protocol.wire_errors import blank_error, error_from_payload
from openenv.types import StepOutcome, StepResult


@dataclass(slots=True)
class SessionOutcome:
    """What became of one session's call. A session that fails does not fail the others.

    Attributes:
        index: the session's number in its group.
        call: `reset`, `step` or `state`.
        result: what came back; None for `state` and where `error` is set.
        error: why there is no result, typed; a `SessionLost` names session, episode and step.
        state: the public state, for `state`.
    """

    index: int
    call: str
    result: StepResult[Any] | None = None
    error: OpenEnvError | None = None
    state: Any = None

    @property
    def ok(self) -> bool:
        """Whether the call has a result."""
        return self.error is None

    @property
    def outcome(self) -> StepOutcome:
        """What became of the step, for callers that mask."""
        if self.error is not None:
            return self.error.outcome
        return StepOutcome.OK if self.result is None else self.result.outcome

    def unwrap(self) -> StepResult[Any]:
        """The result.

        Raises:
            OpenEnvError: the error there is instead.
        """
        if self.error is not None:
            raise self.error
        if self.result is None:
            raise UsageError(f"{self.call}() has no result; look at `state`")
        return self.result


@dataclass(frozen=True, slots=True)
class GroupStatistics:
    """What a group has done.

    Attributes:
        sessions: sessions that are open.
        lost: sessions that were lost and not replaced.
        connections: connections that carry them.
        reconnects: how often a broken connection was followed by one that resumed its sessions.
        extended: whether the server speaks the extended protocol: one connection for all sessions.
    """

    sessions: int
    lost: int
    connections: int
    reconnects: int
    extended: bool


class Slot:
    """One session of a group.

    Attributes:
        index: its number.
        member: the session on its connection.
        lane: its connection.
        ledger: what is known of its episode.
        asked: type and payload of the call under way, None if there is none.
    """

    __slots__ = ("asked", "index", "lane", "ledger", "member")

    def __init__(self, index: int, member: Member, lane: Any) -> None:
        self.index = index
        self.member = member
        self.lane = lane
        self.ledger = EpisodeLedger(session=member.session)
        self.asked: tuple[str, Any] | None = None

    @property
    def lost(self) -> bool:
        """Whether the session is lost."""
        return self.member.loss is not None or self.ledger.standing is Standing.LOST

    def take(self, call: str, data: Any) -> SessionOutcome | None:
        """Begin a call; the outcome at once, where it cannot be made."""
        try:
            if self.asked is not None:
                raise UsageError(
                    f"Session {self.index}: {self.asked[0]}() is under way; "
                    f"recv() its outcome before {call}()"
                )
            if self.member.loss is not None:
                self.ledger.lose(str(self.member.loss.get("message", "")))
            if self.lost:
                raise self.ledger.lost()
            self.ledger.admit(call)
        except OpenEnvError as error:
            return SessionOutcome(self.index, call, error=error)
        self.asked = (call, data)
        return None

    def answered(self, reply: Reply) -> SessionOutcome:
        """End the call with what the server said."""
        if reply.type == "error":
            return self.failed(error_from_payload(reply.data))
        call, data = self.asked or ("", None)
        try:
            if call == "state":
                self.asked = None
                return SessionOutcome(self.index, call, state=reply.data)
            result = result_from_reply(reply, reply.data.get("observation"))
        except (ValueError, TypeError, AttributeError) as problem:
            return self.failed(ProtocolError(f"The server's reply to {call} is not understood: {problem}"))
        if call == "step":
            self.ledger.stepped(result)
        else:
            given = data or {}
            self.ledger.began(result, seed=given.get("seed"), episode_id=given.get("episode_id"))
        self.asked = None
        return SessionOutcome(self.index, call, result=result)

    def given_up(self) -> None:
        """End the call without an answer: whether it took effect is not known."""
        call, _ = self.asked or ("", None)
        self.asked = None
        if call in ("reset", "step"):
            self.ledger.failed(StepTimeoutError(f"{call}() was cancelled"))

    def failed(self, error: OpenEnvError) -> SessionOutcome:
        """End the call with an error; a loss names session, episode and step."""
        call, _ = self.asked or ("", None)
        self.asked = None
        episode, step = self.ledger.episode, self.ledger.step
        self.ledger.failed(error)
        if type(error) is SessionLost:
            lost = self.ledger.lost()
            lost.episode, lost.step, lost.__cause__ = episode, step, error
            error = lost
        return SessionOutcome(self.index, call, error=error)


class Roster:
    """The slots of a group."""

    def __init__(self) -> None:
        self.slots: dict[int, Slot] = {}
        self._count = 0

    def add(self, member: Member, lane: Any) -> int:
        """Enter a new session; returns its number."""
        index, self._count = self._count, self._count + 1
        self.slots[index] = Slot(index, member, lane)
        return index

    def chosen(self, indices: Sequence[int] | None) -> list[Slot]:
        """The slots of these numbers; all if None.

        Raises:
            UsageError: there is no such session, or one is named twice.
        """
        if indices is None:
            return list(self.slots.values())
        if len(set(indices)) != len(indices):
            raise UsageError("indices: a session is named twice; expected each at most once")
        try:
            return [self.slots[index] for index in indices]
        except KeyError as unknown:
            raise UsageError(f"indices: there is no session {unknown}; open are {_few(self.slots)}") from None

    def lost(self) -> list[int]:
        """Numbers of the sessions that are lost."""
        return [index for index, slot in self.slots.items() if slot.lost]


def reset_data(
    count: int,
    seeds: Sequence[int | None] | None,
    episode_ids: Sequence[str | None] | None,
    options: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
) -> list[dict[str, Any]]:
    """The data of `count` resets.

    Raises:
        UsageError: a sequence has another length.
    """
    each = [options] * count if options is None or isinstance(options, Mapping) else options
    _fits("seeds", seeds, count)
    _fits("episode_ids", episode_ids, count)
    _fits("options", each, count)
    found = [dict(own or {}) for own in each]
    for data, seed in zip(found, seeds or (), strict=False):
        if seed is not None:
            data["seed"] = seed
    for data, episode_id in zip(found, episode_ids or (), strict=False):
        if episode_id is not None:
            data["episode_id"] = episode_id
    return found


def step_data(count: int, actions: Sequence[Any]) -> list[Any]:
    """The data of `count` steps.

    Raises:
        UsageError: there are more actions than sessions, or fewer.
    """
    _fits("actions", actions, count)
    return list(actions)


def _fits(name: str, values: Sequence[Any] | None, count: int) -> None:
    if values is not None and len(values) != count:
        raise UsageError(f"{name}: expected one for each of the {count} sessions, got {len(values)}")


def _few(slots: Mapping[int, Slot]) -> str:
    numbers = sorted(slots)
    return "none" if not numbers else f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 5 else str(numbers)


def part_of(slot: Slot) -> Part:
    """The call that a slot makes, as a part of a batch."""
    call, data = slot.asked or ("", None)
    return slot.member, call, data


def reply_of(result: Mapping[str, Any]) -> Reply:
    """A batch's result for one session as the reply to a call of its own."""
    return Reply(str(result.get("type")), result.get("data"), None, result.get("result"))


def copy_of(error: OpenEnvError) -> OpenEnvError:
    """An error of its own for each session: each is told which session it concerns."""
    twin = blank_error(type(error))
    twin.__dict__.update(error.__dict__)
    twin.args = error.args
    return twin


def unsendable(slots: list[Slot]) -> dict[int, SessionOutcome]:
    """Outcomes of the calls that cannot be written at all; the others can be sent without them."""
    found = {}
    for slot in slots:
        call, data = slot.asked or ("", None)
        try:
            refuse_surrogates(call, data)
        except InvalidActionError as error:
            found[slot.index] = slot.failed(error)
    return found
