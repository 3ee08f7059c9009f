"""What authors of environments write against."""

from openenv.environment import Environment
from openenv.protocol.chat import Message, ModelTokenizer
from openenv.tasks import TaskProvider
from openenv.transforms import Transform
from openenv.types import Action, ActT, EnvironmentMetadata, Observation, ObsT, State, StateT

__all__ = [
    "ActT",
    "Action",
    "Environment",
    "EnvironmentMetadata",
    "Message",
    "ModelTokenizer",
    "ObsT",
    "Observation",
    "State",
    "StateT",
    "TaskProvider",
    "Transform",
]
