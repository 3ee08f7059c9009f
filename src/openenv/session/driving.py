"""Running a session's rules: the rules yield calls into the environment, a driver makes them.

A rule is a generator that yields thunks. The synchronous driver runs each on the spot, the asynchronous
one awaits what it returns; both turn whatever the environment raises into a typed error and throw that
back into the rule, so that each rule is written once.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Generator
from typing import Any

from openenv._drive import discard
from openenv.environment import EnvironmentSpec
from openenv.errors import EnvironmentFailedError, OpenEnvError, UsageError
from openenv.session.deadline import Abandoned, Call, Interrupted
from openenv.types import StepResult

Thunk = Callable[[], Any]
Flow = Generator[Thunk, Any, StepResult[Any]]
Failed = Callable[[str, BaseException], EnvironmentFailedError]


_AWAITABLE: dict[type, bool] = {}


def is_awaitable(value: Any) -> bool:
    """Whether a value must be awaited, remembered by its type: each step asks this twice."""
    kind = type(value)
    known = _AWAITABLE.get(kind)
    if known is None:
        if len(_AWAITABLE) > 4096:
            _AWAITABLE.clear()  # classes made on the fly must not pile up
        known = _AWAITABLE[kind] = inspect.isawaitable(value)
    return known


def drive(name: str, flow: Flow, failed: Failed, spec: EnvironmentSpec, call: Call | None) -> StepResult[Any]:
    """Run a rule to its end in this thread.

    Args:
        name: name of the call, for errors.
        flow: the rule.
        failed: makes the typed error for what the environment raised in that call; raises what it did not.
        spec: the environment: an instance that it made for a call that expired is closed.
        call: the call's deadline, if it has one.

    Raises:
        Abandoned: the deadline passed.
    """
    try:
        thunk = next(flow)
        while True:
            try:
                if call is not None:
                    value = _bounded(thunk, spec, call)
                else:
                    value = thunk()
                    if _AWAITABLE.get(type(value), True) and is_awaitable(value):
                        value = resolve(value)
            except OpenEnvError as error:
                thunk = flow.throw(error)
            except (Abandoned, Interrupted):
                raise
            except BaseException as problem:  # Boundary: the environment's own code.
                thunk = flow.throw(failed(name, problem))
            else:
                thunk = flow.send(value)
    except StopIteration as stop:
        result: StepResult[Any] = stop.value
        return result


def _bounded(thunk: Thunk, spec: EnvironmentSpec, call: Call) -> Any:
    """Run a thunk as the environment's turn of a call that may expire."""
    value = None
    call.enter()
    try:
        value = thunk()
        if is_awaitable(value):
            value = resolve(value)
    finally:
        try:
            call.leave()
        except Abandoned as gone:
            if thunk == spec.make and value is not None:
                gone.environment = value
            raise
    return value


async def adrive(name: str, flow: Flow, failed: Failed, given_up: Callable[[], bool]) -> StepResult[Any]:
    """Run a rule to its end on the running loop.

    Args:
        name: name of the call, for errors.
        flow: the rule.
        failed: makes the typed error for what the environment raised in that call; raises what it did not.
        given_up: whether the call's deadline passed while the environment was awaited.

    Raises:
        Abandoned: the deadline passed, and the environment swallowed the cancellation.
    """
    try:
        thunk = next(flow)
        while True:
            try:
                value = thunk()
                if is_awaitable(value):
                    value = await value
                if given_up():
                    raise Abandoned
            except OpenEnvError as error:
                thunk = flow.throw(error)
            except Abandoned:
                raise
            except BaseException as problem:  # Boundary: the environment's own code.
                if is_own_cancellation(problem):
                    raise
                thunk = flow.throw(failed(name, problem))
            else:
                thunk = flow.send(value)
    except StopIteration as stop:
        result: StepResult[Any] = stop.value
        return result


def off_the_loop(thunk: Thunk) -> Thunk:
    """Make a synchronous call of an asynchronous environment in a thread, where it delays nobody else."""

    def guarded() -> Any:
        try:
            return thunk()
        except StopIteration as stop:  # which no future can carry
            raise RuntimeError(f"the environment raised StopIteration({stop.value!r})") from stop

    async def call() -> Any:
        value = await asyncio.to_thread(guarded)
        return await value if inspect.isawaitable(value) else value

    return call


def resolve(value: Any) -> Any:
    """Run an awaitable (an async rubric of a synchronous environment) to its end in this thread.

    Raises:
        UsageError: an event loop runs in this thread.
    """
    if not inspect.isawaitable(value):
        return value

    async def wait() -> Any:
        return await value

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(wait())
    discard(value)
    raise UsageError(
        "This environment is asynchronous: in a running event loop use its asynchronous face "
        "(openenv.connect, or Session.areset and Session.astep)"
    )


def is_own_cancellation(problem: BaseException) -> bool:
    """Whether the running task was cancelled, and not only something that the environment awaited."""
    if not isinstance(problem, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
