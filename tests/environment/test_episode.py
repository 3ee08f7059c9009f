"""The generators of an episode."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy
import pytest

from openenv.environment import Environment, Episode, describe


class Dice(Environment):
    def step(self, sides: int) -> int:
        return self.rng.randint(1, sides)


def test_same_seed_same_numbers():
    one, two, spec = Dice(), Dice(), describe(Dice)
    for env in (one, two):
        spec.begin(env, Episode(id="a", seed=7))
    assert [one.rng.random() for _ in range(3)] == [two.rng.random() for _ in range(3)]
    assert (one.np_rng.random(3) == two.np_rng.random(3)).all()


def test_a_new_episode_starts_the_generators_afresh():
    env, spec = Dice(), describe(Dice)
    spec.begin(env, Episode(seed=7))
    first = (env.rng.random(), env.np_rng.random())
    spec.begin(env, Episode(seed=7))
    assert (env.rng.random(), env.np_rng.random()) == first
    spec.begin(env, Episode(seed=8))
    assert (env.rng.random(), env.np_rng.random()) != first


def test_global_generators_are_untouched():
    env = Dice()
    random.seed(1)
    numpy.random.seed(1)
    before = (random.getstate(), numpy.random.get_state()[1].tolist())
    describe(Dice).begin(env, Episode(seed=7))
    env.rng.random()
    env.np_rng.random()
    assert (random.getstate(), numpy.random.get_state()[1].tolist()) == before


def test_without_a_session_there_is_an_episode_with_a_seed():
    env = Dice()
    assert 1 <= env.step(6) <= 6
    assert isinstance(env.episode.seed, int)
    assert env.episode is env.episode
    assert random.Random(env.episode.seed).randint(1, 6)


def test_episode_is_the_sessions_own():
    env, episode = Dice(), Episode(id="e", seed=1, task={"q": 1}, split="train")
    describe(Dice).begin(env, episode)
    assert env.episode is episode


def test_an_authors_attribute_wins():
    class Own(Dice):
        def __init__(self) -> None:
            self.rng = random.Random(3)
            self.episode = "mine"

    env = Own()
    describe(Own).begin(env, Episode(seed=1))
    assert env.rng.random() == random.Random(3).random()
    assert env.episode == "mine"


def test_on_the_class_they_are_documented():
    assert "seed" in Dice.rng.__doc__


def test_numpy_is_loaded_only_when_asked_for():
    script = (
        "import sys\n"
        "from openenv.environment import Environment, Episode, describe\n"
        "class Dice(Environment):\n"
        "    def step(self, n: int) -> int: return self.rng.randint(1, n)\n"
        "spec = describe(Dice); env = spec.make(); spec.begin(env, Episode(seed=1))\n"
        "action = spec.validate_action({'n': 6}); spec.transition(env, action, spec.call_step(env, action))\n"
        "spec.read_state(env)\n"
        "assert 'numpy' not in sys.modules\n"
        "env.np_rng\n"
        "assert 'numpy' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=20)


def test_without_numpy_the_error_says_what_to_install(monkeypatch):
    from openenv.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(MissingExtraError, match=r"openenv\[numpy\]"):
        _ = Dice().np_rng
