"""Projects run by `uv`."""

from openenv.launch import RuntimeProvider, UVProvider

__all__ = [
    "RuntimeProvider",
    "UVProvider",
]
