"""The page of a server."""

from openenv.core._lazy import lazy_table
from openenv.environment import Environment
from openenv.server.gradio_page import (
    OPENENV_GRADIO_CSS,
    build_gradio_app,
    get_gradio_display_title,
)
from openenv.server.serialization import deserialize_action_with_preprocessing, serialize_observation
from openenv.server.web_interface import (
    ActionLog,
    EpisodeState,
    WebInterfaceManager,
    create_web_interface_app,
    get_quick_start_markdown,
    load_environment_metadata,
)
from openenv.types import Action, EnvironmentMetadata, Observation, State

__all__ = [
    "OPENENV_GRADIO_CSS",
    "Action",
    "ActionLog",
    "Environment",
    "EnvironmentMetadata",
    "EpisodeState",
    "Observation",
    "State",
    "WebInterfaceManager",
    "build_gradio_app",
    "create_web_interface_app",
    "deserialize_action_with_preprocessing",
    "get_gradio_display_title",
    "get_quick_start_markdown",
    "load_environment_metadata",
    "serialize_observation",
]

__getattr__, __dir__ = lazy_table(__name__, {"OPENENV_GRADIO_THEME": "openenv.server.gradio_page"})
