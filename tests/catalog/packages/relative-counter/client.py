from openenv.core.client_types import StepResult
from openenv.core.env_client import EnvClient

from .models import CountAction, CountObservation, CountState


class CounterEnv(EnvClient[CountAction, CountObservation, CountState]):
    def _step_payload(self, action):
        return action.model_dump()

    def _parse_result(self, payload):
        observation = CountObservation(**payload["observation"])
        return StepResult(
            observation=observation, reward=payload.get("reward"), done=payload.get("done", False)
        )

    def _parse_state(self, payload):
        return CountState(**payload)
