from typing import Literal

from openenv.core.env_server.types import Action, Observation


class DoorAction(Action):
    do: Literal["open", "close", "wait"]


class DoorObservation(Observation):
    is_open: bool = False
