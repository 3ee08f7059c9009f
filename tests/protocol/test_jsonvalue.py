from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from openenv.protocol.jsonvalue import to_jsonable


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Point:
    x: int
    y: object


class Model(BaseModel):
    model_config = ConfigDict(extra="allow")
    value: object = None


class Nasty:
    def __repr__(self) -> str:
        raise RuntimeError("no repr either")


class Text(str):
    pass


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.zeros((2, 2), dtype=np.uint8), [[0, 0], [0, 0]]),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array([math.nan, 1.0]), [None, 1.0]),
        (math.inf, None),
        (b"text", "text"),
        (b"\xff\xfe", {"$bytes": "//4="}),
        (bytearray(b"x"), "x"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
        (dt.timedelta(seconds=90), "PT1M30S"),
        ({1}, [1]),
        ((1, 2), [1, 2]),
        (Point(1, {2: b"z"}), {"x": 1, "y": {"2": "z"}}),
        (Model(value=Colour.RED, other=1), {"value": "red", "other": 1}),
        ({True: 1, None: 2, 1.5: 3}, {"true": 1, "null": 2, "1.5": 3}),
        (Text("t"), "t"),
        ("\ud800", "?"),
        (Nasty(), "<Nasty>"),
        (ValueError("bad"), "bad"),
        (ValueError(), "ValueError"),
    ],
)
def test_each_kind_has_its_form(value: object, expected: object) -> None:
    assert to_jsonable(value) == expected


def test_a_value_that_contains_itself_ends() -> None:
    loop: list[object] = []
    loop.append(loop)
    json.dumps(to_jsonable(loop))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
    )
)
def test_anything_becomes_strict_json(value: object) -> None:
    json.loads(json.dumps(to_jsonable(value), allow_nan=False))
