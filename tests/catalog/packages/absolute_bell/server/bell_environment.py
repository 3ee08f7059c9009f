from absolute_bell.models import BellAction, BellObservation, BellState
from openenv.core.env_server import Environment


class BellEnvironment(Environment):
    def __init__(self):
        super().__init__()
        self._state = BellState()

    def reset(self, seed=None, episode_id=None):
        self._state = BellState(episode_id=episode_id)
        return BellObservation(sound="silence")

    def step(self, action: BellAction, timeout_s=None):
        self._state.step_count += 1
        self._state.rung += action.ring
        return BellObservation(sound="ding" if action.ring else "", reward=1 if action.ring else 0)

    @property
    def state(self):
        return self._state
