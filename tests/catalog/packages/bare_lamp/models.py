from openenv.core.env_server.types import Action, Observation


class Switch(Action):
    on: bool


class Glow(Observation):
    on: bool = False
