"""Transforms."""

from __future__ import annotations

from typing import Any

import pytest

from openenv.transforms import CompositeTransform, NullTransform, Transform
from openenv.types import Observation


class Add(Transform[Observation]):
    def __init__(self, by: float) -> None:
        self.by = by

    def __call__(self, observation: Observation) -> Observation:
        return observation.model_copy(update={"reward": (observation.reward or 0) + self.by})


def test_null_changes_nothing():
    observation = Observation(reward=1)
    assert NullTransform()(observation) is observation


def test_composite_applies_in_order():
    def double(observation: Any) -> Any:
        return observation.model_copy(update={"reward": observation.reward * 2})

    composite = CompositeTransform([Add(1), double, Add(0.5)])
    assert composite(Observation(reward=1)).reward == 4.5
    assert len(composite.transforms) == 3
    assert CompositeTransform([])(Observation()).reward is None


def test_transform_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Transform()  # type: ignore[abstract]
