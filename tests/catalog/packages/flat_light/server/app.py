import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "helpers"))

from models import LightAction, LightObservation
from server.light_environment import LightEnvironment

from openenv.core.env_server.http_server import create_app

app = create_app(LightEnvironment, LightAction, LightObservation, env_name="light")
