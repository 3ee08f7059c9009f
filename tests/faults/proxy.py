"""A TCP proxy that breaks WebSocket connections at chosen frames, the same ones for the same seed.

A client names its lane in the header `X-Lane`. What happens to the n-th frame of the m-th connection of a
lane is drawn from a generator seeded with the proxy's seed, the lane and m: it does not depend on what other
lanes do, nor on time.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from random import Random

HEAD_END = b"\r\n\r\n"

REQUEST_FAULTS = {
    "request lost": 3.0,
    "request cut": 2.0,
    "request reset": 2.0,
    "request twice": 3.0,
    "request late": 2.0,
    "reply lost": 4.0,
}
"""What may happen to a frame of the client, with weights. `reply lost`: forwarded, then the end."""

REPLY_FAULTS = {
    "answer lost": 3.0,
    "answer cut": 2.0,
    "answer reset": 2.0,
    "answer twice": 3.0,
    "answer held": 1.0,
    "stall": 0.3,
}
"""What may happen to a frame of the server.

`answer held`: it comes after the deadline that a client may have set. `stall`: nothing comes any more, and
nobody says so.
"""

HELD_S = 0.6

HELLO_FAULTS = {"hello dropped": 1.0, "hello refused": 1.0, "hello cut": 1.0}
"""What may happen to the handshake of a connection that is not the first of its lane."""

KINDS = frozenset({*REQUEST_FAULTS, *REPLY_FAULTS, *HELLO_FAULTS})


class Broken(Exception):
    """The proxy ends the connection."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__()
        self.reset = reset


class FrameCutter:
    """Cuts a stream into whole WebSocket frames."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> list[bytes]:
        self._data += data
        frames = []
        while (size := self._size()) is not None and len(self._data) >= size:
            frames.append(self._data[:size])
            self._data = self._data[size:]
        return frames

    def _size(self) -> int | None:
        data = self._data
        if len(data) < 2:
            return None
        length, head = data[1] & 0x7F, 2 + (4 if data[1] & 0x80 else 0)
        extra = {126: 2, 127: 8}.get(length, 0)
        if len(data) < 2 + extra:
            return None
        if extra:
            length = int.from_bytes(data[2 : 2 + extra], "big")
        return head + extra + length


class ChaosProxy:
    """Forwards connections to a server and breaks them.

    Args:
        target: address of the server.
        seed: what the faults are drawn from.
        rates: probability of a fault at a data frame, by the lane's first word; "" for all others.
        stall_s: how long a stalled connection stays open.

    Attributes:
        faults: how often each kind of fault was made.
        url: where clients connect to.
    """

    def __init__(
        self, target: tuple[str, int], *, seed: int, rates: Mapping[str, float], stall_s: float = 3.0
    ) -> None:
        self.target = target
        self.seed = seed
        self.rates = rates
        self.stall_s = stall_s
        self.faults: Counter[str] = Counter()
        self.connections: Counter[str] = Counter()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._serving: set[asyncio.Task[None]] = set()
        self._stop: Callable[[], object] = lambda: None
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main(ready)), name="chaos-proxy", daemon=True
        )
        self._thread.start()
        ready.wait(30)

    def stop(self) -> None:
        """Drop every connection and end."""
        self._stop()
        self._thread.join(10)

    def __enter__(self) -> ChaosProxy:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    async def _main(self, ready: threading.Event) -> None:
        loop, ending = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, sock=self._listener)
        self._stop = lambda: loop.call_soon_threadsafe(ending.set)
        ready.set()
        await ending.wait()
        server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await asyncio.sleep(0)  # for transports that were aborted

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream: asyncio.StreamWriter | None = None
        reset = False
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            head = await reader.readuntil(HEAD_END)
            lane = _header(head, b"x-lane")
            attempt = self.connections[lane]
            self.connections[lane] += 1
            faults = Faults(self, lane, attempt)
            await faults.hello(writer, first=attempt == 0)
            source, upstream = await asyncio.open_connection(*self.target)
            upstream.write(head)
            await self._forward(faults, reader, writer, source, upstream)
        except Broken as broken:
            reset = broken.reset
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        except asyncio.CancelledError:
            reset = True  # the proxy ends
        finally:
            for end in (writer, upstream):
                if end is not None:
                    _drop(end, reset)

    async def _forward(
        self,
        faults: Faults,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        source: asyncio.StreamReader,
        upstream: asyncio.StreamWriter,
    ) -> None:
        pumps = [
            asyncio.ensure_future(_requests(faults, reader, upstream)),
            asyncio.ensure_future(_replies(faults, source, writer)),
        ]
        try:
            done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in done:
                pump.result()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)


class Faults:
    """What happens to the frames of one connection.

    Attributes:
        mute: whether the replies are lost from now on.
    """

    def __init__(self, proxy: ChaosProxy, lane: str, attempt: int) -> None:
        self.proxy = proxy
        self.mute = False
        self.rate = proxy.rates.get(lane.partition("-")[0], proxy.rates.get("", 0.0))
        self._random = {name: Random(f"{proxy.seed} {lane} {attempt} {name}") for name in ("to", "from")}

    def draw(self, way: str, menu: Mapping[str, float], rate: float | None = None) -> str:
        random = self._random[way]
        if random.random() >= (self.rate if rate is None else rate):
            return ""
        [kind] = random.choices(list(menu), list(menu.values()))
        self.proxy.faults[kind] += 1
        return kind

    def between(self, low: float, high: float) -> float:
        return self._random["to"].uniform(low, high)

    async def hello(self, writer: asyncio.StreamWriter, *, first: bool) -> None:
        kind = "" if first or not self.rate else self.draw("to", HELLO_FAULTS, 0.1)
        if not kind:
            return
        if kind == "hello refused":
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        elif kind == "hello cut":
            writer.write(b"HTTP/1.1 101 Switch")
            await writer.drain()
        raise Broken


async def _requests(faults: Faults, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter) -> None:
    cutter = FrameCutter()
    while data := await reader.read(65536):
        for frame in cutter.feed(data):
            kind = faults.draw("to", REQUEST_FAULTS) if _is_data(frame) else ""
            if kind == "request late":
                await asyncio.sleep(faults.between(0.001, 0.02))
            if kind in ("request lost", "request reset"):
                raise Broken(reset=kind == "request reset")
            if kind == "request cut":
                upstream.write(frame[: len(frame) // 2])
                await upstream.drain()
                raise Broken
            if upstream.transport.is_closing():
                raise Broken
            faults.mute = kind == "reply lost"
            upstream.write(frame * (2 if kind == "request twice" else 1))
            if kind == "reply lost":
                await upstream.drain()
                await asyncio.sleep(faults.between(0.0, 0.01))
                raise Broken
        await upstream.drain()


async def _replies(faults: Faults, source: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await source.readuntil(HEAD_END))
    cutter = FrameCutter()
    while data := await source.read(65536):
        for frame in cutter.feed(data):
            kind = faults.draw("from", REPLY_FAULTS) if _is_data(frame) else ""
            if kind == "answer held":
                await asyncio.sleep(HELD_S)
            if kind == "stall":
                await asyncio.sleep(faults.proxy.stall_s)
                raise Broken
            if kind in ("answer lost", "answer reset"):
                raise Broken(reset=kind == "answer reset")
            if kind == "answer cut":
                writer.write(frame[: len(frame) // 2])
                await writer.drain()
                raise Broken
            if writer.transport.is_closing() or faults.mute:
                raise Broken
            writer.write(frame * (2 if kind == "answer twice" else 1))
        await writer.drain()


def _is_data(frame: bytes) -> bool:
    return not frame[0] & 0x08


def _header(head: bytes, name: bytes) -> str:
    for line in head.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip().decode()
    return ""


def _drop(writer: asyncio.StreamWriter, reset: bool) -> None:
    if reset:
        link = writer.get_extra_info("socket")
        if link is not None:
            with contextlib.suppress(OSError):
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()
