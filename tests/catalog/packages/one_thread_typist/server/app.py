from openenv.core.env_server.http_server import create_app
from openenv.core.env_server.types import ConcurrencyConfig

from ..models import Page, Type
from .typist_environment import TypistEnvironment

app = create_app(TypistEnvironment, Type, Page, concurrency_config=ConcurrencyConfig(max_concurrent_envs=4))
