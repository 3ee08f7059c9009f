from functools import partial

from openenv.core.env_server import create_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import State

from ..models import Glow, Switch


class Lamp(Environment):
    def __init__(self, name):
        self.name = name
        self.switched = 0

    def reset(self):
        self.switched = 0
        return Glow()

    def step(self, action):
        self.switched += 1
        return Glow(on=action.on)

    @property
    def state(self):
        return State(step_count=self.switched, name=self.name)


app = create_app(partial(Lamp, "desk"), Switch, Glow, env_name="lamp")
