"""What authors write against: the base class, its marks, and the description the framework derives."""

from openenv.environment.actions import action
from openenv.environment.base import Environment
from openenv.environment.describe import describe
from openenv.environment.episode import Episode
from openenv.environment.fields import hidden
from openenv.environment.observations import Transition
from openenv.environment.source import environment_source_location
from openenv.environment.spec import EnvironmentSpec
from openenv.environment.toolset import ToolSpec, tool

__all__ = [
    "Environment",
    "EnvironmentSpec",
    "Episode",
    "ToolSpec",
    "Transition",
    "action",
    "describe",
    "environment_source_location",
    "hidden",
    "tool",
]
