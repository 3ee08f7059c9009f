"""Models across processes: rebuilt as what they were."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel
from tests.pool.environments import Inner, Rich

from openenv import Observation
from openenv.pool.models import dumped, fields_of, find_model, is_plain, reader


class Plain(Observation):
    text: str = ""
    numbers: list[int] = []
    table: dict[str, list[float | None]] = {}
    image: np.ndarray[Any, Any] | None = None


class Open(Observation):
    model_config = ConfigDict(extra="allow")


class Secret(Observation):
    _hidden: int = PrivateAttr(default=3)


class Listed(RootModel[list[int]]):
    pass


class Aliased(BaseModel):
    number: int = Field(alias="theNumber")


class Choice(Observation):
    kind: Literal["a", "b"] = "a"


class Sum(Observation):
    inner: Inner


@pytest.mark.parametrize(
    ("model", "plain"),
    [
        (Plain(text="x", numbers=[1], table={"a": [1.0, None]}, reward=1.0), True),
        (Open(more=1, reward=2.0), False),
        (Secret(), False),
        (Listed([1, 2]), False),
        (Aliased(theNumber=4), True),
        (Choice(kind="b"), False),
        (Sum(inner=Inner(pair=(1, "a"))), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_model_comes_back(model: BaseModel, plain: bool) -> None:
    assert is_plain(type(model)) is plain
    again = reader(type(model))(dict(fields_of(model)))
    assert type(again) is type(model)
    assert again == model
    assert again.model_dump() == model.model_dump()
    assert repr(again) == repr(model)
    copied = again.model_copy(update={})
    assert copied == model


def test_a_rebuilt_model_is_a_whole_model() -> None:
    again = reader(Plain)(dict(fields_of(Plain(text="x", reward=1.0))))
    again.text = "y"
    assert again.text == "y"
    with pytest.raises(ValueError, match="text"):
        again.text = 3
    with pytest.raises(ValueError, match="nonsense"):
        again.nonsense = 3


def test_what_was_never_valid_comes_back_all_the_same() -> None:
    wrong = Choice.model_construct(kind="z", reward=None, done=False, metadata={})
    assert reader(Choice)(fields_of(wrong)).kind == "z"


def test_an_action_is_dumped_as_its_schema_says() -> None:
    assert dumped(Aliased(theNumber=4)) == {"theNumber": 4}
    assert dumped(Plain(text="x"))["text"] == "x"
    assert dumped(Listed([1])) == {"root": [1]}


def test_only_loaded_models_are_found() -> None:
    assert find_model(Rich.__module__, "Rich") is Rich
    assert find_model("builtins", "dict") is None
    assert find_model("antigravity", "Anything") is None
    assert find_model("openenv", "make.nonsense") is None
    import sys

    assert "antigravity" not in sys.modules
