"""Who holds which session on the extended protocol, and how one that lost its connection is taken up again.

A session that an extended connection opened is a `Tenant`. It has at most one door at a time. A tenant with a
token outlives its door: it is detached, its lease runs, and whoever shows the token within the lease gets it,
even from a door that still holds it. What ended is remembered for a while, so that its token is answered with
what is known of the episode instead of a fresh environment.

Everything here runs on the server's home loop, except where it says otherwise.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from openenv.errors import SessionCreationError, SessionLost, SessionNotFoundError
from openenv.session.handle import HostedSession
from openenv.session.replies import ReplyLog
from openenv.session.shards import ShardHost

if TYPE_CHECKING:
    from openenv.server.runtime import ServerRuntime

MOST_GRAVES = 4096
"""Ended sessions that are remembered."""

_SLACK = 64


class Holder(Protocol):
    """A door that holds tenants."""

    gone: bool

    def evict(self, tenant: Tenant) -> None:
        """Another door has taken the tenant over. Called on the home loop."""


class Tenant:
    """A session of the extended protocol.

    Attributes:
        hosted: the session.
        log: its replies.
        owned: whether it ends with its connection where it has no token, and by `close`.
        door: who holds it, None while it is detached.
        token: proves whose it is; None if nobody asked for one.
    """

    __slots__ = ("door", "hosted", "log", "owned", "token")

    def __init__(self, hosted: HostedSession, door: Holder, *, owned: bool) -> None:
        self.hosted = hosted
        host = hosted.host
        # On a shard the price would be felt, and calls there are quick.
        hosted.session.cancellable = host.stoppable and not isinstance(host, ShardHost)
        self.log = ReplyLog()
        self.owned = owned
        self.door: Holder | None = door
        self.token: str | None = None

    @property
    def id(self) -> str:
        """The session's id."""
        return self.hosted.id

    def facts(self) -> dict[str, Any]:
        """Where its episode stands. From any thread."""
        session = self.hosted.session
        episode = session.episode
        return {
            "episode_id": episode and episode.id,
            "step_count": episode.step if episode is not None else 0,
            "status": session.status.value if episode is not None else None,
        }

    def opened(self) -> dict[str, Any]:
        """The data of an `opened` reply. From any thread."""
        return {"session": self.id, "token": self.token, "lease_s": self.hosted.lease_s}

    def resumed(self) -> dict[str, Any]:
        """The data of a `resumed` reply. From any thread."""
        return {**self.opened(), **self.facts(), "last_id": self.log.last_id}


@dataclass(frozen=True, slots=True)
class Grave:
    """What is remembered of a session that ended.

    Attributes:
        session: its id.
        facts: where its episode stood.
    """

    session: str
    facts: dict[str, Any]


SOCKET_LEASE_S = 60.0
"""Seconds that a session waits for its client after a lost connection, unless the client asked for another
lease. One that reconnects does so within seconds; one that was killed must not keep its slot for long."""


class Tenancy:
    """The tenants of a server.

    Args:
        runtime: the server.
    """

    def __init__(self, runtime: ServerRuntime) -> None:
        self._runtime = runtime
        self._tenants: dict[bytes, Tenant] = {}  # by the digest of the token
        self._graves: OrderedDict[bytes, Grave] = OrderedDict()

    async def open(
        self, owner: str, door: Holder, *, auto_reset: bool, client: str | None, lease_s: float | None = None
    ) -> Tenant:
        """Open a session for a door.

        Args:
            owner: name of the kind of door.
            door: the door.
            auto_reset: whether a first step resets first.
            client: address of the caller.
            lease_s: lease that the client asks for; the server's own is the most it gets. If absent, the
                server's own or `SOCKET_LEASE_S`, the shorter.

        Raises:
            OpenEnvError: there is none to be had, or the door was lost meanwhile.
        """
        runtime = self._runtime
        if lease_s is None:
            lease_s = min(runtime.settings.lease_s, SOCKET_LEASE_S)
        hosted = await runtime.open_session(owner, auto_reset=auto_reset, client=client, lease_s=lease_s)
        if door.gone:
            await runtime.manager.close(hosted.id)
            raise SessionLost("The connection was lost while its session was being opened")
        hosted.attached += 1
        return Tenant(hosted, door, owned=True)

    async def attach(self, session_id: str, door: Holder) -> Tenant:
        """Attach a door to a session that was opened elsewhere.

        Raises:
            SessionNotFoundError: there is no such session.
            SessionCreationError: another socket is attached to it.
        """
        hosted = self._runtime.manager.get(session_id)
        if hosted.attached:
            text = f"Session {session_id} already has an attached WebSocket"
            raise SessionCreationError(text, text)
        if door.gone:
            raise SessionLost("The connection was lost before it was attached")
        hosted.attached += 1
        return Tenant(hosted, door, owned=False)

    def grant(self, tenant: Tenant) -> str:
        """The tenant's token, made when it is first asked for."""
        if tenant.token is None:
            tenant.token = secrets.token_urlsafe(32)
            self._bury_the_dead()
            self._tenants[_digest(tenant.token)] = tenant
        return tenant.token

    def resume(self, token: str, door: Holder) -> Tenant:
        """Give a door the tenant of a token; another door that holds it loses it.

        Raises:
            SessionLost: the session ended, or the token is of none.
        """
        # Tokens are found by their digest: how long that takes tells nothing of the token.
        digest = _digest(token)
        tenant = self._tenants.get(digest)
        if tenant is None or not self._alive(tenant):
            if tenant is not None:
                self._bury(digest, tenant)
            raise _lost(self._graves.get(digest))
        if door.gone:
            raise SessionLost("The connection was lost before the session was resumed")
        before, tenant.door = tenant.door, door
        if before is None:
            tenant.hosted.attached += 1
        elif before is not door:
            before.evict(tenant)
        return tenant

    async def release(self, tenant: Tenant, door: Holder, *, close: bool) -> None:
        """Take a tenant back from its door.

        Args:
            tenant: the tenant.
            door: who held it; if another one has taken it over, nothing happens.
            close: whether it shall end; else it is detached if somebody can come back to it.
        """
        if tenant.door is not door:
            return
        tenant.door = None
        # The lease counts from here, however long the session was idle before.
        tenant.hosted.session.last_activity = time.monotonic()
        ends = close or (tenant.owned and tenant.token is None)
        await self._runtime.let_go(tenant.hosted, close=ends, door="ws")
        if ends and tenant.token is not None:
            self._bury(_digest(tenant.token), tenant)

    def _alive(self, tenant: Tenant) -> bool:
        try:
            return self._runtime.manager.get(tenant.id) is tenant.hosted
        except SessionNotFoundError:
            return False

    def _bury_the_dead(self) -> None:
        """Forget sessions that ended without a word to us; at a price that each new one pays once."""
        if len(self._tenants) > 2 * self._runtime.manager.active + _SLACK:
            for digest, tenant in list(self._tenants.items()):
                if not self._alive(tenant):
                    self._bury(digest, tenant)

    def _bury(self, digest: bytes, tenant: Tenant) -> None:
        self._tenants.pop(digest, None)
        self._graves[digest] = Grave(tenant.id, tenant.facts())
        while len(self._graves) > MOST_GRAVES:
            self._graves.popitem(last=False)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _lost(grave: Grave | None) -> SessionLost:
    if grave is None:
        return SessionLost("No session of that token is known: it ended long ago, or never was here")
    facts = grave.facts
    return SessionLost(
        "The session is gone: it was closed, or its lease ran out",
        session=grave.session,
        episode=facts["episode_id"],
        step=facts["step_count"],
        data={"session": grave.session, **facts},
    )
