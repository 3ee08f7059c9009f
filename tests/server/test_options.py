from __future__ import annotations

from typing import Any

import pytest

from openenv.errors import InvalidActionError
from openenv.server.options import reset_arguments


def test_the_framework_takes_its_two_and_leaves_the_rest() -> None:
    assert reset_arguments({"seed": 3, "episode_id": "e", "level": 2}, 1.5) == {
        "seed": 3,
        "episode_id": "e",
        "options": {"level": 2},
        "timeout_s": 1.5,
    }
    assert reset_arguments({}) == {"seed": None, "episode_id": None, "options": {}, "timeout_s": None}


def test_the_payload_is_left_alone() -> None:
    data = {"seed": 1}
    reset_arguments(data)
    assert data == {"seed": 1}


@pytest.mark.parametrize(("seed", "read"), [(-5, -5), (7.0, 7), ("12", 12), (2**80, 2**80)])
def test_whole_numbers_are_seeds(seed: Any, read: int) -> None:
    assert reset_arguments({"seed": seed})["seed"] == read


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"seed": "x"}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"seed": []}, "seed"),
        ({"episode_id": 5}, "episode_id"),
        ({"episode_id": "x" * 256}, "episode_id"),
    ],
)
def test_anything_else_is_refused_by_name(data: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidActionError, match=field) as caught:
        reset_arguments(data)
    assert caught.value.errors[0]["loc"] == [field]
