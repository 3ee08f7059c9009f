"""The state that callers see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from openenv.environment import Environment, Episode, describe
from openenv.types import Action, Observation, State


class Go(Action):
    pass


class Mine(State):
    board: list[int] = []


@dataclass
class Record:
    at: int = 1
    _secret: int = 2


class Free(BaseModel):
    z: int = 1


def with_state(value: Any, annotation: Any = None) -> type:
    def read(self: Any) -> Any:
        return value

    if annotation is not None:
        read.__annotations__["return"] = annotation

    class Game(Environment[Go, Observation, Mine]):
        state = property(read)  # type: ignore[assignment]

        def step(self, action: Go) -> Observation:
            return Observation()

    return Game


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Mine(board=[1]), Mine(board=[1])),
        (Free(), Free()),
        (Record(), {"at": 1}),
        ({"a": 1, "_b": 2}, {"a": 1}),
        (None, {}),
        ({}, {}),
    ],
)
def test_forms_of_a_state(value, expected):
    spec = describe(with_state(value))
    assert spec.read_state(spec.make()) == expected


def test_any_other_object():
    class Thing:
        def __init__(self) -> None:
            self.x, self._y = 1, 2

    cls = with_state(Thing())
    assert describe(cls).read_state(cls()) == {"x": 1}
    cls = with_state(5)
    assert describe(cls).read_state(cls()) == {"value": 5}


@pytest.mark.parametrize(
    ("annotation", "title"),
    [(None, "Mine"), (Free, "Free"), ("Mine", "Mine"), (Record, "Record"), (Any, "Mine"), (State, "State")],
)
def test_schema_of_an_own_state(annotation, title):
    assert describe(with_state(None, annotation)).state_schema()["title"] == title


def test_schema_named_from_outside():
    spec = describe(with_state(None, Free), action_type=Go, observation_type=Observation)
    assert spec.state_schema()["title"] == "State"
    spec = describe(with_state(None), action_type=Go, observation_type=Observation, state_type=Mine)
    assert spec.state_schema()["title"] == "Mine"


class Counter(Environment):
    count: int = 0
    by_name: dict[str, list[int]] = {}
    last: Mine | None = None
    odd: Any = None

    def step(self, x: int) -> int:
        return x


def test_derived_state_follows_the_episode():
    spec = describe(Counter)
    env = spec.make()
    assert spec.read_state(env).episode_id is None
    episode = Episode(id="e", seed=1)
    spec.begin(env, episode)
    episode.step = 3
    env.count = 7
    state = spec.read_state(env)
    assert (type(state).__name__, state.episode_id, state.step_count, state.count) == (
        "CounterState",
        "e",
        3,
        7,
    )


def test_derived_state_is_cut_off_from_the_environment():
    spec = describe(Counter)
    env = spec.make()
    env.by_name["a"] = [1]
    env.last = Mine(board=[1])
    state = spec.read_state(env)
    env.by_name["a"].append(2)
    env.last.board.append(2)
    assert (state.by_name, state.last) == ({"a": [1]}, Mine(board=[1]))


def test_derived_state_takes_values_of_any_type():
    env = Counter()
    env.count = "many"  # type: ignore[assignment]
    env.odd = object()
    assert env.state.count == "many"


def test_fields_may_replace_the_framework_ones():
    class Own(Environment):
        episode_id: str | None = "mine"

        def step(self, x: int) -> int:
            return x

    assert describe(Own).read_state(Own()).episode_id == "mine"
