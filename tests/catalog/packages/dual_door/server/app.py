try:
    from openenv.core.env_server.http_server import create_app
except ImportError as problem:
    raise ImportError("install openenv") from problem

try:
    from dual_door.models import DoorAction, DoorObservation
    from dual_door.server.door_environment import DoorEnvironment
except ModuleNotFoundError:
    from models import DoorAction, DoorObservation
    from server.door_environment import DoorEnvironment

app = create_app(DoorEnvironment, DoorAction, DoorObservation, env_name="dual_door", max_concurrent_envs=1)
