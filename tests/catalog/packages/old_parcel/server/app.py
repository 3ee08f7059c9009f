from openenv_core.env_server.http_server import create_app

from ..models import Receipt, Send
from .parcel_environment import ParcelEnvironment

app = create_app(ParcelEnvironment, Send, Receipt, env_name="parcel")
