"""What episodes show and where two of them part."""

import pytest

import openenv.spaces
import openenv.tasks
import openenv.testing
from openenv import Environment
from openenv.environment import describe
from openenv.testing.episodes import brief, fingerprint, first_difference, playing
from openenv.testing.player import Stage


class Fragile(Environment, max_steps=9):
    at: int = 0

    def reset(self) -> str:
        self.at = 0
        return repr(object())

    def step(self, by: int) -> int:
        self.at += by
        if self.at > 2:
            raise ArithmeticError("fell off")
        return self.at

    @property
    def state(self):
        if self.at == 2:
            raise LookupError("no state here")
        return {"at": self.at, "episode_id": "x"}


@pytest.fixture
def player():
    stage = Stage(describe(Fragile))
    with stage.open() as player:
        yield player
    stage.close()


def test_an_episode_ends_with_the_failure(player):
    episode = list(playing(player, 0, [{"by": 1}] * 9))
    assert [moment.call for moment in episode] == ["reset", "step", "step", "step"]
    assert episode[2].state == {"error": "EnvironmentFailedError: no state here"}
    assert episode[3].failed
    assert episode[3].seen == {"error": "EnvironmentFailedError: fell off"}
    assert episode[3].state is None


def test_an_invalid_action_does_not_end_it(player):
    episode = list(playing(player, 0, [{"by": "x"}, {"by": 1}], states=False))
    assert episode[1].error is not None
    assert not episode[1].over
    assert episode[2].result.observation.result == 1


def test_ids_and_addresses_do_not_count(player):
    first, second = (fingerprint(list(playing(player, seed, [{"by": 1}]))) for seed in (0, 1))
    assert first == second
    assert first[0]["state"] == {"at": 0}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1], [1], None),
        (
            [{"seen": {"a": [1, 2]}}],
            [{"seen": {"a": [1, 3]}}],
            "after reset, a[1] is 2 once and 3 the other time",
        ),
        (
            [1, {"state": {"x": 1}}],
            [1, {"state": {}}],
            "at step 1, state.x is 1 once and None the other time",
        ),
        ([1, 2], [1], "at step 1, the number of steps is 1 once and 0 the other time"),
        ([{"a": [1]}], [{"a": [1, 2]}], "after reset, a is [1] once and [1, 2] the other time"),
    ],
)
def test_the_first_difference_is_named(first, second, expected):
    found = first_difference(first, second)
    assert (None if found is None else str(found)) == expected


def test_long_values_are_cut():
    assert brief("x" * 200) == "'" + "x" * 76 + "..."


@pytest.mark.parametrize("room", [openenv.spaces, openenv.tasks, openenv.testing])
def test_public_names_exist(room):
    assert sorted(room.__all__, key=str.lower) == sorted(set(room.__all__), key=str.lower)
    assert all(hasattr(room, name) for name in room.__all__)
