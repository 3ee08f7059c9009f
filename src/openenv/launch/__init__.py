"""Where a server runs, when this process is to start it: a process or a container."""

from openenv.launch.docker import LocalDockerProvider
from openenv.launch.later import DockerSwarmProvider, KubernetesProvider
from openenv.launch.providers import ContainerProvider, RuntimeProvider
from openenv.launch.uv import UVProvider

__all__ = [
    "ContainerProvider",
    "DockerSwarmProvider",
    "KubernetesProvider",
    "LocalDockerProvider",
    "RuntimeProvider",
    "UVProvider",
]
