"""Fields: public state, hidden state, and what each instance has of its own."""

from __future__ import annotations

import copy
import pickle
from typing import ClassVar, Final

import pytest

from openenv.environment import Environment, Episode, describe, hidden
from openenv.environment.fields import class_fields
from openenv.errors import DefinitionError
from openenv.types import Action, Observation, State


class Guess(Environment):
    LIMIT: int = 3
    _CACHE: dict[str, int] = {}
    total: ClassVar[int] = 0
    fixed: Final[int] = 1
    unannotated = 5
    low: int = 1
    tried: list[int] = []
    when: str
    target: int = hidden(0)
    answers: list[int] = hidden(default_factory=list)
    _notes: dict[str, int] = {}

    def step(self, guess: int) -> str:
        return "x"


def test_which_attributes_are_fields():
    fields = class_fields(Guess)
    assert {name for name, field in fields.items() if field.public} == {"low", "tried", "when"}
    assert {name for name, field in fields.items() if not field.public} == {"target", "answers", "_notes"}


def test_mutable_defaults_belong_to_the_instance():
    one, two = Guess(), Guess()
    one.tried.append(1)
    one.answers.append(2)
    one._notes["a"] = 3
    assert (two.tried, two.answers, two._notes) == ([], [], {})
    assert Guess.tried == []


def test_constants_and_class_variables_are_shared():
    assert Guess()._CACHE is Guess()._CACHE
    assert Guess().LIMIT == 3


def test_hidden_default_is_the_value():
    assert Guess().target == 0
    assert Guess.target == 0


def test_hidden_without_a_default_is_unset():
    class Blank(Environment):
        secret: str = hidden()

        def step(self, x: int) -> str:
            return "x"

    with pytest.raises(AttributeError):
        _ = Blank().secret


def test_hidden_takes_one_kind_of_default():
    with pytest.raises(TypeError, match="not both"):
        hidden(1, default_factory=int)


def test_hidden_cannot_take_a_framework_name():
    with pytest.raises(DefinitionError, match=r"test_fields.py:\d+: Bad.rng"):

        class Bad(Environment):
            rng: int = hidden(1)


def test_constructor_sets_fields_and_names_the_nearest():
    env = Guess(low=4, target=9)
    assert (env.low, env.target) == (4, 9)
    with pytest.raises(TypeError, match="did you mean 'tried'"):
        Guess(tired=[1])
    with pytest.raises(TypeError, match="its fields are low"):
        Guess(zzz=[1])


def test_constructor_without_fields():
    class Plain(Environment):
        def step(self, x: int) -> str:
            return "x"

    with pytest.raises(TypeError, match="declares no fields"):
        Plain(x=1)


def test_state_has_the_public_fields_only():
    env = Guess(low=2)
    env.tried.append(5)
    describe(Guess).begin(env, Episode(id="e", seed=1, step=4))
    state = env.state
    assert state.model_dump() == {"episode_id": "e", "step_count": 4, "low": 2, "tried": [5], "when": None}
    env.when = "now"
    assert env.state.when == "now"


def test_state_is_a_snapshot():
    env = Guess()
    before = env.state
    env.tried.append(1)
    assert before.tried == []
    before.tried.append(7)
    assert env.tried == [1]


def test_state_schema_names_public_fields_only():
    properties = describe(Guess).state_schema()["properties"]
    assert set(properties) == {"episode_id", "step_count", "low", "tried", "when"}


def test_fields_are_inherited_and_stay_hidden():
    class Child(Guess):
        high: int = 9
        low: int = 2
        target: int = 5
        unannotated = 6

    env = Child()
    assert (env.low, env.high, env.target) == (2, 9, 5)
    assert not class_fields(Child)["target"].public
    assert set(env.state.model_dump()) == {"episode_id", "step_count", "low", "high", "tried", "when"}


def test_a_subclass_may_change_a_default_without_annotating_it():
    class Child(Guess):
        tried = [1, 2]

    one, two = Child(), Child()
    one.tried.append(3)
    assert two.tried == [1, 2]
    assert Guess().tried == []


def test_a_property_in_place_of_a_field():
    class Child(Guess):
        @property
        def low(self) -> int:
            return 8

    assert Child().state.low == 8


def test_without_super_init():
    class Careless(Guess):
        def __init__(self) -> None:
            self.low = 3

    env = Careless()
    assert (env.low, env.tried, env.transform, env.rubric) == (3, [], None, None)
    assert env.state.low == 3


def test_published_classes_keep_their_shared_attributes():
    class Published(Environment[Action, Observation, State]):
        shared: dict[str, int] = {}
        _registry: list[int] = []

        def step(self, action: Action) -> Observation:
            return Observation()

        @property
        def state(self) -> State:
            return State()

    one, two = Published(), Published()
    assert one.shared is two.shared
    assert one._registry is two._registry


def test_own_state_property_with_hidden_fields_is_managed():
    class Mixed(Environment):
        seen: list[int] = []
        secret: list[int] = hidden([1])

        def step(self, x: int) -> str:
            return "x"

        @property
        def state(self) -> dict[str, int]:
            return {"n": len(self.seen)}

    one, two = Mixed(), Mixed()
    one.seen.append(1)
    assert two.seen == []
    assert one.secret is not two.secret


def test_arbitrary_attributes_and_copies():
    env = Guess()
    env.anything = object
    _ = env.rng.random()
    twin = copy.deepcopy(env)
    assert twin.rng.random() == env.rng.random()
    twin.tried.append(1)
    assert env.tried == []
    restored = pickle.loads(pickle.dumps(PICKLED))
    assert restored.tried == [1]


def test_field_of_a_type_that_cannot_be_evaluated():
    class Broken(Environment):
        board: Bored = None  # noqa: F821

        def step(self, x: int) -> str:
            return "x"

    with pytest.raises(DefinitionError, match=r"'Bored' of board.*TYPE_CHECKING"):
        describe(Broken)


PICKLED = Guess(tried=[1])
