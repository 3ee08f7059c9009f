"""Small GET routes by table."""

from openenv.server.routes import GetEndpointConfig, register_get_endpoints

__all__ = [
    "GetEndpointConfig",
    "register_get_endpoints",
]
