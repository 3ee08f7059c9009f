from openenv_core.client_types import StepResult
from openenv_core.env_client import EnvClient
from openenv_core.env_server.types import State

from .models import Receipt, Send


class ParcelEnv(EnvClient[Send, Receipt, State]):
    def _step_payload(self, action):
        return {"to": action.to}

    def _parse_result(self, payload):
        return StepResult(observation=Receipt(**payload["observation"]), reward=payload.get("reward"))

    def _parse_state(self, payload):
        return State(**payload)
