"""Actions from JSON, observations to JSON."""

from openenv.protocol.mcp_types import CallToolAction, ListToolsAction
from openenv.server.serialization import (
    deserialize_action,
    deserialize_action_with_preprocessing,
    serialize_observation,
)
from openenv.types import Action, Observation

__all__ = [
    "Action",
    "CallToolAction",
    "ListToolsAction",
    "Observation",
    "deserialize_action",
    "deserialize_action_with_preprocessing",
    "serialize_observation",
]
