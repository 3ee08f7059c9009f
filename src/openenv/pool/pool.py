"""`Pool`: many sessions driven together by synchronous code. `AsyncPool` is its twin."""

from __future__ import annotations

import os
import select
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from openenv.errors import OrderError, PoolBusyError, UsageError
from openenv.pool.calls import Answer, AutoReset, Backend, Call, PoolStatistics, Ready
from openenv.pool.slots import Slots

if TYPE_CHECKING:
    from openenv.spaces import ActionSpace


class PoolFace:
    """What both faces of a pool share: everything but waiting."""

    def __init__(
        self, backend: Backend, count: int, *, auto_reset: AutoReset, max_in_flight: int | None = None
    ) -> None:
        if max_in_flight is not None and not max_in_flight > 0:
            raise UsageError(f"max_in_flight: expected a number above 0, got {max_in_flight!r}")
        self._backend = backend
        self._slots: Slots | None = Slots(backend, count, auto_reset)
        self._room = max_in_flight or count
        self._closed = False
        self._pid = os.getpid()
        self._space: ActionSpace | None = None
        # The slots refer to no face, so that a pool that is dropped without `close` is closed all the same.
        self._finalizer = weakref.finalize(self, _close, backend, os.getpid())

    def __len__(self) -> int:
        return len(self._core().all)

    @property
    def auto_reset(self) -> AutoReset:
        """What happens when an episode ended."""
        return self._core().auto_reset

    @property
    def idle(self) -> list[int]:
        """Slots that take a call now."""
        return [slot.index for slot in self._core().all if not slot.taken]

    @property
    def workers(self) -> list[int]:
        """Process ids of the workers that are alive; empty where there are none."""
        return self._core().backend.pids

    @property
    def action_space(self) -> ActionSpace:
        """The space of valid actions: `.sample()`, `.seed(s)`, `.contains(action)`."""
        from openenv.spaces import ActionSpace

        if self._space is None:
            self._space = ActionSpace(self._core().backend.action_schema())
        return self._space

    def statistics(self) -> PoolStatistics:
        """Counts so far."""
        return self._core().statistics()

    def _core(self) -> Slots:
        if self._slots is None:
            raise OrderError("This pool has not been started", expected="async with", actual="a call")
        return self._slots

    def _open(self) -> Slots:
        slots = self._core()
        if self._closed:
            raise OrderError("This pool is closed", expected="nothing", actual="a call")
        if self._pid != os.getpid():
            raise UsageError("This pool belongs to the process that this one was forked from: make one here")
        return slots

    def _fits(self, calls: Sequence[Call]) -> bool:
        """Whether the calls may be sent now.

        Raises:
            UsageError: they never fit.
        """
        if len(calls) > self._room:
            raise UsageError(
                f"{len(calls)} calls at once, and max_in_flight is {self._room}: send fewer at a time"
            )
        return self._core().running + len(calls) <= self._room

    def _chunks(self, calls: Sequence[Call]) -> Iterator[Sequence[Call]]:
        for start in range(0, len(calls), self._room):
            yield calls[start : start + self._room]

    def _busy(self, wait_s: float) -> PoolBusyError:
        return PoolBusyError(
            f"no room after {wait_s:g} s: {self._core().running} calls run and max_in_flight is {self._room}"
        )

    def _alarm(self, until: float | None) -> float | None:
        alarm = self._backend.alarm()
        if alarm is None or (until is not None and until < alarm):
            return until
        return alarm

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)}: {self._backend!r}>"


class Pool(PoolFace):
    """Sessions of one environment, driven together. Make one with `openenv.make_pool`.

    Every outcome is a `StepResult` or the typed error of that slot: a session that fails never fails the
    others. Calls of several threads follow each other.
    """

    def __init__(
        self, backend: Backend, count: int, *, auto_reset: AutoReset, max_in_flight: int | None = None
    ) -> None:
        super().__init__(backend, count, auto_reset=auto_reset, max_in_flight=max_in_flight)
        self._lock = threading.RLock()
        self._poll = select.poll()
        self._poll.register(backend.fileno(), select.POLLIN)

    def reset(
        self,
        seeds: int | Sequence[int | None] | None = None,
        indices: Iterable[int] | None = None,
        *,
        options: Mapping[str, Any] | Sequence[Mapping[str, Any] | None] | None = None,
        timeout_s: float | None = None,
    ) -> list[Answer]:
        """Start episodes.

        Args:
            seeds: a seed for each slot; a single number is the seed of slot 0, counting up from there.
                A slot with a seed draws the seeds of its automatic resets from it.
            indices: the slots; all of them if absent.
            options: further arguments of the environment's reset: one mapping for all slots, or one each.
            timeout_s: deadline of each call in seconds.

        Returns:
            One outcome for each slot, in the order of `indices`.

        Raises:
            UsageError: seeds, indices or options that do not fit.
            OrderError: a slot whose last result has not been taken, or the pool is closed.
        """
        with self._lock:
            slots = self._open()
            chosen = slots.pick(indices)
            return self._gather(chosen, slots.resets(chosen, seeds, options, timeout_s))

    def step(
        self,
        actions: Sequence[Any],
        indices: Iterable[int] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> list[Answer]:
        """Take a step in every slot, or in those named.

        Args:
            actions: an action for each slot: a model, a dict, or the bare value of an action with one field.
            indices: the slots; all of them if absent.
            timeout_s: deadline of each call in seconds; needs `host="thread"`.

        Returns:
            One outcome for each slot, in the order of `indices`.

        Raises:
            UsageError: actions or indices that do not fit.
            OrderError: a slot whose last result has not been taken, or the pool is closed.
        """
        with self._lock:
            slots = self._open()
            chosen = slots.pick(indices)
            return self._gather(chosen, slots.steps(chosen, actions, timeout_s))

    def send(
        self,
        actions: Sequence[Any],
        indices: Iterable[int] | None = None,
        *,
        timeout_s: float | None = None,
        wait_s: float | None = None,
    ) -> None:
        """Start steps and return; `recv`, or iterating over the pool, gives the results as they arrive.

        Args:
            actions: an action for each slot.
            indices: the slots; all of them if absent.
            timeout_s: deadline of each call in seconds; needs `host="thread"`.
            wait_s: how long to wait for room when `max_in_flight` calls run; None waits for ever.

        Raises:
            PoolBusyError: there was no room in time; nothing was sent.
        """
        with self._lock:
            slots = self._open()
            self._send(slots.steps(slots.pick(indices), actions, timeout_s), wait_s)

    def send_reset(
        self,
        seeds: int | Sequence[int | None] | None = None,
        indices: Iterable[int] | None = None,
        *,
        options: Mapping[str, Any] | Sequence[Mapping[str, Any] | None] | None = None,
        timeout_s: float | None = None,
        wait_s: float | None = None,
    ) -> None:
        """Start resets and return; the arguments are those of `reset` and `send`."""
        with self._lock:
            slots = self._open()
            self._send(slots.resets(slots.pick(indices), seeds, options, timeout_s), wait_s)

    def recv(self, count: int = 1, *, timeout_s: float | None = None) -> list[Ready]:
        """Take results in the order of their arrival.

        Args:
            count: how many to wait for; whatever has arrived by then is returned.
            timeout_s: how long to wait; fewer than `count` are returned then, or none.

        Raises:
            OrderError: nothing is on its way.
        """
        with self._lock:
            slots = self._open()
            if not slots.loose:
                raise OrderError("recv(): no call is on its way", expected="send()", actual="recv()")
            until = None if timeout_s is None else time.monotonic() + timeout_s
            while len(slots.arrived) < min(count, slots.loose):
                if not self._wait(until):
                    break
            return [Ready(*slots.take_first()) for _ in range(len(slots.arrived))]

    def __iter__(self) -> Iterator[Ready]:
        """Results as they arrive, until none is on its way; send more from inside the loop."""
        while not self._closed and self._core().loose:
            with self._lock:
                slots = self._open()
                while not slots.arrived:
                    self._wait(None)
                ready = Ready(*slots.take_first())
            yield ready

    def close(self) -> None:
        """End every session, every worker and every connection. A second call does nothing."""
        with self._lock:
            self._closed = True
            self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _gather(self, chosen: Sequence[int], calls: Sequence[Call]) -> list[Answer]:
        slots = self._open()
        begun: list[int] = []
        try:
            for chunk in self._chunks(calls):
                while not self._fits(chunk):
                    self._wait(None)
                slots.start(chunk, claim=True)
                begun += [call.slot for call in chunk]
            kept = slots.kept
            for index in chosen:
                while index not in kept:
                    self._wait(None)
            return slots.take_all(chosen)
        except BaseException:
            slots.unclaim(begun)
            raise

    def _send(self, calls: Sequence[Call], wait_s: float | None) -> None:
        until = None if wait_s is None else time.monotonic() + wait_s
        while not self._fits(calls):
            if not self._wait(until):
                raise self._busy(wait_s or 0.0)
        self._open().start(calls)

    def _wait(self, until: float | None) -> bool:
        """Wait for the backend and let it work; False if the time is up."""
        alarm = self._alarm(until)
        patience = None if alarm is None else max(0.0, (alarm - time.monotonic()) * 1000.0)
        woken = self._poll.poll(patience)
        if not woken and until is not None and time.monotonic() >= until:
            return False
        self._core().pump()
        return True


def _close(backend: Backend, pid: int) -> None:
    if pid == os.getpid():
        backend.close()
