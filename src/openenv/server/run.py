"""Running an application: `serve` in this thread, `serve_async` in this loop, `BackgroundServer` beside you.

uvicorn does the HTTP; an application that carries a `ServerRuntime` (`app.state.openenv`) gets our WebSocket
transport as uvicorn's `ws=`. The listening socket is bound first, so that a busy port is a `UsageError`
before anything started.

SIGTERM and SIGINT drain: nothing new is accepted, calls in flight finish within `drain_s`, sessions close,
and `serve` returns normally. A second signal stops the waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from types import FrameType, TracebackType
from typing import Any

import uvicorn
from uvicorn.config import LOG_LEVELS

from openenv.errors import InfrastructureError, UsageError
from openenv.server.contract import DoorRuntime
from openenv.server.http_transport import bounded
from openenv.server.ports import inherited, listen_tcp, listen_unix, url_of
from openenv.server.transport import TransportSettings, websocket_protocol_class

# glibc serves the 256 KiB that asyncio asks for at every read by mapping and unmapping fresh pages, until a
# mapped block is freed once: from then on it keeps memory of that size. That one block makes each read of
# stdlib asyncio five times as fast.
bytearray(4 << 20)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_CLOSING_S = 5.0
"""Seconds that environments have to close, after calls in flight and close handshakes had theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """Where and how an application is served.

    Attributes:
        host: address to bind.
        port: port to bind; 0 takes a free one.
        uds: path of a Unix socket to bind instead.
        fd: descriptor of a socket that listens already, to serve on instead; it is closed in the end.
        drain_s: seconds that calls in flight have to finish when the server stops.
        head_timeout_s: seconds that a client has to finish the head of a request.
        log_level: least level that uvicorn's own loggers log.
        access_log: whether uvicorn logs every HTTP request.
        ping_interval_s: seconds between two pings on a WebSocket; None sends none.
        ping_timeout_s: seconds after which a peer that did not answer a ping is given up.
        close_timeout_s: seconds a peer has to answer our close frame on a WebSocket.
        ssl_certfile: certificate chain, for TLS.
        ssl_keyfile: the certificate's private key.
        loop: event loop: `uvloop`, `asyncio`, or `auto` for uvloop where it is installed.
        http: HTTP parser: `httptools`, `h11`, or `auto` for httptools where it is installed.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    uds: str | None = None
    fd: int | None = None
    drain_s: float = 10.0
    head_timeout_s: float = 10.0
    log_level: str = "info"
    access_log: bool = False
    ping_interval_s: float | None = 20.0
    ping_timeout_s: float = 20.0
    close_timeout_s: float = 2.0
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    loop: str = "auto"
    http: str = "auto"

    def __post_init__(self) -> None:
        if self.log_level not in LOG_LEVELS:
            raise UsageError(f"Unknown log level {self.log_level!r}. Choose one of {', '.join(LOG_LEVELS)}.")


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it is up and leaves the process alive after a signal."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None], signals: bool) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._signals = signals

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drain at a signal. uvicorn's own raises the signal again in the end, and the process dies of it."""
        if not self._signals or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; at the second signal, stop waiting."""
        self.force_exit = self.should_exit
        self.should_exit = True


def unbound_server(
    app: Any, settings: RunSettings, ready: Callable[[], None]
) -> tuple[uvicorn.Server, Callable[[], asyncio.AbstractEventLoop] | None]:
    """A server without a listening socket, for a process that is handed connections.

    Args:
        app: an ASGI application.
        settings: as for `serve`; the address is not used.
        ready: called when it serves.

    Returns:
        The server, and what makes its event loop.
    """
    return _Server(_config(app, settings), ready, signals=True), _loop_factory(settings.loop)


class _Listener:
    """A bound socket and the server that will accept from it."""

    def __init__(
        self, app: Any, settings: RunSettings, ready: Callable[[str], None] | None, *, signals: bool
    ) -> None:
        config = _config(app, settings)
        self._uds = settings.uds if settings.fd is None else None
        self._loop_factory = _loop_factory(settings.loop)
        self._socket = _listening(settings)
        self.url = url_of(self._socket, "https" if config.is_ssl else "http")
        self.server = _Server(config, lambda: ready(self.url) if ready is not None else None, signals)

    async def serve(self) -> None:
        """Serve until told to stop.

        Raises:
            InfrastructureError: the application did not start.
        """
        try:
            await self.server.serve(sockets=[self._socket])
        except SystemExit:
            raise InfrastructureError("The application did not start; the log says why.") from None
        finally:
            self._socket.close()
            if self._uds is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._uds)

    def run(self) -> None:
        """Serve in this thread, on a loop of its own."""
        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            runner.run(self.serve())


def _listening(settings: RunSettings) -> socket.socket:
    if settings.fd is not None:
        return inherited(settings.fd)
    return listen_tcp(settings.host, settings.port) if settings.uds is None else listen_unix(settings.uds)


def _loop_factory(loop: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop; None for asyncio's own."""
    if loop == "asyncio" or (loop == "auto" and find_spec("uvloop") is None):
        return None
    import uvloop

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _config(app: Any, settings: RunSettings) -> uvicorn.Config:
    runtime: DoorRuntime | None = getattr(getattr(app, "state", None), "openenv", None)
    transport = TransportSettings(
        ping_interval_s=settings.ping_interval_s,
        ping_timeout_s=settings.ping_timeout_s,
        close_timeout_s=settings.close_timeout_s,
        drain_s=settings.drain_s,
    )
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        uds=settings.uds,
        http=settings.http,
        ws="auto" if runtime is None else websocket_protocol_class(runtime, transport),
        ws_ping_interval=settings.ping_interval_s,
        ws_ping_timeout=settings.ping_timeout_s,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=math.ceil(settings.drain_s + settings.close_timeout_s + _CLOSING_S),
        server_header=False,
        log_config=None,
        log_level=settings.log_level,
        access_log=settings.access_log,
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
    )
    config.load()
    config.http_protocol_class = bounded(config.http_protocol_class, settings.head_timeout_s)
    return config


def serve(
    app: Any,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    uds: str | None = None,
    drain_s: float = 10.0,
    log_level: str = "info",
    ready: Callable[[str], None] | None = None,
    **more: Any,
) -> None:
    """Serve an application until SIGTERM or SIGINT, then drain and return.

    Args:
        app: an ASGI application; one made by `create_app` gets the fast WebSocket transport.
        host: address to bind.
        port: port to bind; 0 takes a free one, which `ready` is told.
        uds: path of a Unix socket to bind instead.
        drain_s: seconds that calls in flight have to finish when the server stops.
        log_level: least level that uvicorn's own loggers log.
        ready: called with the server's URL (`unix:PATH` for a Unix socket) when it accepts connections.
        more: further `RunSettings`.

    Raises:
        UsageError: the address cannot be bound; the message names it and says what to do.
        InfrastructureError: the application did not start.
    """
    settings = RunSettings(host=host, port=port, uds=uds, drain_s=drain_s, log_level=log_level, **more)
    _Listener(app, settings, ready, signals=True).run()


async def serve_async(app: Any, *, ready: Callable[[str], None] | None = None, **options: Any) -> None:
    """Serve an application in the running loop until cancelled, then drain. Signals are the caller's.

    Args:
        app: an ASGI application.
        ready: called with the server's URL when it accepts connections.
        options: `RunSettings`.

    Raises:
        UsageError: the address cannot be bound.
        InfrastructureError: the application did not start.
    """
    listener = _Listener(app, RunSettings(**options), ready, signals=False)
    serving = asyncio.create_task(listener.serve())
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        listener.server.should_exit = True
        await asyncio.wait((serving,))
        raise


class BackgroundServer:
    """A server in a thread of this process, for tests, notebooks and documentation.

    ::

        with BackgroundServer(app) as url:
            ...

    Leaving the block drains the server and waits for its thread.

    Args:
        app: an ASGI application; one made by `create_app` gets the fast WebSocket transport.
        port: port to bind; 0 takes a free one.
        drain_s: seconds that calls in flight have to finish when the server stops.
        options: further `RunSettings`.
    """

    def __init__(self, app: Any, *, port: int = 0, drain_s: float = 2.0, **options: Any) -> None:
        self._app = app
        self._settings = RunSettings(port=port, drain_s=drain_s, **options)
        self._listener: _Listener | None = None
        self._thread: threading.Thread | None = None
        self._settled = threading.Event()  # it accepts connections, or never will
        self._failures: list[BaseException] = []

    @property
    def url(self) -> str:
        """The server's URL; `unix:PATH` for a Unix socket.

        Raises:
            UsageError: the server does not run.
        """
        if self._listener is None:
            raise UsageError("The server does not run: use `with BackgroundServer(app) as url:`")
        return self._listener.url

    def start(self) -> str:
        """Start the server and wait until it accepts connections.

        Returns:
            Its URL.

        Raises:
            UsageError: the address cannot be bound, or the server runs already.
            InfrastructureError: the application did not start.
        """
        if self._listener is not None:
            raise UsageError(f"The server runs already, at {self._listener.url}")
        self._settled.clear()
        self._failures.clear()
        listener = _Listener(self._app, self._settings, lambda _: self._settled.set(), signals=False)
        self._listener = listener
        self._thread = threading.Thread(
            target=self._run, args=(listener,), name="openenv-server", daemon=True
        )
        self._thread.start()
        self._settled.wait()
        if self._failures:
            self.stop()
        return self.url

    def _run(self, listener: _Listener) -> None:
        try:
            listener.run()
        except BaseException as error:  # Boundary: it is raised in the thread that started the server.
            self._failures.append(error)
        finally:
            self._settled.set()

    def stop(self) -> None:
        """Drain the server and wait for its thread. Raises what made the server fail, if it did."""
        listener, thread = self._listener, self._thread
        if listener is None or thread is None:
            return
        listener.server.should_exit = True
        thread.join()
        self._listener = self._thread = None
        if self._failures:
            raise self._failures.pop()

    def __enter__(self) -> str:
        """Start; the value of `with ... as` is the URL."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()
