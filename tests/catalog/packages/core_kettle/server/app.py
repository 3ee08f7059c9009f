try:
    from core.env_server.http_server import create_app
except ImportError:
    from openenv.core.env_server.http_server import create_app

from models import Heat, Water
from server.kettle_environment import Kettle

app = create_app(Kettle, Heat, Water)
