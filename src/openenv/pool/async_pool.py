"""`AsyncPool`: many sessions driven together by coroutines. The twin of `Pool`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, Self

from openenv.errors import OrderError, UsageError
from openenv.pool.calls import Answer, AutoReset, Backend, Call, Ready
from openenv.pool.pool import PoolFace
from openenv.pool.slots import Slots


class AsyncPool(PoolFace):
    """Sessions of one environment, driven together from one event loop. Make one with `openenv.connect_pool`.

    ``async with openenv.connect_pool(...) as pool`` starts and closes it; ``pool = await ...`` starts it.
    Several coroutines may each drive their own slots.
    """

    def __init__(
        self,
        start: Callable[[], Backend],
        count: int,
        *,
        auto_reset: AutoReset,
        max_in_flight: int | None = None,
    ) -> None:
        self._slots = None
        self._start = start
        self._count = count
        self._options: dict[str, Any] = {"auto_reset": auto_reset, "max_in_flight": max_in_flight}
        self._opening: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: list[asyncio.Future[None]] = []
        self._alarm_set: asyncio.TimerHandle | None = None
        self._outgoing: list[Call] = []
        self._together = True

    async def reset(
        self,
        seeds: int | Sequence[int | None] | None = None,
        indices: Iterable[int] | None = None,
        *,
        options: Mapping[str, Any] | Sequence[Mapping[str, Any] | None] | None = None,
        timeout_s: float | None = None,
    ) -> list[Answer]:
        """Start episodes; see `Pool.reset`."""
        slots = self._open()
        chosen = slots.pick(indices)
        return await self._gather(chosen, slots.resets(chosen, seeds, options, timeout_s))

    async def step(
        self, actions: Sequence[Any], indices: Iterable[int] | None = None, *, timeout_s: float | None = None
    ) -> list[Answer]:
        """Take a step in every slot, or in those named; see `Pool.step`."""
        slots = self._open()
        chosen = slots.pick(indices)
        return await self._gather(chosen, slots.steps(chosen, actions, timeout_s))

    async def send(
        self,
        actions: Sequence[Any],
        indices: Iterable[int] | None = None,
        *,
        timeout_s: float | None = None,
        wait_s: float | None = None,
    ) -> None:
        """Start steps and return; see `Pool.send`."""
        slots = self._open()
        await self._send(slots.steps(slots.pick(indices), actions, timeout_s), wait_s)

    async def send_reset(
        self,
        seeds: int | Sequence[int | None] | None = None,
        indices: Iterable[int] | None = None,
        *,
        options: Mapping[str, Any] | Sequence[Mapping[str, Any] | None] | None = None,
        timeout_s: float | None = None,
        wait_s: float | None = None,
    ) -> None:
        """Start resets and return; see `Pool.send_reset`."""
        slots = self._open()
        await self._send(slots.resets(slots.pick(indices), seeds, options, timeout_s), wait_s)

    async def recv(self, count: int = 1, *, timeout_s: float | None = None) -> list[Ready]:
        """Take results in the order of their arrival; see `Pool.recv`."""
        slots = self._open()
        if not slots.loose:
            raise OrderError("recv(): no call is on its way", expected="send()", actual="recv()")
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while len(slots.arrived) < min(count, slots.loose):
            if not await self._wait(until):
                break
        return [Ready(*slots.take_first()) for _ in range(len(slots.arrived))]

    async def __aiter__(self) -> AsyncIterator[Ready]:
        """Results as they arrive, until none is on its way; send more from inside the loop."""
        slots = self._open()
        while not self._closed and slots.loose:
            if slots.arrived:
                yield Ready(*slots.take_first())
            else:
                await self._wait(None)

    async def start(self) -> Self:
        """Start the workers or open the connections, if that has not been done."""
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._loop is None:
                backend = await asyncio.to_thread(self._start)
                super().__init__(backend, self._count, **self._options)
                self._loop = asyncio.get_running_loop()
                self._core().hand_over = self._collect
                self._loop.add_reader(backend.fileno(), self._pump)
        return self

    async def close(self) -> None:
        """End every session, every worker and every connection. A second call does nothing."""
        if self._loop is None:
            return
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._backend.fileno())
            if self._alarm_set is not None:
                self._alarm_set.cancel()
            self._wake()
            await asyncio.to_thread(self._finalizer)

    def __await__(self) -> Generator[Any, None, Self]:
        return self.start().__await__()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return "<AsyncPool, not started>" if self._loop is None else super().__repr__()

    def _open(self) -> Slots:
        slots = super()._open()
        if asyncio.get_running_loop() is not self._loop:
            raise UsageError("This pool belongs to another event loop: make one for each loop")
        return slots

    async def _gather(self, chosen: Sequence[int], calls: Sequence[Call]) -> list[Answer]:
        slots = self._open()
        begun: list[int] = []
        try:
            for chunk in self._chunks(calls):
                while not self._fits(chunk):
                    await self._wait(None)
                self._begin(chunk, claim=True)
                begun += [call.slot for call in chunk]
            kept = slots.kept
            for index in chosen:
                while index not in kept:
                    await self._wait(None)
            return slots.take_all(chosen)
        except BaseException:
            slots.unclaim(begun)
            self._wake()
            raise

    async def _send(self, calls: Sequence[Call], wait_s: float | None) -> None:
        until = None if wait_s is None else time.monotonic() + wait_s
        while not self._fits(calls):
            if not await self._wait(until):
                raise self._busy(wait_s or 0.0)
        self._begin(calls)

    def _begin(self, calls: Sequence[Call], *, claim: bool = False) -> None:
        slots = self._open()
        slots.start(calls, claim=claim)
        if slots.arrived:
            self._wake()
        self._set_alarm()

    def _collect(self, calls: Sequence[Call], together: bool) -> None:
        """Gather the calls that coroutines make in one turn of the loop: they wake each worker once."""
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
            self._together = together
        else:
            self._together = False  # those who wait for one do not wait for the others
        self._outgoing += calls

    def _flush(self) -> None:
        calls, self._outgoing = self._outgoing, []
        if not self._closed:
            self._backend.submit(calls, self._together)
            self._set_alarm()

    async def _wait(self, until: float | None) -> bool:
        """Wait until something has arrived; False if the time is up."""
        self._open()
        loop = asyncio.get_running_loop()
        change = loop.create_future()
        self._changed.append(change)
        patience = None if until is None else max(0.0, until - time.monotonic())
        done, _ = await asyncio.wait([change], timeout=patience)
        return bool(done)

    def _pump(self) -> None:
        self._core().pump()
        self._wake()
        self._set_alarm()

    def _set_alarm(self) -> None:
        alarm = self._backend.alarm()
        if self._alarm_set is not None:
            self._alarm_set.cancel()
            self._alarm_set = None
        if alarm is not None and self._loop is not None:
            self._alarm_set = self._loop.call_later(max(0.0, alarm - time.monotonic()), self._pump)

    def _wake(self) -> None:
        waiting, self._changed = self._changed, []
        for change in waiting:
            if not change.done():
                change.set_result(None)
