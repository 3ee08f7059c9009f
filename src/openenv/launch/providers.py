"""Two kinds of places that run a server on a client's behalf.

A `ContainerProvider` starts an image; a `RuntimeProvider` starts a project. Both answer with the
server's base URL, and a client that was given one stops it when the client is closed. Subclass them to
run servers elsewhere; clients call nothing but the methods below.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self


class ContainerProvider(ABC):
    """Runs one container with an environment server in it."""

    @abstractmethod
    def start_container(
        self, image: str, port: int | None = None, env_vars: dict[str, str] | None = None, **kwargs: Any
    ) -> str:
        """Start a container.

        Args:
            image: image to run.
            port: port of this machine to publish the server on; None takes a free one.
            env_vars: environment variables of the container.
            **kwargs: options of the provider.

        Returns:
            The server's base URL. It may not be ready yet.
        """

    @abstractmethod
    def stop_container(self) -> None:
        """Stop and remove the container; does nothing if none runs."""

    @abstractmethod
    def wait_for_ready(self, base_url: str, timeout_s: float = 30.0) -> None:
        """Wait until the server answers.

        Raises:
            TimeoutError: it did not within `timeout_s` seconds.
        """

    def close(self) -> None:
        """Release everything; by default, stop the container."""
        self.stop_container()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class RuntimeProvider(ABC):
    """Runs one environment server from a project, without a container.

    As a context manager it starts on entry and stops on exit.
    """

    @abstractmethod
    def start(self, port: int | None = None, env_vars: dict[str, str] | None = None, **kwargs: Any) -> str:
        """Start the server.

        Args:
            port: port to listen on; None takes a free one.
            env_vars: environment variables of the server.
            **kwargs: options of the provider.

        Returns:
            The server's base URL. It may not be ready yet.
        """

    @abstractmethod
    def stop(self) -> None:
        """Stop the server; does nothing if it does not run."""

    @abstractmethod
    def wait_for_ready(self, timeout_s: float = 30.0) -> None:
        """Wait until the server answers.

        Raises:
            TimeoutError: it did not within `timeout_s` seconds.
        """

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
