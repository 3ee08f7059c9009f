"""Findings lead to the right line."""

import random as dice
import threading
from pathlib import Path
from random import choice

import pytest

from openenv import Environment
from openenv.environment import describe
from openenv.testing.places import (
    place_of,
    place_of_attribute,
    place_of_error,
    place_of_global_random,
    place_of_thread,
)

LINES = Path(__file__).read_text().splitlines()


class Plain(Environment):
    score: int = 0
    history = []

    def step(self, n: int) -> int:
        return n


class Child(Plain):
    """Inherits everything."""


class Dice(Environment):
    def step(self, n: int) -> int:
        return dice.randint(0, n)


class Choice(Environment):
    def step(self, n: int) -> int:
        return choice([n, 1])


class Later(Environment):
    async def reset_async(self, seed=None):
        return None

    async def step_async(self, action):
        return None

    @property
    def state(self):
        return {}


def line(location: str) -> str:
    file, _, number = location.rpartition(":")
    assert file == __file__
    return LINES[int(number) - 1].strip()


def test_methods_are_found_where_they_are_written():
    assert line(place_of(describe(Plain), "step")).startswith("def step")
    assert line(place_of(describe(Child), "step")).startswith("def step")
    assert line(place_of(describe(Later, action_type=dict, observation_type=dict), "state")) == "@property"


@pytest.mark.parametrize("name", ["reset", "close", ""])
def test_what_a_class_does_not_write_is_found_at_the_class(name):
    assert line(place_of(describe(Plain), name)) == "class Plain(Environment):"


def test_attributes_are_found_at_their_assignment():
    assert line(place_of_attribute(Plain, "score")) == "score: int = 0"
    assert line(place_of_attribute(Plain, "history")) == "history = []"
    assert line(place_of_attribute(Plain, "other")) == "class Plain(Environment):"


def test_calls_of_a_global_generator_are_found_under_any_name():
    assert "dice.randint" in line(place_of_global_random(describe(Dice)))
    assert "choice(" in line(place_of_global_random(describe(Choice)))
    assert line(place_of_global_random(describe(Plain))) == "class Plain(Environment):"


def test_errors_are_found_at_the_authors_line():
    def fail():
        raise LookupError("here")

    with pytest.raises(LookupError) as caught:
        fail()
    assert line(place_of_error(caught.value, describe(Plain))) == 'raise LookupError("here")'
    assert line(place_of_error(LookupError("never raised"), describe(Plain))).startswith("def step")


def test_threads_are_found_where_they_wait():
    waiting = threading.Event()
    thread = threading.Thread(target=lambda: waiting.wait(10), daemon=True)
    thread.start()
    assert "waiting.wait(10)" in line(place_of_thread(thread.ident))
    waiting.set()
    thread.join()
    assert place_of_thread(thread.ident) == ""


def test_a_class_without_source_has_a_name_at_least():
    made = type("Made", (Environment,), {"step": lambda self, action: None})
    assert place_of_attribute(made, "x")
