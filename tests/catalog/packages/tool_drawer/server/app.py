from openenv.core.env_server.http_server import create_app
from openenv.core.env_server.mcp_types import CallToolObservation

from ..models import DrawerAction
from .drawer_environment import DrawerEnvironment

app = create_app(
    DrawerEnvironment, DrawerAction, CallToolObservation, env_name="drawer", max_concurrent_envs=1
)
