try:
    from core.env_server.types import Action, Observation
except ImportError:
    from openenv.core.env_server.types import Action, Observation


class Heat(Action):
    seconds: int


class Water(Observation):
    celsius: float = 20.0
