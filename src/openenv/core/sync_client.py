"""The blocking face of a client."""

from openenv.client import SyncEnvClient
from openenv.types import ActT, ObsT, StateT, StepResult

__all__ = [
    "ActT",
    "ObsT",
    "StateT",
    "StepResult",
    "SyncEnvClient",
]
