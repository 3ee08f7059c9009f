from fastapi import FastAPI

from openenv.core.env_server import HTTPEnvServer
from openenv.core.env_server.interfaces import Environment, State

from ..models import Box, Post


class Mailbox(Environment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self):
        super().__init__()
        self._letters = []

    def reset(self, seed=None, episode_id=None):
        self._letters = []
        return Box()

    def step(self, action):
        self._letters.append(action.text)
        return Box(letters=len(self._letters), reward=1.0)

    @property
    def state(self):
        return State(step_count=len(self._letters))


class MailboxServer(HTTPEnvServer):
    def register_routes(self, app):
        super().register_routes(app)

        @app.get("/capacity")
        def capacity():
            return {"makes": type(self._env_factory()).__name__, **self.get_capacity_status().model_dump()}


def build():
    application = FastAPI(title="Mailbox")
    MailboxServer(Mailbox, Post, Box, max_concurrent_envs=2).register_routes(application)
    return application


app = build()
