"""The base class: the published interface, and stepping by hand."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from typing import Any

import pytest

from openenv.environment import Environment, action, tool
from openenv.errors import DefinitionError, UsageError
from openenv.protocol.mcp_types import CallToolAction, ListToolsAction
from openenv.types import Action, Observation, State


class Move(Action):
    by: int = 1


class Board(Observation):
    at: int = 0


class Published(Environment[Move, Board, State]):
    def __init__(self, transform: Any = None, rubric: Any = None) -> None:
        super().__init__(transform=transform, rubric=rubric)
        self._state = State(episode_id="e")

    def reset(self, seed: int | None = None, episode_id: str | None = None, **kwargs: Any) -> Board:
        self._reset_rubric()
        return Board(at=seed or 0)

    def step(self, action: Move, timeout_s: float | None = None, **kwargs: Any) -> Board:
        board = Board(at=action.by)
        board.reward = self._apply_rubric(action, board)
        return self._apply_transform(board)

    @property
    def state(self) -> State:
        return self._state


def double(board: Board) -> Board:
    return board.model_copy(update={"at": board.at * 2})


class Score:
    def __init__(self) -> None:
        self.resets = 0

    def __call__(self, action: Move, observation: Board) -> float:
        return float(observation.at)

    def reset(self) -> None:
        self.resets += 1


def test_published_interface():
    names = {
        "SUPPORTS_CONCURRENT_SESSIONS": False,
        "REQUIRES_SINGLE_THREAD_EXECUTOR": False,
    }
    for name, value in names.items():
        assert getattr(Environment, name) is value
    for name in ("reset_async", "step_async", "_apply_rubric_async", "_reset_rubric_async"):
        assert inspect.iscoroutinefunction(getattr(Environment, name))
    metadata = Published().get_metadata()
    assert (metadata.name, metadata.description, metadata.version) == (
        "Published",
        "Published environment",
        "1.0.0",
    )
    assert Published().render_web({}) is None
    assert Published().web_actions({}) == []
    Published().close()


async def test_async_forms_call_the_sync_ones():
    env = Published()
    assert (await env.reset_async(seed=4)).at == 4
    assert (await env.step_async(Move(by=2))).at == 2


async def test_async_forms_await_async_methods():
    class Slow(Environment):
        async def reset(self) -> str:
            return "r"

        async def step(self, x: int) -> str:
            return "s"

    assert await Slow().reset_async() == "r"
    assert await Slow().step_async(1) == "s"


async def test_rubric_and_transform_of_the_instance():
    score = Score()
    env = Published(transform=double, rubric=score)
    env.reset()
    board = env.step(Move(by=3))
    assert (board.at, board.reward, score.resets) == (6, 3.0, 1)
    assert await env._apply_rubric_async(Move(), Board(at=2)) == 2.0
    await env._reset_rubric_async()
    assert score.resets == 2
    bare = Published()
    assert bare._apply_rubric(Move(), Board()) == 0.0
    assert await bare._apply_rubric_async(Move(), Board()) == 0.0
    await bare._reset_rubric_async()


def test_an_asynchronous_rubric_scores_a_synchronous_step():
    async def rubric(action: Any, observation: Any) -> float:
        return 0.25

    board = Published(rubric=rubric).step(Move())
    assert board.reward == 0.25


async def test_rubrics_that_are_asynchronous():
    class Later:
        resets = 0

        async def __call__(self, action: Any, observation: Any) -> float:
            return 0.5

        async def reset_async(self) -> None:
            self.resets += 1

        def reset(self) -> None:
            raise AssertionError("reset_async is there")

    later = Later()
    env = Published(rubric=later)
    assert await env._apply_rubric_async(Move(), Board()) == 0.5
    await env._reset_rubric_async()
    assert later.resets == 1


def test_abstract_methods_of_authors_are_honoured():
    class Family(Environment):
        @abstractmethod
        def board(self) -> str: ...

    class Member(Family):
        def board(self) -> str:
            return "b"

    with pytest.raises(TypeError, match="abstract"):
        Family()
    assert Member().board() == "b"


def test_a_bare_class_can_be_made_and_reset():
    class Bare(Environment):
        pass

    env = Bare()
    assert env.reset(seed=1) is None
    with pytest.raises(DefinitionError, match="nothing to do"):
        env.step(1)


class Tools(Environment):
    @tool
    def add(self, a: int, b: int = 1) -> int:
        return a + b

    @tool
    async def later(self) -> str:
        return "now"


class Walk(Environment):
    at: int = 0

    @action
    def go(self, by: int) -> int:
        self.at += by
        return self.at

    @action
    def stay(self) -> int:
        return self.at


async def test_tools_by_hand():
    env = Tools()
    assert [t.name for t in env.step(ListToolsAction()).tools] == ["add", "later"]
    assert env.step(CallToolAction(tool_name="add", arguments={"a": 1})).result["data"] == 2
    seen = await env.step_async({"type": "call_tool", "tool_name": "later"}, timeout_s=3)
    assert seen.result["data"] == "now"
    assert (await env.step_async(CallToolAction(tool_name="add", arguments={"a": 1}))).result["data"] == 2
    with pytest.raises(UsageError, match="step_async"):
        env.step(CallToolAction(tool_name="later"))


def test_actions_by_hand():
    env = Walk()
    assert env.step({"type": "go", "by": 3}).result == 3
    assert env.step(type="go", by=1).result == 4
    assert env.step(type="stay").result == 4


async def test_actions_by_hand_with_an_asynchronous_rubric():
    async def judge(action: Any, observation: Any) -> float:
        return 0.25

    env = Walk(rubric=judge)
    assert (await env.step_async(type="stay")).reward == 0.25
    with pytest.raises(UsageError, match="step_async"):
        env.step(type="stay")
