try:
    from core.env_server import Environment, State
except ImportError:
    from openenv.core.env_server import Environment, State

from models import Heat, Water


class Kettle(Environment):
    def reset(self, seed=None):
        self._s, self._celsius = State(), 20.0
        return Water()

    def step(self, action: Heat):
        self._s.step_count += 1
        self._celsius = min(100.0, self._celsius + 2 * action.seconds)
        return Water(celsius=self._celsius, done=self._celsius >= 100.0)

    @property
    def state(self):
        return self._s
