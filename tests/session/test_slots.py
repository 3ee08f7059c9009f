"""A manager whose slots are counted elsewhere."""

from __future__ import annotations

import asyncio

import pytest

from openenv import Environment
from openenv.environment import describe
from openenv.errors import OpenEnvError, SessionCapacityError, SessionLost
from openenv.session import SessionManager
from openenv.session.names import short_id, suffix_of, worker_of


class Game(Environment):
    def step(self, number: int) -> str:
        return str(number)


class Elsewhere:
    """Slots of two managers."""

    suffix = suffix_of(7)
    waiting = 2

    def __init__(self, most: int) -> None:
        self.left = most
        self.clients: list[str | None] = []
        self.closing: SessionManager | None = None

    async def take(self, wait: bool, client: str | None) -> None:
        self.clients.append(client)
        await asyncio.sleep(0)
        if not self.left:
            raise SessionCapacityError(1, 1)
        self.left -= 1
        if self.closing is not None:
            await self.closing.drain(1.0)

    def give_back(self) -> None:
        self.left += 1

    def missing(self, session_id: str) -> OpenEnvError:
        return SessionLost("gone", session=session_id)


async def test_slots_are_taken_and_given_back_elsewhere() -> None:
    slots = Elsewhere(1)
    one, two = (SessionManager(describe(Game), shared=slots) for _ in range(2))
    hosted = await one.open(owner="test", client="1.2.3.4")
    assert hosted.id.endswith("-w7")
    assert one.statistics().queued == 2
    with pytest.raises(SessionCapacityError):
        await two.open(owner="test", wait=False)
    assert (two.statistics().rejected, two.active, slots.left) == (1, 0, 0)
    await one.close(hosted.id)
    assert slots.left == 1
    with pytest.raises(SessionLost):
        one.get(hosted.id)
    other = await two.open(owner="test")
    assert slots.clients == ["1.2.3.4", None, None]
    await two.close(other.id)
    await one.drain(1.0)
    await two.drain(1.0)


async def test_a_slot_that_comes_while_the_server_stops_is_given_back() -> None:
    slots = Elsewhere(1)
    manager = SessionManager(describe(Game), shared=slots)
    slots.closing = manager
    with pytest.raises(SessionCapacityError, match="shutting down"):
        await manager.open(owner="test")
    assert (slots.left, manager.active) == (1, 0)


def test_names_of_sessions() -> None:
    assert worker_of("abc-w12") == 12
    for session_id in ("abc", "w12", "abc-w", "abc-w1x", "abc-w1\n", "abc-w1234567890"):
        assert worker_of(session_id) is None
    assert short_id("0123456789abcdef-w3") == "01234567-w3"
    assert short_id("0123456789abcdef") == "01234567"
