"""Models and a typed client for the scripted counting server."""

from __future__ import annotations

from typing import Any

from openenv.client.env_client import EnvClient
from openenv.types import Action, Observation, State


class CountAction(Action):
    by: int = 1


class CountObservation(Observation):
    count: int
    got: dict[str, Any] = {}


class CountState(State):
    pass


class Typed(EnvClient[CountAction, CountObservation, CountState]):
    """Names its types and nothing else."""
