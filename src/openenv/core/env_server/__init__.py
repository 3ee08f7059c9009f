"""What published environments import from; a name is loaded when it is first used."""

# ruff: noqa: F403, F405  (the star imports below are for type checkers; a test resolves every name)

from typing import TYPE_CHECKING

from openenv.core._lazy import lazy_search

if TYPE_CHECKING:
    from openenv.core.env_server.base_transforms import *
    from openenv.core.env_server.exceptions import *
    from openenv.core.env_server.http_server import *
    from openenv.core.env_server.interfaces import *
    from openenv.core.env_server.mcp_environment import *
    from openenv.core.env_server.mcp_types import *
    from openenv.core.env_server.route_config import *
    from openenv.core.env_server.serialization import *
    from openenv.core.env_server.types import *
    from openenv.core.env_server.web_interface import *

__all__ = [
    "RESERVED_TOOL_NAMES",
    "Action",
    "BaseMessage",
    "CallToolAction",
    "CallToolObservation",
    "CompositeTransform",
    "ConcurrencyConfig",
    "ConcurrencyConfigurationError",
    "Environment",
    "EnvironmentFactoryError",
    "GetEndpointConfig",
    "GetTaskRangeRequest",
    "GetTaskRequest",
    "HTTPEnvServer",
    "HealthResponse",
    "HealthStatus",
    "JsonRpcError",
    "JsonRpcErrorCode",
    "JsonRpcRequest",
    "JsonRpcResponse",
    "ListTasksRequest",
    "ListToolsAction",
    "ListToolsObservation",
    "MCPEnvironment",
    "McpMethod",
    "Message",
    "ModelTokenizer",
    "NullTransform",
    "NumTasksRequest",
    "Observation",
    "OpenEnvError",
    "SchemaResponse",
    "ServerCapacityStatus",
    "ServerMode",
    "SessionCapacityError",
    "SessionCreationError",
    "SessionInfo",
    "SessionNotFoundError",
    "State",
    "TaskProvider",
    "Tool",
    "ToolError",
    "ToolErrorType",
    "Transform",
    "WSCloseMessage",
    "WSErrorCode",
    "WSErrorResponse",
    "WSIncomingMessage",
    "WSMCPMessage",
    "WSMCPResponse",
    "WSObservationResponse",
    "WSResetMessage",
    "WSStateMessage",
    "WSStateResponse",
    "WSStepMessage",
    "WebInterfaceManager",
    "create_app",
    "create_fastapi_app",
    "create_web_interface_app",
    "deserialize_action",
    "deserialize_action_with_preprocessing",
    "serialize_observation",
]

_LIGHT_FIRST = [
    "types",
    "mcp_types",
    "interfaces",
    "base_transforms",
    "exceptions",
    "serialization",
    "route_config",
    "mcp_environment",
    "web_interface",
    "http_server",
]
_FURTHER = ["gradio_theme", "gradio_ui"]

__getattr__, __dir__ = lazy_search(__name__, __all__, _LIGHT_FIRST, _FURTHER)
