"""Groups and single sessions on our own server, where arrays travel as arrays."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from openenv import Action, Environment, Observation
from openenv.client import AsyncSessionGroup, SessionGroup, connect, make_remote
from openenv.errors import InvalidActionError, OrderError, SessionLost
from openenv.server.app import make_app
from openenv.server.run import BackgroundServer
from openenv.server.settings import ServerSettings


class Picture(Observation):
    pixels: Any
    raw: bytes


class Painter(Environment):
    """Paints with one colour."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def reset(self) -> Picture:
        return self.painted(0)

    def step(self, colour: int) -> Picture:
        return self.painted(colour)

    @staticmethod
    def painted(colour: int) -> Picture:
        return Picture(pixels=np.full((2, 3), colour, dtype=np.uint8), raw=b"\xff\x00")


@pytest.fixture
def url() -> Iterator[str]:
    server = BackgroundServer(make_app(Painter, ServerSettings(host="127.0.0.1", max_sessions=8)))
    yield server.start()
    server.stop()


def test_a_group_gets_arrays(url: str) -> None:
    with SessionGroup(url) as group:
        group.open_many(3, lease_s=5)
        first = [outcome.unwrap().observation["pixels"] for outcome in group.reset()]
        assert all(isinstance(pixels, np.ndarray) for pixels in first)
        outcomes = group.step(None, [{"colour": 7}, {"colour": 8}, {"paint": 9}])
        for outcome, colour in zip(outcomes[:2], (7, 8), strict=True):
            observation = outcome.unwrap().observation
            np.testing.assert_array_equal(observation["pixels"], np.full((2, 3), colour))
            assert observation["raw"] == b"\xff\x00"
        assert isinstance(outcomes[2].error, InvalidActionError)
        assert [outcome.ok for outcome in group.as_ready([2], [{"colour": 1}])] == [True]
        assert group.statistics().connections == 1
        group.replace([1])
        [early] = group.step([1], [{"colour": 1}])
        assert isinstance(early.error, OrderError)


class Paint(Action):
    colour: int


@pytest.mark.parametrize("arrays", [False, True])
def test_a_text_that_cannot_travel_concerns_its_own_session(url: str, arrays: bool) -> None:
    with SessionGroup(url, arrays=arrays) as group:
        group.open_many(3)
        group.reset()
        actions = [Paint(colour=3), {"colour": "\ud800"}, {"colour": np.int64(5)}]
        outcomes = group.step(None, actions)
        assert [outcome.ok for outcome in outcomes] == [True, False, True]
        assert isinstance(outcomes[1].error, InvalidActionError)
        assert "colour" in outcomes[1].error.message
        assert [outcome.unwrap().step for outcome in group.step(None, [{"colour": 1}] * 3)] == [2, 1, 2]
        group.send_step(None, [{"colour": 1}, {"colour": "\ud800"}, {"colour": 1}])
        assert sorted((outcome.index, outcome.ok) for outcome in group.recv(3)) == [
            (0, True),
            (1, False),
            (2, True),
        ]


async def test_a_text_that_cannot_travel_on_an_asynchronous_group(url: str) -> None:
    async with AsyncSessionGroup(url) as group:
        await group.open_many(2)
        await group.reset()
        outcomes = await group.step(None, [{"colour": "\ud800"}, {"colour": 1}])
        assert [outcome.ok for outcome in outcomes] == [False, True]


def test_a_group_that_speaks_json_gets_lists(url: str) -> None:
    with SessionGroup(url, arrays=False) as group:
        group.open_many(1)
        assert group.reset()[0].unwrap().observation["pixels"] == [[0, 0, 0]] * 2


def test_single_sessions_choose(url: str) -> None:
    with make_remote(url) as env:
        assert env.reset().pixels == [[0, 0, 0]] * 2
    with make_remote(url, arrays=True, models=False) as env:
        env.reset()
        np.testing.assert_array_equal(env.step(colour=3).observation["pixels"], np.full((2, 3), 3))

    async def one() -> Any:
        async with connect(url, arrays=True, models=False) as env:
            await env.reset()
            return (await env.step(colour=4)).observation["pixels"]

    np.testing.assert_array_equal(asyncio.run(one()), np.full((2, 3), 4))


async def test_an_asynchronous_group(url: str) -> None:
    async with AsyncSessionGroup(url) as group:
        await group.open_many(4)
        assert all(outcome.ok for outcome in await group.reset())
        ready = [outcome async for outcome in group.as_ready(None, [{"colour": n} for n in range(4)])]
        assert sorted(outcome.unwrap().observation["pixels"][0, 0] for outcome in ready) == [0, 1, 2, 3]


@pytest.mark.parametrize("arrays", [False, True])
def test_a_session_survives_its_socket(url: str, arrays: bool) -> None:
    with make_remote(url, arrays=arrays, models=False) as env:
        env.reset(episode_id="a")
        for step in range(1, 4):
            _break(env)
            result = env.step(colour=step)
            assert (result.step, result.episode_id) == (step, "a")
    with SessionGroup(url, arrays=arrays) as group:
        group.open_many(3)
        group.reset()
        for step in range(1, 4):
            _break(group)
            assert [outcome.unwrap().step for outcome in group.step(None, [{"colour": 1}] * 3)] == [step] * 3


def test_no_reconnection_where_none_is_wanted(url: str) -> None:
    with make_remote(url, models=False, reconnect=False) as env:
        env.reset(episode_id="a")
        _break(env)
        with pytest.raises(SessionLost) as caught:
            env.step(colour=1)
        assert (caught.value.episode, caught.value.step) == ("a", 0)


def _break(client: Any) -> None:
    """Shut the socket of a client down behind its back."""
    lanes = getattr(client, "_lanes", None) or [client._backend.session.connection]
    lanes[0]._socket.shutdown(socket.SHUT_RDWR)
