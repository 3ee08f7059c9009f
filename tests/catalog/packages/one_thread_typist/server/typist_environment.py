import threading

from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import State
from openenv.core.rubrics import Rubric, WeightedSum

from ..models import Page, Type


class Length(Rubric):
    def forward(self, action, observation):
        return len(observation.text) / 10


class Loud(Rubric):
    def forward(self, action, observation):
        return float(observation.text.isupper())


class TypistEnvironment(Environment):
    SUPPORTS_CONCURRENT_SESSIONS = True
    REQUIRES_SINGLE_THREAD_EXECUTOR = True

    def __init__(self):
        super().__init__(rubric=WeightedSum([Length(), Loud()], [0.5, 0.5]))
        self.home = threading.get_ident()
        self._text = ""
        self._state = State(step_count=0)

    def reset(self, seed=None, episode_id=None, **kwargs):
        self._reset_rubric()
        self._text, self._state = "", State(episode_id=episode_id, step_count=0)
        return Page(thread=threading.get_ident())

    def step(self, action: Type, timeout_s=None, **kwargs):
        assert threading.get_ident() == self.home
        self._state.step_count += 1
        self._text += action.text
        observation = Page(text=self._text, thread=threading.get_ident())
        observation.reward = self._apply_rubric(action, observation)
        return observation

    @property
    def state(self):
        return self._state
