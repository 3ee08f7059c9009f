from dataclasses import dataclass

from openenv.core.env_server import Action, Observation


class BellAction(Action):
    ring: bool


class BellObservation(Observation):
    sound: str = ""


@dataclass
class BellState:
    episode_id: str | None = None
    step_count: int = 0
    rung: int = 0
