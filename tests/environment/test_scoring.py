"""Rubric and transforms: who applies them, when, and that nothing is applied twice."""

from __future__ import annotations

from typing import Any

import pytest

from openenv.environment import Environment, Episode, action, describe, tool
from openenv.rubrics import Rubric, WeightedSum
from openenv.transforms import Transform
from openenv.types import Action, Observation, Outcome, StepOutcome


class Right(Rubric):
    calls = 0

    def forward(self, action: Any, observation: Any) -> float:
        self.calls += 1
        return 1.0 if getattr(action, "answer", None) == 42 else 0.0


def short(action: Any, observation: Any) -> float:
    return 0.5


class Quiz(Environment, rubric=WeightedSum([Right(), short], weights=[0.8, 0.2])):
    def step(self, answer: int, reward: float | None = None) -> Any:
        return "noted" if reward is None else Outcome("noted", reward=reward, components={"given": 1.0})


class Go(Action):
    n: int = 1


class Board(Observation):
    n: int = 0


def run(cls: type, data: Any, env: Any = None) -> Any:
    spec = describe(cls)
    env = spec.make() if env is None else env
    spec.begin(env, Episode(seed=1))
    chosen = spec.validate_action(data)
    return spec.transition(env, chosen, spec.call_step(env, chosen))


def test_scores_steps_without_a_reward():
    seen = run(Quiz, {"answer": 42})
    assert seen.reward == pytest.approx(0.9)
    assert seen.observation.reward == seen.reward
    assert sorted(seen.components.values()) == [0.5, 1.0]


def test_a_given_reward_stands():
    seen = run(Quiz, {"answer": 42, "reward": 0.0})
    assert (seen.reward, seen.components) == (0.0, {"given": 1.0})


def test_each_instance_has_its_own_rubric():
    one, two = Quiz(), Quiz()
    assert one.rubric is not two.rubric
    run(Quiz, {"answer": 42}, one)
    assert two.rubric.last_score is None


def test_a_new_episode_resets_the_rubric():
    env = Quiz()
    run(Quiz, {"answer": 42}, env)
    assert env.rubric.last_score is not None
    describe(Quiz).begin(env, Episode(seed=2))
    assert env.rubric.last_score is None


def test_rubric_as_class_and_as_function():
    class ByClass(Environment, rubric=Right):
        def step(self, answer: int) -> str:
            return "x"

    class ByFunction(Environment, rubric=short):
        def step(self, answer: int) -> str:
            return "x"

    assert run(ByClass, {"answer": 42}).reward == 1.0
    assert run(ByFunction, {"answer": 42}).reward == 0.5


def test_rubric_of_the_instance_in_other_styles():
    class Plain(Environment):
        @action
        def say(self, answer: int) -> str:
            return "x"

    assert run(Plain, {"answer": 42}, Plain(rubric=Right())).reward == 1.0
    assert run(Plain, {"answer": 42}, Plain(rubric=lambda a, o: 3)).reward == 3
    assert run(Plain, {"answer": 42}).reward is None


def test_published_environments_apply_their_own_once():
    class Published(Environment):
        def step(self, action: Go) -> Board:
            board = Board(n=action.n)
            board.reward = self._apply_rubric(action, board)
            return self._apply_transform(board)

    rubric = Right()
    env = Published(rubric=rubric, transform=lambda o: o.model_copy(update={"n": o.n + 1}))
    seen = run(Published, {"n": 1}, env)
    assert (seen.reward, seen.observation.n, rubric.calls) == (0.0, 2, 1)


def test_model_style_with_a_class_rubric():
    class Native(Environment, rubric=short):
        def __init__(self) -> None:
            super().__init__()

        def step(self, action: Go) -> Board:
            return Board(n=1)

    seen = run(Native, {})
    assert seen.reward == seen.observation.reward == 0.5


async def test_asynchronous_rubric():
    class Judge(Rubric):
        async def forward(self, action: Any, observation: Any) -> float:
            return 0.25

    class Judged(Environment, rubric=Judge):
        def step(self, answer: int) -> str:
            return "x"

    seen = await run(Judged, {"answer": 1})
    assert (seen.reward, seen.observation.reward) == (0.25, 0.25)


class Failing(Environment, rubric=short):
    @tool
    def fail(self) -> str:
        raise ValueError("no")


def test_tools_that_fail_are_scored_and_refused_calls_are_not():
    failed = run(Failing, {"tool_name": "fail"})
    assert (failed.outcome, failed.reward, failed.observation.reward) == (StepOutcome.TOOL_ERROR, 0.5, 0.5)
    refused = run(Failing, {"tool_name": "nope"})
    assert (refused.outcome, refused.reward) == (StepOutcome.INVALID_ACTION, None)


def test_listing_tools_is_not_scored():
    listed = run(Failing, {"type": "list_tools"})
    assert (listed.outcome, listed.reward) == (StepOutcome.OK, None)


class Count(Transform[Any]):
    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, observation: Any) -> Any:
        self.seen += 1
        observation.metadata = {**observation.metadata, "seen": self.seen}
        return observation


def shout(observation: Any) -> Any:
    return observation.model_copy(update={"result": observation.result.upper()})


class Loud(Environment, transforms=[Count, shout]):
    def reset(self) -> str:
        return "ready"

    def step(self, text: str) -> str:
        return text


def test_transforms_apply_in_order_to_steps_and_resets():
    spec = describe(Loud)
    env = spec.make()
    first = spec.initial(env, spec.call_reset(env))
    assert (first.observation.result, first.metadata) == ("READY", {"seen": 1})
    assert run(Loud, {"text": "hi"}, env).observation.result == "HI"
    assert run(Loud, {"text": "hi"}, env).metadata == {"seen": 3}
    assert run(Loud, {"text": "hi"}).metadata == {"seen": 1}


def test_transforms_may_change_reward_and_end():
    def end(observation: Any) -> Any:
        return observation.model_copy(update={"reward": 9, "done": True})

    def go_on(observation: Any) -> Any:
        return observation.model_copy(update={"done": False})

    class Ends(Environment, transforms=(end,)):
        def step(self, text: str) -> str:
            return text

    class GoesOn(Environment, transforms=(go_on,)):
        def step(self, text: str) -> Any:
            return Outcome(text, truncated=True, reason="x")

    ended = run(Ends, {"text": "a"})
    assert (ended.reward, ended.done, ended.terminated) == (9, True, True)
    going = run(GoesOn, {"text": "a"})
    assert (going.done, going.terminated, going.truncated) == (False, False, False)


def test_transform_of_the_instance_in_other_styles():
    class Plain(Environment):
        def step(self, text: str) -> str:
            return text

    assert run(Plain, {"text": "a"}, Plain(transform=shout)).observation.result == "A"
