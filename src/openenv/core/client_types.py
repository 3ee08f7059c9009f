"""What a client gets back from a step."""

from openenv.types import ObsT, StateT, StepResult

__all__ = [
    "ObsT",
    "StateT",
    "StepResult",
]
