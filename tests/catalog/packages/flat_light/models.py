from openenv.core.env_server.types import Action, Observation


class LightAction(Action):
    brightness: int


class LightObservation(Observation):
    brightness: int = 0
