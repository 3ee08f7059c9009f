"""Named components, and a rubric of its own for each session."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from openenv.errors import UsageError
from openenv.rubrics import (
    Gate,
    Rubric,
    RubricDict,
    Sequential,
    WeightedSum,
    as_rubric,
    instantiate,
    score_components,
)


class Value(Rubric):
    """Scores the action itself."""

    def forward(self, action, observation):
        return action


class PerGame(Rubric):
    def __init__(self):
        super().__init__()
        self.games = RubricDict({"pong": WeightedSum([Value()], [1.0]), "doom": Value()})

    def forward(self, action, observation):
        return self.games[observation](action, observation)


def test_components_name_every_part_but_the_root():
    tree = WeightedSum({"correct": Gate(Value(), 0.5), "style": Value()}, {"correct": 0.75, "style": 0.25})
    tree(1.0, None)
    assert score_components(tree) == {"correct": 1.0, "correct.rubric": 1.0, "style": 1.0}
    assert tree.last_score == 1.0


def test_a_part_that_was_left_out_does_not_show_an_old_score():
    tree = Sequential(Value(), Gate(WeightedSum([Value()], [1.0]), 0.0))
    tree(1.0, None)
    assert set(score_components(tree)) == {
        "rubric_0",
        "rubric_1",
        "rubric_1.rubric",
        "rubric_1.rubric.rubric_0",
    }
    tree(0.0, None)
    assert score_components(tree) == {"rubric_0": 0.0}


def test_only_the_picked_member_of_a_group_counts():
    tree = PerGame()
    tree(0.5, "pong")
    assert score_components(tree) == {"games.pong": 0.5, "games.pong.rubric_0": 0.5}
    tree(0.25, "doom")
    assert score_components(tree) == {"games.doom": 0.25}


def test_before_the_first_call_there_are_none():
    assert score_components(PerGame()) == {}


def test_instantiate_copies_an_instance_and_resets_the_copy():
    shared = WeightedSum([Value()], [1.0])
    shared(1.0, None)
    own = instantiate(shared)
    assert own is not shared
    assert own.last_score is None
    assert own.get_rubric("rubric_0") is not shared.get_rubric("rubric_0")


@pytest.mark.parametrize("source", [PerGame, lambda: PerGame()])
def test_instantiate_calls_a_class_or_a_factory(source):
    assert isinstance(instantiate(source), PerGame)


def test_instantiate_takes_a_reward_function():
    def exact(action, observation):
        return float(action == observation)

    assert instantiate(exact)("a", "a") == 1.0


def test_an_instance_that_cannot_be_copied_is_explained():
    class Locked(Value):
        def __init__(self):
            super().__init__()
            self.lock = threading.Lock()

    with pytest.raises(UsageError, match="function that builds the rubric"):
        instantiate(Locked())
    assert isinstance(instantiate(Locked), Locked)


@pytest.mark.parametrize("source", [lambda: 1.0, "reward"])
def test_what_gives_no_rubric_is_refused(source):
    with pytest.raises(UsageError, match="not a"):
        instantiate(source)


def test_sessions_with_their_own_copies_do_not_disturb_each_other():
    shared = WeightedSum({"a": Gate(Value(), 0.0), "b": Value()}, {"a": 0.5, "b": 0.5})

    def session(number):
        rubric, wanted = instantiate(shared), number / 8
        for _ in range(300):
            assert rubric(wanted, None) == wanted
            assert score_components(rubric) == {"a": wanted, "a.rubric": wanted, "b": wanted}
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(session, range(1, 9)))
    assert shared.last_score is None


def test_as_rubric_names_the_function():
    def exact(action, observation):
        return 1.0

    rubric = as_rubric(exact)
    assert repr(rubric) == "FunctionRubric(exact)"
    assert as_rubric(rubric) is rubric


def test_a_reward_function_needs_two_arguments():
    with pytest.raises(UsageError, match=r"\(action, observation\)"):
        as_rubric(lambda action: 1.0)


def test_a_builtin_without_a_signature_is_taken_at_its_word():
    assert as_rubric(max)(1.0, 2.0) == 2.0
