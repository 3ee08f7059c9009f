"""Lone surrogates: refused before anything is sent, by every face, in every protocol."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

import openenv
from openenv import Environment, InvalidActionError
from openenv.client.texts import refuse_surrogates
from openenv.server import BackgroundServer, make_app
from openenv.types import Action

from .test_exchange import opened, sent

BAD = "a\ud800b"


class Say(Action):
    text: str


@dataclasses.dataclass
class Note:
    text: str


class Parrot(Environment):
    def reset(self, start: str = "") -> str:
        return start

    def step(self, words: list[str]) -> str:
        return words[-1]


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"text": BAD}, ["text"]),
        ({"a": [1, ("ok", BAD)]}, ["a", 1, 1]),
        ({"a": {BAD: 1}}, ["a"]),
        ({("k", 1): BAD}, ["('k', 1)"]),
        (Say(text="").model_copy(update={"text": BAD}), ["text"]),
        ({"note": Note(BAD)}, ["note", "text"]),
    ],
)
def test_the_field_is_named(data: Any, place: list[Any]) -> None:
    with pytest.raises(InvalidActionError, match="lone surrogate") as caught:
        refuse_surrogates("step", data)
    assert caught.value.errors[0]["loc"] == place
    json.dumps(caught.value.errors).encode()


def test_everything_else_passes() -> None:
    deep: Any = BAD
    for _ in range(300):  # deeper than what is sent at all
        deep = [deep]
    for data in (None, 5, "é😀", {"a": [b"\xff", 1.5, {3}], "b": Note, "c": object()}, deep):
        refuse_surrogates("step", data)


@pytest.mark.parametrize("extended", [False, True])
def test_a_refused_request_leaves_no_trace(extended: bool) -> None:
    exchange = opened(extended=extended)
    for _ in range(2):
        with pytest.raises(InvalidActionError):
            exchange.request("step", {"text": BAD})
    assert (exchange.owing, exchange.calls) == (0, 0)
    ticket, frame = exchange.request("state")
    if not extended:
        assert sent(frame) == {"type": "state"}
    assert ticket.number == exchange.owing


@pytest.mark.parametrize("arrays", [False, True])
def test_a_session_goes_on_after_it(arrays: bool) -> None:
    with (
        BackgroundServer(make_app(Parrot), log_level="critical") as url,
        openenv.make(url, arrays=arrays) as env,
    ):
        with pytest.raises(InvalidActionError, match="reset option: start"):
            env.reset(start=BAD)
        env.reset()
        with pytest.raises(InvalidActionError, match="words"):
            env.step({"words": ["fine", BAD]})
        result = env.step({"words": ["é😀"]})
        assert (result.observation.result, result.step) == ("é😀", 1)
