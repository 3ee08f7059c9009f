"""The driver of generators that may meet awaitables."""

import asyncio
import gc
import inspect

import pytest

from openenv._drive import discard, drive, settle


async def later(value):
    await asyncio.sleep(0)
    return value


def add(*values):
    total = 0
    for value in values:
        total += (yield value) if inspect.isawaitable(value) else value
    return total


def test_settling_runs_what_must_be_awaited():
    assert settle(5) == 5
    assert settle(later(5)) == 5


async def test_settling_inside_a_loop_leaves_it_to_the_caller():
    assert await settle(later(5)) == 5


def test_sync_steps_give_their_value_at_once():
    assert drive(add(1, 2)) == 3


async def test_the_first_awaitable_makes_it_a_coroutine():
    coroutine = drive(add(1, later(2), 3, later(4)))
    assert inspect.iscoroutine(coroutine)
    assert await coroutine == 10


async def test_a_failed_awaitable_fails_inside_the_steps():
    async def fail():
        raise LookupError("gone")

    def steps():
        try:
            yield fail()
        except LookupError as error:
            return str(error)

    assert await drive(steps()) == "gone"


def test_a_failure_before_any_awaitable_is_raised_by_the_call():
    def steps():
        raise LookupError("at once")
        yield

    with pytest.raises(LookupError, match="at once"):
        drive(steps())


def test_discard_closes_what_nobody_awaits_down_to_the_innermost():
    def outer():
        return (yield drive(add(later(1))))

    discard(drive(outer()))
    discard(1.0)
    gc.collect()
