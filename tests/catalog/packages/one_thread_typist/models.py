from openenv.core.env_server.types import Action, Observation


class Type(Action):
    text: str


class Page(Observation):
    text: str = ""
    thread: int = 0
