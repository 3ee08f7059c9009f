from openenv.core.env_server.types import Action, Observation, State


class Entry(Action):
    amount: float
    note: str = ""


class Balance(Observation):
    balance: float


class LedgerState(State):
    balance: float = 0.0
    notes: list[str] = []
