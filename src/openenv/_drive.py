"""One body for code that calls functions which may be sync or async.

The body is a generator that yields each awaitable it meets and is sent back its result. `drive` runs it
on the spot; only when it really meets an awaitable does the caller get a coroutine, which carries
on from there. So sync code stays sync, even inside a running loop, and nothing is written twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Generator
from inspect import isawaitable, iscoroutine
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

ValueT = TypeVar("ValueT")

Steps = Generator[Awaitable[Any], Any, ValueT]
"""A generator that yields awaitables and returns a `ValueT`."""


_waiting: WeakKeyDictionary[Coroutine[Any, Any, Any], Awaitable[Any]] = WeakKeyDictionary()
"""What each coroutine that `drive` returned would await first."""


def drive(steps: Steps[ValueT]) -> ValueT | Coroutine[Any, Any, ValueT]:
    """Run `steps` until it ends or meets its first awaitable.

    Returns:
        Its value, or a coroutine of its value if something has to be awaited first.
    """
    try:
        pending = next(steps)
    except StopIteration as stop:
        value: ValueT = stop.value
        return value
    coroutine = _continue(steps, pending)
    _waiting[coroutine] = pending
    return coroutine


def discard(value: object) -> None:
    """Close `value` if it is a coroutine that nobody is going to await, and what it was waiting for."""
    if iscoroutine(value):
        discard(_waiting.pop(value, None))
        value.close()


def settle(value: Any) -> Any:
    """Run `value` to its end if it is awaitable and no event loop runs in this thread.

    Returns:
        What it came to, or `value` itself.
    """
    if not isawaitable(value):
        return value
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_wait(value))
    return value


async def _wait(value: Awaitable[ValueT]) -> ValueT:
    return await value


async def _continue(steps: Steps[ValueT], pending: Awaitable[Any]) -> ValueT:
    try:
        while True:
            try:
                result = await pending
            except (
                BaseException
            ) as error:  # boundary: every failure, cancellation included, belongs to the body
                pending = steps.throw(error)
            else:
                pending = steps.send(result)
    except StopIteration as stop:
        value: ValueT = stop.value
        return value
    finally:
        steps.close()
