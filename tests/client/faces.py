"""The two faces of a connection behind one interface, so that a test runs on both."""

from __future__ import annotations

import asyncio
from typing import Any

from openenv.client.async_connection import AsyncConnection
from openenv.client.connection import SyncConnection
from openenv.client.endpoint import Endpoint


class SyncFace:
    """The synchronous connection, each call in a thread of its own."""

    def __init__(self, connection: SyncConnection) -> None:
        self.it = connection

    @classmethod
    async def open(cls, url: str, **options: Any) -> SyncFace:
        return cls(await asyncio.to_thread(SyncConnection, Endpoint.at(url, **options)))

    async def call(self, call: str, data: Any = None, *, timeout_s: float | None = None) -> Any:
        return await asyncio.to_thread(self.it.call, call, data, timeout_s=timeout_s)

    async def close(self) -> None:
        await asyncio.to_thread(self.it.close)


class AsyncFace:
    """The asynchronous connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.it = connection
        self.call = connection.call
        self.close = connection.close

    @classmethod
    async def open(cls, url: str, **options: Any) -> AsyncFace:
        return cls(await AsyncConnection.open(Endpoint.at(url, **options)))


Face = type[SyncFace] | type[AsyncFace]
