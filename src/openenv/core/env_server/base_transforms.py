"""Transforms that combine others, or do nothing."""

from openenv.transforms import CompositeTransform, NullTransform, Transform
from openenv.types import Observation

__all__ = [
    "CompositeTransform",
    "NullTransform",
    "Observation",
    "Transform",
]
