"""Fixtures of the client's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.client.extended_server import ExtendedWorld
from tests.client.faces import AsyncFace, Face, SyncFace
from tests.client.scripted import Script, ScriptedServer, counting, counting_extended


@pytest.fixture
def scripted() -> Iterator[Callable[..., ScriptedServer]]:
    servers: list[ScriptedServer] = []

    def start(*scripts: Script, **options: Any) -> ScriptedServer:
        servers.append(ScriptedServer(*scripts, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def world() -> ExtendedWorld:
    return ExtendedWorld()


@pytest.fixture(params=["plain", "extended"])
def counting_server(
    request: pytest.FixtureRequest, scripted: Callable[..., ScriptedServer]
) -> ScriptedServer:
    return scripted(counting if request.param == "plain" else counting_extended)


@pytest.fixture(params=[SyncFace, AsyncFace], ids=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Face:
    kind: Face = request.param
    return kind
