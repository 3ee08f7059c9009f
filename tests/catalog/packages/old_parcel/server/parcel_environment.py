from openenv_core.env_server.interfaces import Environment
from openenv_core.env_server.types import State

from ..models import Receipt, Send


class ParcelEnvironment(Environment):
    def __init__(self):
        super().__init__()
        self._state = State(step_count=0)
        self._sent = []

    def reset(self, **kwargs):
        self._state, self._sent = State(step_count=0), []
        return Receipt()

    def step(self, action: Send):
        self._state.step_count += 1
        self._sent.append(action.to)
        return Receipt(sent=list(self._sent), reward=True)

    @property
    def state(self) -> State:
        return self._state
