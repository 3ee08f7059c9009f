"""Which session a plain HTTP request means.

A request names its session by the header ``X-OpenEnv-Session``, by ``?session_id=`` or by the cookie that
the reset set. One that names none means the session last reset on its own connection or, if its address
has only one, that one; everything else is refused, because a step must never reach somebody else's
episode, nor a fresh environment in the place of a lost one. To tell the latter, sessions that ended are
remembered for a while.

A session that nobody ever named may be given up when the server is full: at once for a newcomer from the
same address, else after a time of silence. Its client learns of it with the next request.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from openenv.errors import OrderError, SessionLost, SessionNotFoundError
from openenv.session.handle import HostedSession
from openenv.session.phase import Phase

if TYPE_CHECKING:
    from openenv.server.runtime import ServerRuntime

SESSION_HEADER = "x-openenv-session"
SILENCE_S = 30.0
"""Seconds without a call after which a stranger may take the slot of a session that nobody named."""

_MEMORY = 1024
_HOW = "name one with the header X-OpenEnv-Session, with ?session_id= or with the cookie that POST /reset set"


class Naming(IntEnum):
    """How a session has been named so far."""

    NEVER = 0
    COOKIE = 1
    EXPLICITLY = 2


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request, and the session it names.

    Attributes:
        session_id: the session it names, if any.
        naming: how it names it.
        address: address of the client, as far as it is known.
        connection: identifies the client's connection, if that is possible.
    """

    session_id: str | None = None
    naming: Naming = Naming.NEVER
    address: str | None = None
    connection: tuple[str, int] | None = None


def cookie_name(server_id: str) -> str:
    """Name of the cookie that holds the session id on a server."""
    return f"openenv_{server_id}"


def read_caller(
    headers: Mapping[str, str], query: str, client: tuple[str, int] | None, cookie_name: str
) -> Caller:
    """Tell who makes a request.

    Args:
        headers: its headers by lower-case name.
        query: its query string.
        client: address and port of the peer.
        cookie_name: name of the server's cookie.
    """
    session_id, naming = _named(headers, query, cookie_name)
    peer = client[0] if client else None
    address = address_of(headers, peer)
    # Behind a proxy, connections are the proxy's.
    own = client is not None and address == peer and _is_address(client[0])
    return Caller(session_id, naming, address, client if own else None)


def address_of(headers: Mapping[str, str], peer: str | None) -> str | None:
    """Where a request comes from, as far as that is known: the peer, or whom a proxy names beside it."""
    forwarded = headers.get("x-forwarded-for") or headers.get("forwarded")
    return f"{peer} for {forwarded}" if forwarded else peer


def _named(headers: Mapping[str, str], query: str, cookie_name: str) -> tuple[str | None, Naming]:
    explicit = headers.get(SESSION_HEADER) or parse_qs(query).get("session_id", [None])[0]
    if explicit:
        return explicit, Naming.EXPLICITLY
    # By hand: the standard library drops every cookie if one of them, anybody's, has an odd name.
    for cookie in headers.get("cookie", "").split(";"):
        name, _, value = cookie.strip().partition("=")
        if name == cookie_name and value:
            return value, Naming.COOKIE
    return None, Naming.NEVER


def _is_address(host: str) -> bool:
    # A test client's made-up host is shared by clients that have nothing to do with each other.
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@dataclass(slots=True)
class _Entry:
    session_id: str
    address: str | None
    connection: tuple[str, int] | None
    naming: Naming = Naming.NEVER
    reset_at: float = field(default_factory=time.monotonic)


class HttpSessions:
    """The sessions of plain HTTP clients.

    Args:
        runtime: the server.
    """

    def __init__(self, runtime: ServerRuntime) -> None:
        self._runtime = runtime
        self._entries: dict[str, _Entry] = {}
        self.cookie_name = cookie_name(runtime.id)
        self.on_remember: Callable[[str, str | None], None] | None = None
        """Told of each session that a client has reset, and of its address."""

    def find(self, caller: Caller) -> HostedSession | None:
        """The session that a request means; None if its client has none and never had.

        Raises:
            SessionNotFoundError: the session it names is gone.
            OrderError: it names none, and which one it means cannot be told.
        """
        if caller.session_id is not None:
            hosted = self._runtime.manager.get(caller.session_id)
            entry = self._entries.get(caller.session_id)
            if entry is not None:
                entry.naming = max(entry.naming, caller.naming)
            return hosted
        entry = self._own(caller)
        if entry is None:
            return None
        alive = self._alive(entry)
        if alive is None:
            raise _order(
                "The session of your last reset is gone: it was closed, its lease ran out, or it gave "
                "its place to a newcomer. POST /reset opens a new one"
            )
        return alive

    def _own(self, caller: Caller) -> _Entry | None:
        mine = [entry for entry in list(self._entries.values()) if entry.address == caller.address]
        here = [e for e in mine if e.connection is not None and e.connection == caller.connection]
        if here:
            return max(here, key=lambda entry: entry.reset_at)
        if not mine:
            return None
        alive = [entry for entry in mine if self._alive(entry) is not None]
        if len(alive) > 1:
            raise _order(f"{len(alive)} sessions were opened from your address: {_HOW}")
        return max(mine, key=lambda entry: entry.reset_at)

    def _alive(self, entry: _Entry) -> HostedSession | None:
        try:
            return self._runtime.manager.get(entry.session_id)
        except (SessionNotFoundError, SessionLost):
            return None

    async def find_or_open(self, caller: Caller) -> HostedSession:
        """The session that a reset means: the one it names, else a new one.

        Raises:
            SessionNotFoundError: it names one explicitly that is gone.
            SessionCapacityError: there is no slot for a new one.
        """
        if caller.session_id is not None:
            try:
                return self.find(caller) or await self.open(caller)
            except (SessionNotFoundError, SessionLost):
                if caller.naming is Naming.EXPLICITLY:
                    raise
        elif (idle := self._to_reuse(caller)) is not None:
            return idle
        return await self.open(caller)

    def _to_reuse(self, caller: Caller) -> HostedSession | None:
        """The caller's only session, if no episode is underway that a newcomer could take away."""
        mine = [entry for entry in list(self._entries.values()) if entry.address == caller.address]
        alive = [hosted for entry in mine if (hosted := self._alive(entry)) is not None]
        if len(alive) != 1 or self._entries[alive[0].id].naming is not Naming.NEVER:
            return None
        return alive[0] if not alive[0].pending and alive[0].session.phase is not Phase.READY else None

    async def open(self, caller: Caller) -> HostedSession:
        """Open a session for a client.

        Raises:
            SessionCapacityError: every slot is taken.
            EnvironmentFactoryError: the environment's constructor raised.
        """
        hosted = await self._runtime.open_session("http", client=caller.address)
        self.remember(hosted, caller)
        return hosted

    def remember(self, hosted: HostedSession, caller: Caller) -> None:
        """Note that a client has reset a session."""
        for entry in list(self._entries.values()):
            if entry.address == caller.address and self._alive(entry) is None:
                self.forget(entry.session_id)
        entry = self._entries.setdefault(hosted.id, _Entry(hosted.id, caller.address, caller.connection))
        entry.address, entry.connection, entry.reset_at = caller.address, caller.connection, time.monotonic()
        entry.naming = max(entry.naming, caller.naming)
        while len(self._entries) > _MEMORY + self._runtime.manager.max_sessions:
            self.forget(next(iter(self._entries)))
        if self.on_remember is not None:
            self.on_remember(hosted.id, caller.address)

    def bury(self, session_id: str, address: str | None) -> None:
        """Note that a client had a session that was lost with another process."""
        self._entries.setdefault(session_id, _Entry(session_id, address, None))

    def forget(self, session_id: str) -> None:
        """Forget a session that its client closed."""
        self._entries.pop(session_id, None)

    async def make_room(self, address: str | None) -> None:
        """Close a session that nobody named, if there is one to be given up for a newcomer.

        Args:
            address: where the newcomer comes from.
        """
        spare = [
            (entry.address != address, hosted.session.last_activity, hosted)
            for entry in list(self._entries.values())
            if (hosted := self._alive(entry)) is not None and _is_spare(entry, hosted, address)
        ]
        if spare:
            _, _, hosted = min(spare, key=lambda item: item[:2])
            await self._runtime.manager.close(hosted.id)


def _is_spare(entry: _Entry, hosted: HostedSession, address: str | None) -> bool:
    if hosted.pending or hosted.attached or entry.naming is Naming.EXPLICITLY:
        return False
    if entry.address == address:
        return True
    return entry.naming is Naming.NEVER and hosted.idle_s > SILENCE_S


def _order(message: str) -> OrderError:
    return OrderError(message, expected="a session", actual="a request that names none")
