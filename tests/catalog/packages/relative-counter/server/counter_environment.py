from openenv.core.env_server.interfaces import Environment

from ..models import CountAction, CountObservation, CountState


class CounterEnvironment(Environment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self):
        super().__init__()
        self._state = CountState()

    def reset(self, seed=None, episode_id=None, **kwargs):
        self._state = CountState(episode_id=episode_id, total=kwargs.get("start", 0))
        return CountObservation(total=self._state.total)

    def step(self, action: CountAction, timeout_s=None, **kwargs):
        self._state.step_count += 1
        self._state.total += action.by
        total = self._state.total
        return CountObservation(total=total, reward=float(action.by), done=abs(total) >= 5)

    @property
    def state(self):
        return self._state
