"""Clients that need no models of their own."""

from openenv.client import EnvClient, GenericAction, GenericEnvClient
from openenv.types import StepResult

__all__ = [
    "EnvClient",
    "GenericAction",
    "GenericEnvClient",
    "StepResult",
]
