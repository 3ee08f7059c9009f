import asyncio
from uuid import uuid4

try:
    from ..models import DoorAction, DoorObservation
except ImportError:
    from models import DoorAction, DoorObservation

from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import State


class DoorEnvironment(Environment):
    def __init__(self):
        self.current = State(episode_id=str(uuid4()), step_count=0)

    def reset(self, seed=None, episode_id=None, **kwargs):
        raise AssertionError("the asynchronous form is there")

    def step(self, action, timeout_s=None, **kwargs):
        raise AssertionError("the asynchronous form is there")

    async def reset_async(self, seed=None, episode_id=None, **kwargs):
        await asyncio.sleep(0)
        self.current = State(episode_id=episode_id or str(uuid4()), step_count=0)
        return DoorObservation()

    async def step_async(self, action: DoorAction, timeout_s=None, **kwargs):
        from models import DoorAction as FlatAction

        assert isinstance(action, FlatAction)
        await asyncio.sleep(0)
        self.current.step_count += 1
        return DoorObservation(is_open=action.do == "open", reward=0.5)

    @property
    def state(self):
        return self.current
