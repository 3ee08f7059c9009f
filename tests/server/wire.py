"""A socket as the doors see one: what they send and how they close is kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from openenv.environment import describe
from openenv.protocol.extended import JsonCodec, codec_of
from openenv.protocol.handshake import EXTENDED_SUBPROTOCOL, MSGPACK_SUBPROTOCOL
from openenv.protocol.packing import pack
from openenv.server.runtime import ServerRuntime
from openenv.server.settings import ServerSettings


def runtime_of(target: Any, **settings: Any) -> ServerRuntime:
    """A runtime whose home, in an asynchronous test, is the test's loop."""
    runtime = ServerRuntime(describe(target), ServerSettings(**settings))
    with contextlib.suppress(RuntimeError):
        runtime.start()
    return runtime


async def until(check: Callable[[], bool]) -> None:
    """Wait until something holds, for five seconds at most."""
    for _ in range(500):
        if check():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to hold")


class Wire:
    """One connection to a runtime's door."""

    def __init__(
        self,
        runtime: ServerRuntime,
        path: str = "/ws",
        query: str = "",
        *,
        extended: bool = False,
        msgpack: bool = False,
        client: str | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.runtime = runtime
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed: asyncio.Future[int] = loop.create_future()

        def send(payload: bytes) -> None:
            loop.call_soon_threadsafe(self.frames.put_nowait, payload)

        def close(code: int, reason: str) -> None:
            loop.call_soon_threadsafe(self.closed.set_result, code)

        subprotocol = MSGPACK_SUBPROTOCOL if msgpack else EXTENDED_SUBPROTOCOL if extended else None
        self.codec = codec_of(subprotocol) or JsonCodec()
        self.door = runtime.open_door(path, query, {}, subprotocol, send, close, client)

    async def __aenter__(self) -> Self:
        await self.door.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.door.lost()

    def send(self, message: Any, *, binary: bool = False) -> None:
        encode = pack if self.codec.binary else lambda value: json.dumps(value).encode()
        raw = message if isinstance(message, bytes) else encode(message)
        self.door.receive(raw, binary is not self.codec.binary)

    async def reply(self) -> dict[str, Any]:
        return self.codec.values(await asyncio.wait_for(self.frames.get(), 30))

    async def ask(self, message: Any, *, binary: bool = False) -> dict[str, Any]:
        self.send(message, binary=binary)
        return await self.reply()
