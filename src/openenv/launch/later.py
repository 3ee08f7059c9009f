"""Providers whose names published code imports and that this version does not have."""

from __future__ import annotations

from typing import Any, NoReturn

from openenv.errors import NotAvailableError
from openenv.launch.providers import ContainerProvider


class _Later(ContainerProvider):
    """Says that it is not there when somebody makes one; its name can be imported."""

    def __init__(self) -> None:
        self._refuse()

    def start_container(
        self, image: str, port: int | None = None, env_vars: dict[str, str] | None = None, **kwargs: Any
    ) -> str:
        """Not available."""
        self._refuse()

    def stop_container(self) -> None:
        """Not available."""
        self._refuse()

    def wait_for_ready(self, base_url: str, timeout_s: float = 30.0) -> None:
        """Not available."""
        self._refuse()

    @classmethod
    def _refuse(cls) -> NoReturn:
        raise NotAvailableError(
            f"{cls.__name__} is not part of this version of OpenEnv: "
            "use LocalDockerProvider, or connect to a server that already runs."
        )


class DockerSwarmProvider(_Later):
    """Replicas of a server in a Docker swarm; not part of this version."""

    def __init__(self, *, auto_init_swarm: bool = True, overlay_network: str | None = None) -> None:
        self._refuse()


class KubernetesProvider(_Later):
    """A server in a Kubernetes cluster; not part of this version."""
