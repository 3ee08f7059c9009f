from envs.absolute_bell.server.bell_environment import BellEnvironment

from absolute_bell.models import BellAction, BellObservation
from openenv.core.env_server import create_app

app = create_app(BellEnvironment, BellAction, BellObservation)
