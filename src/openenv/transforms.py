"""Transforms: callables that change observations on their way out.

Named in a class header (``transforms=(Shorten(),)``) they run after the rubric, in order; published
environments call theirs through `Environment._apply_transform`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic

from openenv.types import ObsT


class Transform(ABC, Generic[ObsT]):
    """A callable over observations."""

    @abstractmethod
    def __call__(self, observation: ObsT) -> ObsT:
        """Return the changed observation, which may be the one given."""


class CompositeTransform(Transform[Any]):
    """Several transforms, one after the other.

    Args:
        transforms: what to apply, in order.
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = list(transforms)

    def __call__(self, observation: Any) -> Any:
        """Apply each transform to what the one before returned."""
        for transform in self.transforms:
            observation = transform(observation)
        return observation


class NullTransform(Transform[Any]):
    """Changes nothing."""

    def __call__(self, observation: Any) -> Any:
        """Return the observation."""
        return observation
