"""Counts up and down."""

from .client import CounterEnv
from .models import CountAction, CountObservation

__all__ = ["CountAction", "CountObservation", "CounterEnv"]
