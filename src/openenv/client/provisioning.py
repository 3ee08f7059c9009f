"""Servers that a client starts itself, through a container or runtime provider.

Providers are told apart by the published methods: one with `start_container` runs images, one with
`start` runs projects.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from openenv.errors import UsageError

ClientT = TypeVar("ClientT")


def start(provider: Any) -> str:
    """Start a provider that knows itself what to run; return the server's URL once it is ready.

    Raises:
        ValueError: its `start_container` needs arguments.
        TypeError: it is no provider.
    """
    if hasattr(provider, "start_container"):
        needed = _required(provider.start_container)
        if needed:
            raise ValueError(
                f"{type(provider).__name__}.start_container() needs {', '.join(needed)}: start it yourself "
                "and give the client its base_url, or use from_docker_image()"
            )
        url = str(provider.start_container())
        provider.wait_for_ready(url)
        return url
    if hasattr(provider, "start"):
        url = str(provider.start())
        provider.wait_for_ready()
        return url
    raise TypeError(f"{provider!r} is no provider: it has neither start_container() nor start()")


def stop(provider: Any) -> None:
    """Stop what a provider runs."""
    if hasattr(provider, "stop_container"):
        provider.stop_container()
    elif hasattr(provider, "stop"):
        provider.stop()


def _required(method: Callable[..., Any]) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [
        name
        for name, parameter in inspect.signature(method).parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind in (*kinds, inspect.Parameter.KEYWORD_ONLY)
    ]


def run_image(image: str, provider: Any, options: dict[str, Any]) -> tuple[str, Any]:
    """Start an image; return the server's URL and its provider. What failed to start is stopped."""
    if provider is None:
        from openenv.launch import LocalDockerProvider

        provider = LocalDockerProvider()
    try:
        url = str(provider.start_container(image, **options))
        provider.wait_for_ready(url)
    except BaseException:
        provider.stop_container()
        raise
    return url, provider


def run_space(repo_id: str, use_docker: bool, provider: Any, options: dict[str, Any]) -> tuple[str, Any]:
    """Start a Hugging Face Space, as an image or as a project; return the server's URL and its provider.

    Raises:
        ValueError: options for a provider that was made already.
    """
    from openenv.utils import hf_space_subdomain

    starting: dict[str, Any] = {
        name: options.pop(name) for name in ("port", "env_vars", "workers") if name in options
    }
    if use_docker:
        image = f"registry.hf.space/{hf_space_subdomain(repo_id)}:{options.pop('tag', 'latest')}"
        return run_image(image, provider, {**starting, **options})
    if provider is None:
        from openenv.launch import UVProvider

        project = options.pop("project_path", None) or f"git+https://huggingface.co/spaces/{repo_id}"
        provider = UVProvider(project_path=project, **options)
    elif options:
        raise ValueError(f"A provider was given, so its options cannot be: {', '.join(options)}")
    try:
        url = str(provider.start(**starting))
        patience = getattr(provider, "context_timeout_s", None)
        provider.wait_for_ready(**({} if patience is None else {"timeout_s": patience}))
    except BaseException:
        provider.stop()
        raise
    return url, provider


class Bootstrap(Coroutine[Any, Any, ClientT], Generic[ClientT]):
    """A client whose server is still to be started: ``await`` it, or call ``.sync()``, once.

    Args:
        make: starts the server and returns an unconnected client; it blocks.
        connect: connects the client in a coroutine.
    """

    def __init__(
        self,
        make: Callable[[], ClientT],
        connect: Callable[[Callable[[], ClientT]], Coroutine[Any, Any, ClientT]],
    ) -> None:
        self._make = make
        self._connect = connect
        self._coroutine: Coroutine[Any, Any, ClientT] | None = None
        self._used = False

    def sync(self) -> Any:
        """Start the server, connect, and return the synchronous client."""
        client: Any = self._take()()
        try:
            return client.sync().connect()
        except BaseException:
            client._stop_provider()
            raise

    def send(self, value: Any) -> Any:
        """Drive the coroutine."""
        return self._running().send(value)

    def throw(self, *args: Any) -> Any:
        """Raise an exception in the coroutine."""
        return self._running().throw(*args)

    def close(self) -> None:
        """End the coroutine, if it was begun."""
        if self._coroutine is not None:
            self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, ClientT]:
        return self._running().__await__()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: await it, or call .sync()>"

    def _running(self) -> Coroutine[Any, Any, ClientT]:
        if self._coroutine is None:
            self._coroutine = self._connect(self._take())
        return self._coroutine

    def _take(self) -> Callable[[], ClientT]:
        if self._used:
            raise UsageError("This server was started already; call from_docker_image or from_env again")
        self._used = True
        return self._make
