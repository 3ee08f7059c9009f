from pydantic import Field

from openenv.core.env_server.types import Action, Observation, State


class CountAction(Action):
    by: int = Field(..., ge=-3, le=3)


class CountObservation(Observation):
    total: int = 0


class CountState(State):
    total: int = 0
