"""Which class a factory makes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from openenv.environment import Environment, describe
from openenv.errors import EnvironmentFactoryError
from openenv.types import Action, Observation

if TYPE_CHECKING:
    from nowhere import Missing


class Game(Environment):
    made = 0
    closed = 0

    def __init__(self, size: int = 1) -> None:
        super().__init__()
        type(self).made += 1
        self.size = size

    def step(self, action: Action) -> Observation:
        return Observation()

    def close(self) -> None:
        type(self).closed += 1


class Other(Game):
    pass


@pytest.fixture(autouse=True)
def count():
    for cls in (Game, Other):
        cls.made = cls.closed = 0


def annotated() -> Game:
    raise AssertionError("not called to find out")


def naming():
    return Game(size=3)


def naming_two(which: bool = True):
    return Game() if which else Other()


def unknown_annotation() -> Missing:
    return Game()


def told():
    raise AssertionError("not called to find out")


told.factory_class = Game  # type: ignore[attr-defined]

CLASSES = [Game]


def unclear():
    return CLASSES[0](size=2)


KEPT: list[Any] = []


def keeps_in_a_list():
    if not KEPT:
        KEPT.append(CLASSES[0]())
    return KEPT[0]


GLOBAL: Any = None


def keeps_in_a_global():
    global GLOBAL
    GLOBAL = GLOBAL or CLASSES[0]()
    return GLOBAL


@functools.lru_cache
def keeps_in_a_cache():
    return CLASSES[0]()


class Holder:
    def __init__(self) -> None:
        self.env: Any = None

    def get(self):
        self.env = self.env or CLASSES[0]()
        return self.env


@pytest.mark.parametrize(
    "factory",
    [
        Game,
        functools.partial(Game, size=2),
        annotated,
        naming,
        lambda: Game(),
        unknown_annotation,
        told,
        functools.partial(naming),
    ],
)
def test_told_without_calling(factory):
    assert describe(factory).cls is Game
    assert Game.made == 0


@pytest.mark.parametrize("factory", [unclear, naming_two, functools.partial(unclear)])
def test_called_once_and_closed(factory):
    assert describe(factory).cls is Game
    assert (Game.made, Game.closed) == (1, 1)


def test_an_instance_that_is_kept_is_not_closed():
    kept = CLASSES[0]()
    factories = [
        keeps_in_a_list,
        keeps_in_a_global,
        keeps_in_a_cache,
        Holder().get,
        lambda: kept,
        functools.partial(lambda env: env, kept),
        functools.partial(lambda env: env, env=kept),
        lambda env=kept: env,
    ]
    for factory in factories:
        assert describe(factory).cls is Game
    assert Game.closed == 0


def test_makes_what_the_factory_makes():
    assert describe(naming).make().size == 3
    assert describe(functools.partial(Game, size=5)).make().size == 5


def test_a_factory_that_fails():
    def broken():
        raise RuntimeError("no key")

    with pytest.raises(EnvironmentFactoryError, match="broken"):
        describe(broken)


def test_a_failing_factory_with_known_types_fails_when_a_session_wants_it():
    calls = []

    def later():
        calls.append(1)
        if len(calls) < 2:
            raise RuntimeError("no key")
        return CLASSES[0]()

    spec = describe(later, action_type=Action, observation_type=Observation)
    assert (spec.cls, spec.style, spec.concurrent, spec.name) == (None, "model", False, "later")
    env = spec.make()
    action = spec.validate_action({})
    assert spec.transition(env, action, spec.call_step(env, action)).observation == Observation()
    assert spec.metadata().name == "later"
    assert spec.metadata(env).name == "Game"


def test_a_factory_may_choose_another_class():
    spec = describe(lambda: Other(), action_type=Action, observation_type=Observation)
    env = Game()
    assert spec.cls is Other
    assert spec.call_step(env, Action()) == Observation()


def test_the_constructors_error_is_the_cause():
    def make() -> Game:
        raise ValueError("no key")

    with pytest.raises(EnvironmentFactoryError, match="Game: ValueError: no key") as caught:
        describe(make).make()
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.factory_name == "Game"


def test_a_factory_that_returns_nothing():
    def make() -> Game:
        return None  # type: ignore[return-value]

    with pytest.raises(EnvironmentFactoryError, match="returned None"):
        describe(make).make()


def test_an_unfilled_closure():
    def make():
        return later()

    with pytest.raises(EnvironmentFactoryError):
        describe(make)

    def later():
        return Game()

    assert describe(make).cls is Game
