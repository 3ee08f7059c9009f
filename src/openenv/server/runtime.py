"""The server behind every door: its settings, its sessions, its security policy and its metrics.

Doors never open a session themselves. They ask the runtime, which keeps who holds which session, makes
room for a new one by giving up HTTP sessions that nobody named, and ends everything in order when the
server stops.
"""

from __future__ import annotations

import logging
import secrets
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from openenv.environment import EnvironmentSpec
from openenv.errors import (
    ConcurrencyConfigurationError,
    EnvironmentFactoryError,
    EnvironmentFailedError,
    InfrastructureError,
    OpenEnvError,
    SessionCreationError,
    SessionLost,
)
from openenv.protocol.extended import codec_of
from openenv.server.contract import Close, Relay, Send
from openenv.server.door import GOING_AWAY, SocketDoor
from openenv.server.excerpts import shorten
from openenv.server.extended_door import ExtendedDoor
from openenv.server.home import HomeLoop
from openenv.server.http_sessions import HttpSessions, address_of, cookie_name
from openenv.server.logs import log_event, logger, public_text
from openenv.server.mcp import Dialect, dialect_of
from openenv.server.mcp_door import McpDoor
from openenv.server.metrics import ServerMetrics
from openenv.server.readiness import Readiness
from openenv.server.security import Rejection, SecurityPolicy
from openenv.server.settings import ServerSettings
from openenv.server.tenancy import Tenancy
from openenv.session.handle import HostedSession
from openenv.session.limits import Limits
from openenv.session.manager import SessionManager
from openenv.session.phase import Phase
from openenv.session.slots import SharedSlots

DEFAULT_MAX_SESSIONS = 128
"""Session slots of an environment whose instances share nothing, where nobody says how many."""

_KILLED = "the session was ended by the server's operator"


@dataclass(frozen=True, slots=True)
class _Hold:
    """A socket's hold on a session: whether the session ends with it."""

    session: HostedSession
    owned: bool


class ServerRuntime:
    """One environment, served.

    Args:
        spec: the environment.
        settings: the server's settings; by default those of the process's environment variables.

    Attributes:
        spec: the environment.
        settings: the settings in force.
        id: random name of this server; part of its cookie's name, so that servers on one host do not
            mix up their sessions.
        dialect: where the environment's tools come from.
        home: the loop on which sessions are managed.
        http: the sessions of plain HTTP clients.
        tenancy: the sessions of extended connections.
        readiness: the probe behind ``/ready``.
        shared: counts the session slots if this is one of several processes of a server.
        relay: takes a WebSocket connection whose session lives in another process over to there.
    """

    websocket_paths = frozenset({"/ws", "/mcp"})

    def __init__(self, spec: EnvironmentSpec, settings: ServerSettings | None = None) -> None:
        self.spec = spec
        self.settings = settings or ServerSettings.from_environment()
        self.id = secrets.token_hex(4)
        self.dialect: Dialect = dialect_of(spec)
        self.home = HomeLoop(busy=lambda: self.manager.active > 0)
        self.metrics = ServerMetrics(lambda: self.manager.statistics(), lambda: self.manager.quarantine.total)
        self.http = HttpSessions(self)
        self.tenancy = Tenancy(self)
        self.readiness = Readiness(self)
        self._holds: dict[SocketDoor, _Hold] = {}
        self._doors: set[SocketDoor] = set()
        self._closing: set[str] = set()
        self.draining = False
        self.shared: SharedSlots | None = None
        self.relay: Relay | None = None
        self.configure(self.settings)

    def configure(self, settings: ServerSettings) -> None:
        """Take other settings, before the first session is opened.

        Raises:
            ConcurrencyConfigurationError: more sessions than the environment allows.
        """
        self.settings = settings
        self.policy = SecurityPolicy(settings)
        self.manager = self._new_manager()

    def _new_manager(self) -> SessionManager:
        spec, settings = self.spec, self.settings
        concurrent = spec.concurrent or spec.host == "process"
        most = settings.max_sessions or (DEFAULT_MAX_SESSIONS if concurrent else 1)
        if most > 1 and not concurrent:
            raise ConcurrencyConfigurationError(spec.cls.__name__ if spec.cls else spec.name, most)
        return SessionManager(
            spec,
            max_sessions=most,
            queue_size=settings.queue_size,
            queue_timeout_s=settings.queue_timeout_s,
            lease_s=settings.lease_s,
            limits=Limits(step_timeout_s=settings.step_timeout_s),
            observer=self.metrics.observe,
            shared=self.shared,
        )

    def join(self, server_id: str, shared: SharedSlots) -> None:
        """Become one of several processes of a server, before the first session is opened.

        Args:
            server_id: the server's id, which its cookie bears.
            shared: counts the slots of all processes.
        """
        self.id = server_id
        self.http.cookie_name = cookie_name(server_id)
        self.shared = shared
        self.manager = self._new_manager()

    # For transports ----------------------------------------------------------------------------------

    @property
    def max_frame_bytes(self) -> int:
        """Longest WebSocket message accepted."""
        return self.settings.max_frame_bytes

    def authorize(
        self, method: str, path: str, headers: Mapping[str, str], query: str = "", client: str | None = None
    ) -> Rejection | None:
        """Why a request is refused, or None.

        Args:
            method: HTTP method, or ``WEBSOCKET``.
            path: path of the URL.
            headers: headers by lower-case name.
            query: query string of the URL.
            client: address of the peer.
        """
        rejection = self.policy.check(method, path, headers, client)
        if rejection is not None:
            self.metrics.rejected.add(1, str(rejection.status))
            log_event(
                logger,
                logging.WARNING,
                "request refused",
                status=rejection.status,
                method=method,
                path=path,
                client=client,
                origin=headers.get("origin"),
            )
        return rejection

    def open_door(
        self,
        path: str,
        query: str,
        headers: Mapping[str, str],
        subprotocol: str | None,
        send: Send,
        close: Close,
        client: str | None = None,
    ) -> SocketDoor:
        """A door for an accepted WebSocket connection to one of `websocket_paths`."""
        address = address_of(headers, client)
        if path.endswith("/mcp"):
            door: SocketDoor = McpDoor(self, send, close, client=address)
        else:
            # Where nobody can reset, a tool call does it.
            automatic = self.settings.production
            codec = codec_of(subprotocol)
            if codec is None:
                door = SocketDoor(self, send, close, query=query, client=address, auto_reset=automatic)
            else:
                door = ExtendedDoor(
                    self, codec, send, close, query=query, client=address, auto_reset=automatic
                )
        self._doors.add(door)
        return door

    # Sessions ----------------------------------------------------------------------------------------

    async def open_session(
        self,
        owner: str,
        *,
        auto_reset: bool = False,
        client: str | None = None,
        wait: bool = True,
        lease_s: float | None = None,
    ) -> HostedSession:
        """Open a session, making room for it where that costs nobody anything.

        Args:
            owner: which kind of door asks.
            auto_reset: whether a first step resets first.
            client: address of the caller.
            wait: whether to wait for a free slot.
            lease_s: lease of this session, if it shall be shorter than the server's.

        Raises:
            SessionCapacityError: every slot is taken.
            EnvironmentFactoryError: the environment's constructor raised.
        """
        try:
            return await self.home.run(lambda: self._open(owner, auto_reset, client, wait, lease_s))
        except OpenEnvError as error:
            self._log_refusal(owner, error)
            raise

    async def _open(
        self, owner: str, auto_reset: bool, client: str | None, wait: bool, lease_s: float | None = None
    ) -> HostedSession:
        if self.manager.active >= self.manager.max_sessions:
            await self.http.make_room(client)
        if lease_s is not None:
            lease_s = min(lease_s, self.settings.lease_s)
        hosted = await self.manager.open(
            owner=owner, auto_reset=auto_reset, wait=wait, lease_s=lease_s, client=client
        )
        log_event(logger, logging.INFO, "session opened", session=hosted.id[:8], door=owner, client=client)
        return hosted

    async def open_attached(
        self, owner: str, door: SocketDoor, *, auto_reset: bool = False, client: str | None = None
    ) -> HostedSession:
        """Open a session that lives as long as a socket; `release` closes it."""

        async def opening() -> HostedSession:
            hosted = await self._open(owner, auto_reset, client, True)
            if door.gone:
                await self.manager.close(hosted.id)
                raise SessionLost("The connection was lost while its session was being opened")
            self._hold(door, hosted, owned=True)
            return hosted

        try:
            return await self.home.run(opening)
        except OpenEnvError as error:
            self._log_refusal(owner, error)
            raise

    async def attach(self, session_id: str, door: SocketDoor) -> HostedSession:
        """Attach a socket to an open session; `release` detaches it.

        Raises:
            SessionNotFoundError: there is no such session.
            SessionCreationError: another socket is attached to it.
        """

        async def attaching() -> HostedSession:
            hosted = self.manager.get(session_id)
            if hosted.attached:
                text = f"Session {session_id} already has an attached WebSocket"
                raise SessionCreationError(text, text)
            if door.gone:
                raise SessionLost("The connection was lost before it was attached")
            self._hold(door, hosted, owned=False)
            return hosted

        return await self.home.run(attaching)

    def _hold(self, door: SocketDoor, hosted: HostedSession, *, owned: bool) -> None:
        hosted.attached += 1
        self._holds[door] = _Hold(hosted, owned)

    def forget_door(self, door: SocketDoor) -> None:
        """A door is gone that keeps its sessions by itself."""
        self._doors.discard(door)

    def release(self, door: SocketDoor) -> Future[None]:
        """Take back what a socket held, which must say that it is gone; may be called from any thread."""
        self._doors.discard(door)

        async def releasing() -> None:
            hold = self._holds.pop(door, None)
            if hold is None:
                return
            await self.let_go(hold.session, close=hold.owned, door=door.name)

        return self.home.start(releasing)

    async def let_go(self, hosted: HostedSession, *, close: bool, door: str) -> None:
        """Detach a socket from a session. On the home loop.

        Args:
            hosted: the session.
            close: whether the session ends with that.
            door: which kind of door lets go.
        """
        hosted.attached -= 1
        if close or hosted.id in self._closing:
            self._closing.discard(hosted.id)
            await self.manager.close(hosted.id)
            log_event(logger, logging.INFO, "session closed", session=hosted.id[:8], door=door)

    async def close_session(self, session_id: str) -> bool:
        """Close a session.

        Returns:
            Whether it is closed now; one with a socket is closed when the socket goes.

        Raises:
            SessionNotFoundError: there is no such session.
        """
        if self._close_at_detach(session_id):
            return False
        self.http.forget(session_id)
        await self.home.run(lambda: self.manager.close(session_id))
        return True

    def close_soon(self, session_id: str) -> bool:
        """`close_session` without waiting for the environment's `close`; from any thread."""
        if self._close_at_detach(session_id):
            return False
        self.http.forget(session_id)
        self.home.start(lambda: self.manager.close(session_id))
        return True

    async def kill_session(self, session_id: str) -> None:
        """Close a session, whoever holds it, and the connections that live by it.

        Raises:
            SessionNotFoundError: there is no such session.
        """
        hosted = self.manager.get(session_id)

        async def killing() -> None:
            for door, hold in list(self._holds.items()):
                if hold.session is hosted:
                    door.end(GOING_AWAY, _KILLED)
            for holder in list(self._doors):
                holder.lose(session_id, _KILLED)
            await self.manager.close(session_id)

        self.http.forget(session_id)
        await self.home.run(killing)
        log_event(logger, logging.WARNING, "session killed", session=session_id[:8])

    def _close_at_detach(self, session_id: str) -> bool:
        attached = self.manager.get(session_id).attached > 0
        if attached:
            self._closing.add(session_id)
        return attached

    async def consult(self, name: str, question: Callable[[Any], Any]) -> Any:
        """Put a question to some instance of the environment: a fresh one, or else one that is alive.

        Args:
            name: what is asked, for error messages.
            question: called with the instance; must change nothing.

        Raises:
            OpenEnvError: there is no instance to ask, or it failed to answer.
        """
        alive = [one for one in self.manager.sessions() if one.session.phase is not Phase.NEEDS_RESET]
        if alive and self.manager.active >= self.manager.max_sessions:
            idlest = min(alive, key=lambda hosted: hosted.pending)
            return await idlest.acall("ask", name=name, question=question)
        hosted = await self.open_session("http")
        try:
            return await hosted.acall("ask", name=name, question=question)
        finally:
            await self.close_session(hosted.id)

    # Life --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to serve on the running loop; after `drain`, begin anew."""
        self.home.adopt()
        if self.draining:
            self.manager = self._new_manager()
            self.draining = False

    async def stop(self) -> None:
        """Drain, unless that was done, and leave the loop."""
        if not self.draining:
            await self.drain()
        self.home.leave()

    async def drain(self, timeout_s: float | None = None) -> None:
        """Accept nothing more, let running calls finish, close every session and socket.

        Args:
            timeout_s: how long running calls may take; the setting's `drain_s` by default.
        """
        if self.draining:
            return
        self.draining = True
        log_event(logger, logging.INFO, "draining", sessions=self.manager.active)
        patience = self.settings.drain_s if timeout_s is None else timeout_s
        for door in list(self._doors):
            door.notify("drain", {"timeout_s": patience})
        await self.home.run(lambda: self.manager.drain(patience))
        for door in list(self._doors):
            door.end(GOING_AWAY, "the server is shutting down")

    # Errors ------------------------------------------------------------------------------------------

    def presentable(self, error: OpenEnvError) -> OpenEnvError:
        """The error as clients may see it: of bounded size, without our paths; the rest is logged."""
        shorten(error)
        if isinstance(error, EnvironmentFailedError):
            self._present_failure(error)
        return error

    def _present_failure(self, error: EnvironmentFailedError) -> None:
        cause = error.__cause__
        log_event(
            logger,
            logging.ERROR if cause else logging.WARNING,
            "the environment failed",
            session=(error.session or "")[:8],
            error=error.data.get("exception", type(error).__name__),
            detail=error.message,
            cause=cause,
        )
        if self.settings.debug and cause is not None:
            error.data["traceback"] = "".join(traceback.format_exception(cause))
        elif not self.settings.debug:
            error.message = public_text(error.message)

    def internal_error(self, problem: Exception) -> OpenEnvError:
        """What a client is told of a mistake of ours; the rest is logged."""
        log_event(logger, logging.ERROR, "internal error", cause=problem)
        error = InfrastructureError(f"Internal error of the server ({type(problem).__name__})")
        error.session_fate = "alive"
        return error

    def _log_refusal(self, owner: str, error: OpenEnvError) -> None:
        self.metrics.refused.add(1, error.code)
        cause = error.__cause__
        log_event(
            logger,
            logging.WARNING,
            "session refused",
            door=owner,
            code=error.code,
            detail=error.message,
            cause=cause,
        )
        if isinstance(error, EnvironmentFactoryError) and cause is not None:
            text = f"{error.message}: {type(cause).__name__}: {cause}"
            error.message = text if self.settings.debug else public_text(text)
