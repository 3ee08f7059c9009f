"""The rules of a pool, without waiting: slots, auto-reset, order and back-pressure, over any backend.

A slot is one session's place in the pool. It takes one call at a time, and is taken until its result has
been handed out, so that a pool never holds more than one result per slot. When the session of a slot is
lost, the outcome of the slot's running call says so (or, if none ran, the outcome of its next step), and
the slot has a new session, which is never stepped before it was reset.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any

from pydantic import BaseModel

from openenv.errors import OpenEnvError, OrderError, SessionLost, UsageError
from openenv.pool.calls import Answer, AutoReset, Backend, Call, PoolResult, PoolStatistics
from openenv.types import StepOutcome, StepResult


class Standing(Enum):
    """Where a slot's episode stands, as far as the pool's own rules need to know."""

    NEW = "new"
    RUNNING = "running"
    ENDED = "ended"
    LOST = "lost"


_RUNNING = Standing.RUNNING
HandOver = Callable[[Sequence[Call], bool], None]


class Slot:
    """One session's place in a pool.

    Attributes:
        index: its number.
        standing: where its episode stands.
        taken: whether a call runs or its result has not been handed out.
        running: whether the backend has a call of it.
        claimed: whether somebody waits for this very slot.
        resetting: whether the call that runs is a reset.
        final: the result that ended an episode, while the reset that follows it runs.
        loss: a loss that no outcome has told of.
        seeds: where seeds of automatic resets come from; None draws fresh ones.
        last: the last result of the episode.
        failed_at: the step at which a later call failed, if one did.
    """

    __slots__ = (
        "claimed",
        "failed_at",
        "final",
        "index",
        "last",
        "loss",
        "resetting",
        "running",
        "seeds",
        "standing",
        "taken",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        self.standing = Standing.NEW
        self.taken = False
        self.running = False
        self.claimed = False
        self.resetting = False
        self.final: StepResult[Any] | None = None
        self.loss: OpenEnvError | None = None
        self.seeds: random.Random | None = None
        self.last: StepResult[Any] | None = None
        self.failed_at: int | None = None

    @property
    def episode(self) -> str | None:
        """Id of the current episode."""
        return None if self.last is None else self.last.episode_id

    @property
    def step(self) -> int | None:
        """Steps that the episode has taken."""
        if self.failed_at is not None or self.last is None:
            return self.failed_at
        return self.last.step


class Slots:
    """All slots of a pool and the rules between them.

    Args:
        backend: where the sessions run.
        count: how many slots.
        auto_reset: what happens when an episode ended.

    Attributes:
        hand_over: gives calls to the backend, with whether their caller waits for all of them.
        running: how many calls the backend has.
        loose: calls whose results go to whoever takes the next one, running or arrived.
        arrived: their results, by slot, in the order of arrival.
        kept: results that somebody waits for, by slot.
    """

    def __init__(self, backend: Backend, count: int, auto_reset: AutoReset) -> None:
        self.backend = backend
        self.hand_over: HandOver = backend.submit
        self.auto_reset = auto_reset
        self.all = [Slot(index) for index in range(count)]
        self.running = 0
        self.loose = 0
        self.arrived: dict[int, Answer] = {}
        self.kept: dict[int, Answer] = {}
        self._everyone = range(count)
        self._episodes = self._steps = self._errors = self._lost = 0

    # What a caller asks for --------------------------------------------------------------------------

    def pick(self, indices: Iterable[int] | None) -> Sequence[int]:
        """The slots that a call is for, all of them free.

        Raises:
            UsageError: an index that is none, or that is named twice.
            OrderError: a slot whose last result has not been taken.
        """
        chosen = self._everyone if indices is None else self._valid(indices)
        slots = self.all
        for index in chosen:
            if slots[index].taken:
                raise OrderError(
                    f"slot {index} has a call whose result has not been taken: calls of a slot are made one "
                    "at a time; recv() it first, or name the slots that are ready in indices",
                    expected="recv()",
                    actual="another call",
                )
        return chosen

    def _valid(self, indices: Iterable[int]) -> list[int]:
        chosen: list[int] = []
        for value in indices:
            try:
                index = value.__index__()
            except AttributeError:
                raise UsageError(f"indices: expected numbers of slots, got {value!r:.60}") from None
            if not 0 <= index < len(self.all):
                raise UsageError(f"indices: expected 0 to {len(self.all) - 1}, got {index}")
            chosen.append(index)
        if len(set(chosen)) != len(chosen):
            raise UsageError("indices: a slot is named twice; it takes one call at a time")
        return chosen

    def resets(
        self,
        chosen: Sequence[int],
        seeds: int | Sequence[int | None] | None,
        options: Mapping[str, Any] | Sequence[Mapping[str, Any] | None] | None,
        timeout_s: float | None,
    ) -> list[Call]:
        """The calls of a reset.

        Raises:
            UsageError: seeds or options that do not fit the slots.
        """
        if isinstance(seeds, int):
            seeds = [seeds + index for index in chosen]
        if options is None or isinstance(options, Mapping):
            options = [options] * len(chosen)
        calls = []
        pairs = zip(
            self._one_each("seeds", seeds, chosen), self._one_each("options", options, chosen), strict=True
        )
        for index, (seed, option) in zip(chosen, pairs, strict=True):
            if seed is not None:
                try:
                    seed = seed.__index__()
                except AttributeError:
                    raise UsageError(f"seeds: expected whole numbers, got {seed!r:.60}") from None
            self.all[index].seeds = None if seed is None else random.Random(seed)  # noqa: S311
            calls.append(Call(index, "reset", None, seed, dict(option or {}), timeout_s))
        return calls

    def steps(self, chosen: Sequence[int], actions: Sequence[Any], timeout_s: float | None) -> list[Call]:
        """The calls of a step.

        Raises:
            UsageError: not one action for each slot, or an action that is none.
        """
        if isinstance(actions, str | bytes | Mapping | BaseModel):
            raise UsageError(f"actions: expected one action for each slot, got {type(actions).__name__}")
        given = self._one_each("actions", actions, chosen)
        return [
            Call(
                index,
                "step",
                action if type(action) is dict or isinstance(action, BaseModel) else self._meant(action),
                None,
                None,
                timeout_s,
            )
            for index, action in zip(chosen, given, strict=True)
        ]

    def _meant(self, action: Any) -> Any:
        from openenv.client.actions import action_of

        if action is None:
            raise UsageError("actions: expected one action for each slot, got None")
        return action_of(action, {}, self.backend.action_schema)

    def _one_each(self, what: str, values: Any, chosen: Sequence[int]) -> Any:
        if values is None:
            return [None] * len(chosen)
        try:
            count = len(values)
        except TypeError:
            raise UsageError(f"{what}: expected a sequence, got {type(values).__name__}") from None
        if count != len(chosen):
            raise UsageError(f"{what}: expected {len(chosen)}, one for each slot, got {count}")
        return values

    # On their way ------------------------------------------------------------------------------------

    def start(self, calls: Sequence[Call], *, claim: bool = False) -> None:
        """Send calls of slots that are free; what needs no session is answered here.

        Args:
            calls: the calls.
            claim: whether the caller waits for these slots; else the results go to whoever takes the next.
        """
        if calls and calls[0].timeout_s is not None and not self.backend.stoppable:
            raise UsageError(
                f"timeout_s={calls[0].timeout_s:g}: these sessions run one after another in a thread where "
                "nothing can be stopped; make the pool with host='thread', or with timeout_s"
            )
        slots = self.all
        for call in calls:
            if slots[call.slot].taken:
                self.pick([call.slot])  # says what to do
        going = []
        for call in calls:
            slot = slots[call.slot]
            slot.taken, slot.claimed = True, claim
            resetting = call.kind == "reset"
            if slot.standing is not _RUNNING and not resetting:
                if not self._prepare(slot, call):
                    continue
                resetting = call.kind == "reset"
            slot.resetting, slot.running, slot.loss = resetting, True, None
            going.append(call)
        if not claim:
            self.loose += len(calls)
        self.running += len(going)
        if going:
            self.hand_over(going, claim)

    def _prepare(self, slot: Slot, call: Call) -> bool:
        """Turn a step of a slot without a running episode into what its policy wants.

        Returns:
            Whether there is something to send.
        """
        if slot.loss is not None:
            self._hand_out(slot, slot.loss)
            slot.loss = None
            return False
        if slot.standing is Standing.NEW:
            return True  # the session knows whether it needs a reset
        if self.auto_reset is AutoReset.DISABLED:
            self._hand_out(slot, self._needs_reset(slot))
            return False
        call.kind, call.action, call.options = "reset", None, {}
        call.seed = self._next_seed(slot)
        return True

    def _needs_reset(self, slot: Slot) -> OrderError:
        why = "its session was lost" if slot.standing is Standing.LOST else "its episode ended"
        error = OrderError(
            f"step() of slot {slot.index}: {why}; reset(indices=[{slot.index}]) starts another episode",
            expected="reset",
            actual="step",
            episode=slot.episode,
            step=slot.step,
        )
        error.session_fate = "needs_reset"
        return error

    def _next_seed(self, slot: Slot) -> int | None:
        return None if slot.seeds is None else slot.seeds.getrandbits(32)

    # As they arrive ----------------------------------------------------------------------------------

    def pump(self) -> None:
        """Let the backend work, and note what has arrived."""
        arrivals = self.backend.pump()
        if not arrivals:
            return
        again: list[Call] = []
        slots, kept, arrived = self.all, self.kept, self.arrived
        ordinary = 0
        for index, answer in arrivals:
            slot = slots[index]
            if slot.resetting or type(answer) is not StepResult or answer.done:
                self._note(slot, answer, again)
                continue
            slot.running, slot.last = False, answer
            (kept if slot.claimed else arrived)[index] = answer
            ordinary += 1
        self._steps += ordinary
        self.running += len(again) - ordinary
        if again:
            self.backend.submit(again)

    def _note(self, slot: Slot, answer: Answer, again: list[Call]) -> None:
        """Note what is more than a step of a running episode."""
        if isinstance(answer, OpenEnvError):
            self._failed(slot, answer)
            return
        self.running -= 1
        slot.running = False
        slot.last, slot.failed_at = answer, None
        if slot.resetting:
            self._episodes += 1
        else:
            self._steps += 1
        slot.standing = Standing.ENDED if answer.done else Standing.RUNNING
        if slot.final is not None:
            answer, slot.final = _joined(slot.final, answer), None
        elif answer.done and self.auto_reset is AutoReset.SAME_STEP and not slot.resetting:
            slot.final = answer
            slot.resetting = slot.running = True
            again.append(Call(slot.index, "reset", None, self._next_seed(slot), {}))
            return
        self._hand_out(slot, answer)

    def _failed(self, slot: Slot, error: OpenEnvError) -> None:
        self._errors += 1
        gone = error.session_fate != "alive"
        if gone:
            self._lost += slot.standing is Standing.RUNNING and isinstance(error, SessionLost)
            self._place(slot, error)
        elif error.step is not None:
            slot.failed_at = error.step
        if not slot.running:
            # Nothing ran: the loss of an idle session, of which its next step will tell.
            if slot.standing is Standing.RUNNING:
                slot.loss = error
            if slot.standing is not Standing.NEW:
                slot.standing = Standing.LOST
            return
        self.running -= 1
        slot.running = False
        if gone or (slot.resetting and error.outcome is not StepOutcome.INVALID_ACTION):
            slot.standing = Standing.LOST
        if slot.final is not None:
            final, slot.final = slot.final, None
            slot.standing = Standing.ENDED
            self._hand_out(slot, _joined(final, error))
            return
        self._hand_out(slot, error)

    def _place(self, slot: Slot, error: OpenEnvError) -> None:
        if slot.standing is Standing.RUNNING:
            error.episode = error.episode or slot.episode
            error.step = slot.step if error.step is None else error.step

    def _hand_out(self, slot: Slot, answer: Answer) -> None:
        (self.kept if slot.claimed else self.arrived)[slot.index] = answer

    def take_all(self, chosen: Sequence[int]) -> list[Answer]:
        """Hand out the results of slots that were claimed."""
        slots, kept = self.all, self.kept
        for index in chosen:
            slots[index].taken = False
        return [kept.pop(index) for index in chosen]

    def take_first(self) -> tuple[int, Answer]:
        """Hand out the result that arrived first; its slot is free again."""
        index = next(iter(self.arrived))
        self.all[index].taken = False
        self.loose -= 1
        return index, self.arrived.pop(index)

    def unclaim(self, chosen: Sequence[int]) -> None:
        """Nobody waits for these slots any more: their results go to whoever takes the next one."""
        for index in chosen:
            slot = self.all[index]
            if slot.taken and slot.claimed:
                slot.claimed = False
                self.loose += 1
                if index in self.kept:
                    self.arrived[index] = self.kept.pop(index)

    def statistics(self) -> PoolStatistics:
        """Counts so far."""
        below = self.backend.statistics()
        return PoolStatistics(
            size=len(self.all),
            in_flight=self.running,
            arrived=len(self.arrived) + len(self.kept),
            episodes=self._episodes,
            steps=self._steps,
            errors=self._errors,
            lost=self._lost,
            workers=below.workers,
            replaced=below.replaced,
            shared_bytes=below.shared_bytes,
            waiting=below.waiting,
        )


def _joined(final: StepResult[Any], next_one: Answer) -> PoolResult[Any]:
    """The result of a step that ended an episode, together with the beginning of the next one."""
    failed = isinstance(next_one, OpenEnvError)
    begun: StepResult[Any] = final if isinstance(next_one, OpenEnvError) else next_one
    return PoolResult(
        observation=begun.observation,
        reward=final.reward,
        done=final.done,
        metadata=begun.metadata,
        outcome=final.outcome,
        status=final.status,
        reason=final.reason,
        components=final.components,
        seed=begun.seed,
        episode_id=begun.episode_id,
        step=begun.step,
        final=final,
        reset_error=next_one if failed else None,  # type: ignore[arg-type]
    )
