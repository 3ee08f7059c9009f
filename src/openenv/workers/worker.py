"""A worker process: an ordinary server that is handed its connections."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import Any

import uvicorn

from openenv.server.run import RunSettings, unbound_server
from openenv.server.runtime import ServerRuntime
from openenv.workers.channel import Channel, Closed, Message
from openenv.workers.forward import WorkerApp
from openenv.workers.link import Duties, Link
from openenv.workers.tunnel import Relay

logger = logging.getLogger("openenv.workers")

ORPHAN_S = 4
"""Seconds in which a worker whose supervisor died closes its sessions; then the kernel ends it."""

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.1


def receive_config(descriptor: int) -> tuple[Channel, Message]:
    """Take the channel that the supervisor passed on, and what it says first.

    Args:
        descriptor: our end of the channel.

    Raises:
        SystemExit: the supervisor is gone.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    os.set_inheritable(descriptor, False)
    channel = Channel(socket.socket(fileno=descriptor))
    try:
        received = None
        while received is None:
            select.select([channel], [], [])
            received = channel.receive()
    except Closed:
        raise SystemExit(1) from None
    return channel, received[0]


@dataclass(frozen=True, slots=True)
class Introduction:
    """What the first worker says of the server.

    Attributes:
        name: name of the environment.
        production: whether there are tools only.
        insecure: whether it is served beyond this machine without a token on purpose.
        token: whether it asks for one.
    """

    name: str
    production: bool
    insecure: bool
    token: bool


class WorkerServer:
    """Serves an application on connections that the supervisor passes on.

    Args:
        app: an application with a `ServerRuntime`.
        channel: our end of the channel.
        config: what the supervisor said first: `number`, and `server_id`.
        settings: how connections are served; the address is not used.
        introduction: what the supervisor is told of the server.
    """

    def __init__(
        self, app: Any, channel: Channel, config: Message, settings: RunSettings, introduction: Introduction
    ) -> None:
        runtime: ServerRuntime = app.state.openenv
        limits = runtime.settings
        most = runtime.manager.max_sessions
        self._link = Link(channel, config["number"], most, limits.queue_timeout_s)
        runtime.join(config["server_id"], self._link)
        runtime.relay = Relay(self._link, runtime.http.cookie_name)
        runtime.http.on_remember = self._remember
        self._runtime = runtime
        self._introduction = introduction
        self._socket_file: list[Any] | None = config["socket_file"]
        self._server, self._loop_factory = unbound_server(
            WorkerApp(app, runtime, self._link), settings, self._started
        )
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def _config(self) -> uvicorn.Config:
        return self._server.config

    def run(self) -> None:
        """Serve until told to stop, or until the supervisor is gone."""
        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        watching = asyncio.get_running_loop().create_task(self._announce_leave())
        try:
            await self._server.serve(sockets=[])
        finally:
            watching.cancel()
            self._link.stop()

    def _started(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too; the supervisor decides
        self._link.start(
            Duties(
                connection=self._connected,
                retire=self._retire,
                bury=self._bury,
                make_room=self._make_room,
                orphaned=self._orphan,
            )
        )
        runtime = self._runtime
        self._link.tell(
            {
                "do": "ready",
                "max_sessions": runtime.manager.max_sessions,
                "queue_size": runtime.settings.queue_size,
                **{name: getattr(self._introduction, name) for name in Introduction.__slots__},
            }
        )

    async def _announce_leave(self) -> None:
        """Tell the supervisor, once, that no more connections are wanted."""
        while not self._server.should_exit:  # noqa: ASYNC110 - uvicorn has nothing to wait for
            await asyncio.sleep(_POLL_S)
        self._link.tell({"do": "leaving"})

    # What the supervisor says ------------------------------------------------------------------------

    def _connected(self, sock: socket.socket, from_peer: bool) -> None:
        if self._server.should_exit and not from_peer:
            self._link.tell({"do": "connection"}, sock)
            return
        self._start(self._accept(sock, from_peer))

    async def _accept(self, sock: socket.socket, from_peer: bool) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                self._protocol, sock, ssl=None if from_peer else self._config.ssl
            )
        except OSError as problem:  # a handshake that failed, or a peer that left
            logger.debug("A connection ended before it began: %s", problem)
            sock.close()

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self._config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self._config,
            server_state=self._server.server_state,
            app_state=self._server.lifespan.state,
        )
        return protocol

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _retire(self, grace_s: float) -> None:
        self._start(self._wait_for_sessions(time.monotonic() + grace_s))

    async def _wait_for_sessions(self, deadline: float) -> None:
        while self._runtime.manager.active and time.monotonic() < deadline:  # noqa: ASYNC110 - as above
            await asyncio.sleep(_POLL_S)
        self._server.should_exit = True

    def _bury(self, graves: list[tuple[str, str | None]]) -> None:
        for session_id, address in graves:
            self._runtime.http.bury(session_id, address)

    def _remember(self, session_id: str, address: str | None) -> None:
        self._link.tell({"do": "http", "session": session_id, "address": address})

    async def _make_room(self, client: str | None) -> bool:
        before = self._runtime.manager.active
        await self._runtime.http.make_room(client)
        return self._runtime.manager.active < before

    def _orphan(self) -> None:
        """The supervisor is gone: close the sessions while the kernel's alarm clock runs."""
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(ORPHAN_S)
        logger.warning("The supervisor is gone: worker %d ends", self._link.number)
        self._remove_socket_file()
        self._runtime.settings = self._runtime.settings.replace(drain_s=ORPHAN_S / 4)
        self._server.should_exit = True

    def _remove_socket_file(self) -> None:
        """Remove the file that the supervisor listened at, unless another server took its place."""
        if self._socket_file is None:
            return
        path, *identity = self._socket_file
        with contextlib.suppress(OSError):
            status = os.stat(path)
            if [status.st_dev, status.st_ino] == identity:
                os.unlink(path)
