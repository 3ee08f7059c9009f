"""`SessionGroup` against a server of the extended protocol, and against a plain one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from tests.client.extended_server import Cuts, ExtendedWorld, cut
from tests.client.scripted import Peer, ScriptedServer, counting

from openenv.client import AsyncSessionGroup, SessionGroup
from openenv.client.loop_thread import LoopThread
from openenv.errors import EnvironmentFailedError, SessionCapacityError, SessionLost, UsageError

Start = Callable[..., ScriptedServer]


def single(peer: Peer) -> None:
    """A server that speaks the extended protocol and knows one session per connection."""
    peer.accept(extended=True)
    peer.counter()


class Bridged:
    """An `AsyncSessionGroup` with the face of a `SessionGroup`."""

    def __init__(self, url: str, **options: Any) -> None:
        self.loop = LoopThread()
        self.group = AsyncSessionGroup(url, **options)

    def __enter__(self) -> Bridged:
        return self

    def __exit__(self, *exc: object) -> None:
        self.loop.run(self.group.__aexit__(*exc))
        self.loop.stop()

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.group, name)
        return partial(self._call, value) if callable(value) else value

    def _call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        async def made() -> Any:
            answer = method(*arguments, **options)
            if isinstance(answer, AsyncIterator):
                return [each async for each in answer]
            return await answer if isinstance(answer, Awaitable) else answer

        return self.loop.run(made())


Group = type[SessionGroup] | type[Bridged]


@pytest.fixture(params=[SessionGroup, Bridged], ids=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Group:
    found: Group = request.param
    return found


@pytest.mark.parametrize("speaks", ["extended", "single", "plain"])
def test_many_sessions(kind: Group, scripted: Start, world: ExtendedWorld, speaks: str) -> None:
    server = scripted({"extended": world.script, "single": single, "plain": counting}[speaks])
    plain = speaks != "extended"
    with kind(server.url) as group:
        assert group.open_many(3) == [0, 1, 2]
        started = group.reset(seeds=[5, None, 7], episode_ids=["a", "b", "c"])
        assert [outcome.unwrap().observation["count"] for outcome in started] == [0, 0, 0]
        assert [outcome.unwrap().episode_id for outcome in started] == ["a", "b", "c"]
        assert [outcome.unwrap().seed for outcome in started] == [5, None, 7]
        assert [o.index for o in group.step([2, 0], [{"by": 1}, {"by": 2}])] == [2, 0]
        assert [o.unwrap().step for o in group.step(None, [{"by": 1}] * 3)] == [2, 1, 2]
        assert [o.state["step_count"] for o in group.state()] == [2, 1, 2]
        statistics = group.statistics()
        assert (statistics.sessions, statistics.extended) == (3, not plain)
        assert statistics.connections == (3 if plain else 1)
        group.close([1])
        assert group.indices == [0, 2]
        assert group.open_many(1) == [3]
        assert group.reset([3])[0].ok
    if not plain:
        assert sum(request["type"] == "batch" for request in world.seen) == 5


@pytest.mark.parametrize("plain", [False, True])
def test_results_as_they_come(kind: Group, scripted: Start, world: ExtendedWorld, plain: bool) -> None:
    server = scripted(counting if plain else world.script)
    with kind(server.url) as group:
        group.open_many(4)
        group.send_reset(seeds=[1, 2, 3, 4])
        assert group.pending == 4
        assert sorted(outcome.index for outcome in group.recv(4)) == [0, 1, 2, 3]
        assert (group.pending, group.recv(), group.recv(timeout_s=0.1)) == (0, [], [])
        group.send_step([1, 3], [{"by": 1}] * 2)
        [busy] = group.step([3], [{"by": 1}])
        assert isinstance(busy.error, UsageError)
        group.send_step([3], [{"by": 1}])
        outcomes = group.recv(3)
        assert sorted(outcome.index for outcome in outcomes if outcome.ok) == [1, 3]
        assert [type(outcome.error) for outcome in outcomes if not outcome.ok] == [UsageError]
        assert sorted(outcome.index for outcome in group.as_ready(None, [{"by": 1}] * 4)) == [0, 1, 2, 3]


def test_one_that_fails_does_not_fail_the_others(kind: Group, scripted: Start, world: ExtendedWorld) -> None:
    with kind(scripted(world.script).url) as group:
        group.open_many(3)
        group.reset()
        fine, unlucky, also = group.step(None, [{"by": 1}, {"by": 13}, {"by": 1}])
        assert fine.ok
        assert also.ok
        assert isinstance(unlucky.error, EnvironmentFailedError)
        with pytest.raises(EnvironmentFailedError):
            unlucky.unwrap()
        del world.sessions["s2"]
        outcomes = group.step(None, [{"by": 1}] * 3)
        assert [outcome.ok for outcome in outcomes] == [True, True, False]
        error = outcomes[2].error
        assert isinstance(error, SessionLost)
        assert (error.session, error.episode, error.step) == ("s2", "e", 1)
        assert group.lost == [2]
        [again] = group.reset([2])
        assert isinstance(again.error, SessionLost), "a lost session is not replaced behind one's back"
        group.replace([2])
        assert group.reset([2])[0].ok
        assert group.lost == []


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("as_ready", [False, True])
def test_a_broken_connection_is_not_noticed(
    kind: Group, scripted: Start, world: ExtendedWorld, moment: str, as_ready: bool
) -> None:
    setattr(world, moment, Cuts("step" if as_ready else "batch", 1, 4, 5, 9))
    with kind(scripted(world.script).url) as group:
        group.open_many(3)
        for start in range(2):
            assert all(outcome.ok for outcome in group.reset(seeds=[start] * 3))
            for step in range(1, 9):
                actions = [{"by": 100 * index + step} for index in range(3)]
                if as_ready:
                    group.send_step(None, actions)
                    outcomes = sorted(group.recv(3), key=lambda outcome: outcome.index)
                else:
                    outcomes = group.step(None, actions)
                assert [outcome.unwrap().step for outcome in outcomes] == [step] * 3
        assert group.statistics().reconnects == 4
        for index in range(3):
            assert world.sessions[f"s{index}"].executed == [100 * index + step for step in range(1, 9)]


def test_sessions_that_are_gone_after_a_reconnect(kind: Group, scripted: Start, world: ExtendedWorld) -> None:
    def breaks(peer: Peer, request: dict[str, Any]) -> None:
        if request["type"] == "batch" and len(world.heads) < 2 and world.sessions["s1"].count:
            del world.sessions["s1"]
            cut(peer)

    world.after = breaks
    with kind(scripted(world.script).url) as group:
        group.open_many(3)
        group.reset(episode_ids=["a", "b", "c"])
        outcomes = group.step(None, [{"by": 1}] * 3)
        assert [outcome.ok for outcome in outcomes] == [True, False, True]
        error = outcomes[1].error
        assert isinstance(error, SessionLost)
        assert (error.session, error.episode, error.step) == ("s1", "b", 0)
        assert error.session_fate == "closed"


@pytest.mark.parametrize("as_ready", [False, True])
def test_a_server_that_does_not_come_back(
    kind: Group, scripted: Start, world: ExtendedWorld, as_ready: bool
) -> None:
    server = scripted(world.script)
    with kind(server.url, reconnect_timeout_s=0.3) as group:
        group.open_many(2)
        group.reset()
        group.step(None, [{"by": 1}] * 2)
        server.stop()
        if as_ready:
            group.send_step(None, [{"by": 1}] * 2)
            outcomes = group.recv(2)
        else:
            outcomes = group.step(None, [{"by": 1}] * 2)
        assert sorted(outcome.index for outcome in outcomes) == [0, 1]
        for outcome in outcomes:
            assert isinstance(outcome.error, SessionLost)
            assert (outcome.error.session, outcome.error.step) == (f"s{outcome.index}", 1)


def test_all_or_none_are_opened(kind: Group, scripted: Start, world: ExtendedWorld) -> None:
    world.max_sessions = 2
    with kind(scripted(world.script).url) as group:
        with pytest.raises(SessionCapacityError):
            group.open_many(3)
        assert (group.indices, world.sessions) == ([], {})
        assert group.open_many(2) == [0, 1]


def test_mistakes(kind: Group, scripted: Start, world: ExtendedWorld) -> None:
    with kind(scripted(world.script).url) as group:
        group.open_many(2)
        for mistake in (
            lambda: group.open_many(-1),
            lambda: group.step([0, 0], [{}, {}]),
            lambda: group.step([5], [{}]),
            lambda: group.step([0], [{}, {}]),
            lambda: group.reset(seeds=[1]),
        ):
            with pytest.raises(UsageError, match=r"expected|open are|named twice"):
                mistake()
