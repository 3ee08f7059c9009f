from openenv.core.env_server import Action, Observation


class Post(Action):
    text: str


class Box(Observation):
    letters: int = 0
