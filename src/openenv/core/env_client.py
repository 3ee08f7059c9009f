"""`EnvClient`, and the names that published code imports from beside it."""

from typing import TYPE_CHECKING

from openenv.client import EnvClient
from openenv.core._lazy import lazy_table
from openenv.types import ActT, ObsT, StateT, StepResult
from openenv.utils import convert_to_ws_url, hf_space_subdomain

if TYPE_CHECKING:
    from openenv.core.containers.runtime import LocalDockerProvider, UVProvider

__all__ = [
    "ActT",
    "EnvClient",
    "LocalDockerProvider",
    "ObsT",
    "StateT",
    "StepResult",
    "UVProvider",
    "convert_to_ws_url",
    "hf_space_subdomain",
]

__getattr__, __dir__ = lazy_table(
    __name__,
    {
        "LocalDockerProvider": "openenv.core.containers.runtime.providers",
        "UVProvider": "openenv.core.containers.runtime.uv_provider",
    },
)
