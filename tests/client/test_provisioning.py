"""Clients that start their own server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.client.scripted import ScriptedServer, counting, until

from openenv.client.generic import GenericEnvClient
from openenv.client.sync_client import SyncEnvClient
from openenv.errors import ServerUnreachableError, UsageError

Start = Callable[..., ScriptedServer]


class Containers:
    """A container provider whose containers are scripted servers."""

    def __init__(self, url: str, *, ready: bool = True) -> None:
        self.url = url
        self.ready = ready
        self.log: list[Any] = []

    def start_container(self, image: str = "own", port: int | None = None, **kwargs: Any) -> str:
        self.log.append(("start", image, kwargs))
        return self.url

    def wait_for_ready(self, base_url: str, timeout_s: float = 30.0) -> None:
        self.log.append(("wait", base_url))
        if not self.ready:
            raise TimeoutError("never ready")

    def stop_container(self) -> None:
        self.log.append("stop")

    @property
    def stops(self) -> int:
        return self.log.count("stop")


class Runtimes:
    """A runtime provider."""

    context_timeout_s = 5.0

    def __init__(self, url: str) -> None:
        self.url = url
        self.log: list[Any] = []

    def start(self, **kwargs: Any) -> str:
        self.log.append(("start", kwargs))
        return self.url

    def wait_for_ready(self, timeout_s: float = 30.0) -> None:
        self.log.append(("wait", timeout_s))

    def stop(self) -> None:
        self.log.append("stop")


@pytest.fixture
def containers(scripted: Start) -> Containers:
    return Containers(scripted(counting).url)


def test_from_docker_image_synchronously(containers: Containers) -> None:
    handle = GenericEnvClient.from_docker_image("image:1", provider=containers, env_vars={"A": "1"})
    assert containers.log == []
    client = handle.sync()
    assert isinstance(client, SyncEnvClient)
    assert client.reset().observation == {"count": 0}
    assert containers.log[0] == ("start", "image:1", {"env_vars": {"A": "1"}})
    client.close()
    assert containers.stops == 1
    with pytest.raises(UsageError, match="already"):
        handle.sync()


async def test_from_docker_image_asynchronously(containers: Containers) -> None:
    client = await GenericEnvClient.from_docker_image("image:1", provider=containers)
    assert (await client.reset()).observation == {"count": 0}
    await client.close()
    assert containers.stops == 1


def test_the_handle_is_a_coroutine(containers: Containers) -> None:
    async def use() -> None:
        client = await GenericEnvClient.from_docker_image("image:1", provider=containers)
        await client.close()

    asyncio.run(use())
    handle = GenericEnvClient.from_docker_image("image:1", provider=containers)
    assert asyncio.iscoroutine(handle)
    handle.close()
    assert "sync()" in repr(handle)


def test_what_does_not_get_ready_is_stopped(containers: Containers) -> None:
    containers.ready = False
    with pytest.raises(TimeoutError, match="never ready"):
        GenericEnvClient.from_docker_image("image:1", provider=containers).sync()
    assert containers.stops == 1


def test_what_cannot_be_reached_is_stopped() -> None:
    containers = Containers("http://127.0.0.1:1")
    with pytest.raises(ServerUnreachableError):
        GenericEnvClient.from_docker_image("image:1", provider=containers).sync()
    assert containers.stops == 1


def test_a_client_that_cannot_be_made_leaves_no_server(containers: Containers) -> None:
    class Refuses(GenericEnvClient):
        def __init__(self, base_url: str, provider: Any = None) -> None:
            raise KeyError("no")

    with pytest.raises(KeyError):
        Refuses.from_docker_image("image:1", provider=containers).sync()
    assert containers.stops == 1


async def test_cancelling_the_start_leaves_no_server(containers: Containers) -> None:
    waiting, go = threading.Event(), threading.Event()

    def slow(base_url: str, timeout_s: float = 30.0) -> None:
        waiting.set()
        go.wait(5)

    containers.wait_for_ready = slow  # type: ignore[method-assign]

    async def start() -> Any:
        return await GenericEnvClient.from_docker_image("image:1", provider=containers)

    task = asyncio.create_task(start())
    await asyncio.to_thread(waiting.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    await asyncio.to_thread(until, lambda: containers.stops == 1)


def test_from_env_with_docker(containers: Containers) -> None:
    handle = GenericEnvClient.from_env("Open/Echo_Env", provider=containers, tag="v2", port=9)
    handle.sync().close()
    assert containers.log[0] == ("start", "registry.hf.space/open-echo-env:v2", {})
    assert containers.stops == 1


def test_from_env_as_a_project(scripted: Start) -> None:
    runtimes = Runtimes(scripted(counting).url)
    GenericEnvClient.from_env("a/b", use_docker=False, provider=runtimes, port=9).sync().close()
    assert runtimes.log == [("start", {"port": 9}), ("wait", 5.0), "stop"]
    with pytest.raises(ValueError, match="reload"):
        GenericEnvClient.from_env("a/b", use_docker=False, provider=runtimes, reload=True).sync()


def test_a_provider_instead_of_a_url(containers: Containers, scripted: Start) -> None:
    client = GenericEnvClient(provider=containers)
    with client:
        assert client.base_url == containers.url
        assert client.reset().observation == {"count": 0}
        assert client.new_session().reset().observation == {"count": 0}
    assert containers.stops == 1
    client.connect()
    assert len([entry for entry in containers.log if entry[0] == "start"]) == 2
    client.close()
    assert containers.stops == 2
    runtimes = Runtimes(containers.url)
    with GenericEnvClient(provider=runtimes) as other:
        other.reset()
    assert runtimes.log[-1] == "stop"


async def test_a_provider_asynchronously(containers: Containers) -> None:
    async with GenericEnvClient(provider=containers) as client:
        assert (await client.reset()).observation == {"count": 0}
    assert containers.stops == 1


def test_providers_that_cannot_start_by_themselves() -> None:
    class Needs(Containers):
        def start_container(self, image: str, port: int | None = None, **kwargs: Any) -> str:  # type: ignore[override]
            raise AssertionError("it must not be called")

    with pytest.raises(ValueError, match="needs image"):
        GenericEnvClient(provider=Needs("http://x")).connect()
    with pytest.raises(TypeError, match="no provider"):
        GenericEnvClient(provider=object()).connect()
