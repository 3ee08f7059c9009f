"""`describe`: styles, settings, and what it refuses."""

from __future__ import annotations

import dataclasses
from typing import Any, Generic, TypeVar

import pytest

from openenv.environment import Environment, EnvironmentSpec, action, describe, tool
from openenv.errors import DefinitionError, UsageError
from openenv.protocol.mcp_types import CallToolAction, CallToolObservation
from openenv.types import Action, EnvironmentMetadata, Observation, Outcome, State

A = TypeVar("A", bound=Action)


class Go(Action):
    n: int = 1


class Board(Observation):
    n: int = 0


class Typed(Environment, name="typed-one", version="3.1", max_steps=7, step_timeout_s=2.5, host="inline"):
    """Typed things.

    More about them.
    """

    __author__ = "Ada"

    def step(self, n: int) -> str:
        return str(n)


class Model(Environment):
    def step(self, action: Go) -> Board:
        return Board(n=action.n)


class Generics(Environment[Go, Board, State]):
    def step(self, action, timeout_s=None, **kwargs):
        return Board()


class Family(Environment[A, Board, State], Generic[A]):
    def step(self, action: A) -> Board:
        return Board()


class Member(Family[Go]):
    pass


class Optional(Environment):
    def step(self, action: Go, render: bool = False) -> Board:
        return Board()


class TwoModels(Environment):
    def step(self, first: Go, second: Go) -> Board:
        return Board(n=first.n + second.n)


class Clock(Environment):
    def step(self, timeout_s: float | None = None) -> str:
        return "x"


class Actions(Environment):
    @action
    def go(self) -> str:
        return "x"


class Tools(Environment):
    @tool
    def go(self) -> str:
        return "x"


@pytest.mark.parametrize(
    ("cls", "style"),
    [
        (Typed, "typed"),
        (Model, "model"),
        (Generics, "model"),
        (Member, "model"),
        (Optional, "model"),
        (TwoModels, "typed"),
        (Clock, "typed"),
        (Actions, "actions"),
        (Tools, "tools"),
    ],
)
def test_styles(cls, style):
    assert describe(cls).style == style


@pytest.mark.parametrize("cls", [Model, Generics, Member, Optional])
def test_model_types_are_found(cls):
    spec = describe(cls)
    assert spec.action_schema()["title"] == "Go"
    assert spec.observation_schema()["title"] == "Board"


def test_settings_of_the_class_header():
    spec = describe(Typed)
    assert (spec.name, spec.version, spec.author) == ("typed-one", "3.1", "Ada")
    assert spec.description == "Typed things."
    assert (spec.max_steps, spec.step_timeout_s, spec.host) == (7, 2.5, "inline")
    assert (spec.deterministic, spec.requires_reset, spec.native) == (True, True, True)
    assert spec.metadata() == EnvironmentMetadata(
        name="typed-one", description="Typed things.", version="3.1", author="Ada"
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Guess", "guess"),
        ("GuessEnvironment", "guess"),
        ("TicTacToeEnv", "tic_tac_toe"),
        ("HTTPGame", "http_game"),
        ("Game2048", "game2048"),
        ("Env", "env"),
    ],
)
def test_names(name, expected):
    cls = type(name, (Typed,), {"__module__": __name__})
    assert describe(cls).name == expected


def test_a_class_is_described_once():
    assert describe(Typed) is describe(Typed)
    assert describe(Typed, max_steps=3) is not describe(Typed)

    class Child(Typed):
        pass

    assert describe(Child) is not describe(Typed)
    assert describe(Child).cls is Child


def test_overrides():
    spec = describe(Typed, name="n", max_steps=3, concurrent=False, requires_reset=False, description="d")
    assert (spec.name, spec.max_steps, spec.concurrent, spec.requires_reset) == ("n", 3, False, False)
    assert spec.description == "d"
    assert dataclasses.replace(spec, max_steps=4).max_steps == 4
    with pytest.raises(TypeError, match="no setting 'max_step': did you mean 'max_steps'"):
        describe(Typed, max_step=3)


def test_concurrency():
    class Says(Typed):
        SUPPORTS_CONCURRENT_SESSIONS = False

    class SaysToo(Model):
        SUPPORTS_CONCURRENT_SESSIONS = True
        REQUIRES_SINGLE_THREAD_EXECUTOR = True

    class Child(SaysToo):
        pass

    assert describe(Typed).concurrent
    assert not describe(Says).concurrent
    assert not describe(Model, action_type=Go, observation_type=Board).concurrent
    assert describe(Child, action_type=Go, observation_type=Board).concurrent
    assert describe(Child).single_thread
    assert not describe(Typed).single_thread


class TestNamedFromOutside:
    """As published `create_app` does it."""

    def spec(self, cls: type, **more: Any) -> EnvironmentSpec:
        return describe(cls, action_type=Go, observation_type=Board, **more)

    def test_settings(self):
        spec = self.spec(Model)
        assert (spec.native, spec.requires_reset, spec.name) == (False, False, "Model")
        assert spec.metadata(Model()).description == "Model environment"
        assert self.spec(Model, name="mine").name == "mine"

    def test_annotations_are_not_evaluated(self):
        class Odd(Environment):
            def reset(self, x: Missing = None) -> Missing:  # noqa: F821
                return Board(n=5)

            def step(self, action: Missing) -> Missing:  # noqa: F821
                return Board(n=action.n)

            @property
            def state(self) -> Missing:  # noqa: F821
                return State()

        spec = self.spec(Odd)
        env = spec.make()
        assert spec.call_step(env, spec.validate_action({"n": 4})).n == 4
        assert spec.initial(env, spec.call_reset(env)).observation.n == 5
        with pytest.raises(DefinitionError, match="Missing"):
            describe(Odd)

    def test_reset_observation(self):
        class First(Observation):
            x: int = 0

        spec = self.spec(Model, reset_observation_type=First)
        assert spec.reset_observation_schema()["title"] == "First"

    def test_of_a_typed_step(self):
        class Mine(Action):
            n: int
            extra: str = ""

        spec = describe(Typed, action_type=Mine, observation_type=Observation)
        env = spec.make()
        chosen = spec.validate_action({"n": 2, "extra": "x"})
        assert spec.style == "typed"
        assert spec.call_step(env, chosen) == "2"

    def test_of_tools(self):
        spec = describe(Tools, action_type=CallToolAction, observation_type=CallToolObservation)
        env = spec.make()
        seen = spec.call_step(env, spec.validate_action({"tool_name": "go"}))
        assert (spec.style, spec.requires_reset) == ("tools", False)
        assert seen.observation.result["data"] == "x"

    def test_of_actions(self):
        spec = describe(Actions, observation_type=Observation)
        assert spec.observation_schema()["title"] == "Observation"


class TestRefused:
    def test_nothing_to_do(self):
        class Idle(Environment):
            pass

        with pytest.raises(DefinitionError, match=r"test_describe.py:\d+: Idle gives agents nothing to do"):
            describe(Idle)

    def test_mixed(self):
        class Mixed(Environment):
            def step(self, n: int) -> int:
                return n

            @tool
            def look(self) -> str:
                return "x"

        with pytest.raises(DefinitionError, match=r"Mixed mixes a step method and @tool methods.*Keep one"):
            describe(Mixed)

    def test_mixed_with_an_inherited_step(self):
        class Mixed(Typed):
            @action
            def look(self) -> str:
                return "x"

        with pytest.raises(DefinitionError, match="a step method and @action methods"):
            describe(Mixed)

    def test_marks_mixed(self):
        class Mixed(Environment):
            @action
            def a(self) -> str:
                return "x"

            @tool
            def b(self) -> str:
                return "x"

        with pytest.raises(DefinitionError, match="@action methods and @tool methods"):
            describe(Mixed)

    @pytest.mark.parametrize("target", [5, "guess", None, Typed()])
    def test_not_callable(self, target):
        with pytest.raises(UsageError, match="not an environment class or a factory"):
            describe(target)


def test_own_metadata():
    class Own(Typed):
        def get_metadata(self) -> EnvironmentMetadata:
            return EnvironmentMetadata(name="own", description="mine")

    assert describe(Own).metadata(Own()).name == "own"
    assert describe(Own).metadata().description == "Own environment"


def test_returns_of_a_model_step():
    class Bare(Environment):
        def step(self, action: Go):
            return Observation()

    class Nothing(Environment):
        def step(self, action: Go) -> None:
            return None

    class Plain(Environment):
        def step(self, action: Go) -> str | Outcome:
            return "x"

    assert describe(Bare).observation_schema()["title"] == "Observation"
    assert describe(Nothing).observation_schema()["title"] == "Observation"
    assert describe(Plain).observation_schema()["title"] == "PlainObservation"


def test_schemas_of_unusual_types_are_lenient():
    class Thing:
        pass

    class Odd(Environment):
        thing: Thing | None = None

        def step(self, n: complex, on: Thing | None = None) -> Thing:
            return Thing()

    spec = describe(Odd)
    for schema in (spec.action_schema(), spec.observation_schema(), spec.state_schema(), spec.reset_schema()):
        assert schema["type"] == "object"


def test_foreign_classes_can_be_described():
    class Duck:
        def reset(self, seed=None):
            return Board(n=seed or 0)

        def step(self, action):
            return Board(n=action.n)

        @property
        def state(self):
            return {"a": 1}

    spec = describe(Duck, action_type=Go, observation_type=Board)
    env = spec.make()
    assert spec.initial(env, spec.call_reset(env, seed=2)).observation.n == 2
    assert spec.transition(env, Go(n=3), spec.call_step(env, Go(n=3))).observation.n == 3
    assert spec.read_state(env) == {"a": 1}
