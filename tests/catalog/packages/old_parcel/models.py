from openenv_core.env_server.types import Action, Observation


class Send(Action):
    to: str


class Receipt(Observation):
    sent: list[str] = []
