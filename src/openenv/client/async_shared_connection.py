"""An asynchronous connection that carries many sessions."""

from __future__ import annotations

import asyncio
from typing import Any

from openenv.client.async_connection import AsyncConnection
from openenv.client.members import Member
from openenv.client.tickets import Part
from openenv.errors import SessionLost
from openenv.protocol.wire_errors import error_from_payload


class AsyncSharedConnection(AsyncConnection):
    """One connection to a server's `/ws` for any number of sessions."""

    async def open_sessions(self, n: int, lease_s: float | None = None) -> list[Member]:
        """Open sessions, all or none.

        Args:
            n: how many.
            lease_s: seconds that the server shall keep them without a connection; its choice if None.

        Raises:
            SessionCapacityError: the server has not so many slots.
            OpenEnvError: the server's own error, typed.
        """
        data = None if lease_s is None else {"lease_s": lease_s}
        deadline, timeout_s = self._begin(None)
        await self._ensure("open", deadline, timeout_s)
        requests = [self._exchange.request("open", data) for _ in range(n)]
        replies = await asyncio.gather(
            *(self._carry(ticket, frame, deadline, timeout_s, timeout_s) for ticket, frame in requests)
        )
        errors = [reply.data for reply in replies if reply.type == "error"]
        members = [ticket.member for ticket, _ in requests if ticket.member is not None]
        if errors:
            await self.close_sessions(members)
            raise error_from_payload(errors[0])
        return members

    async def close_sessions(self, members: list[Member]) -> None:
        """Close sessions and wait until the server has; those it does not have any more count as closed."""
        closing = [self.call("close", member=member) for member in members if member.loss is None]
        for answer in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(answer, BaseException) and not isinstance(answer, SessionLost):
                raise answer
        for member in members:
            self._exchange.forget(member)

    async def batch(self, parts: list[Part], *, timeout_s: float | None = None) -> list[dict[str, Any]]:
        """Call several sessions with one frame and wait for all of them.

        Args:
            parts: session, type and payload of each call.
            timeout_s: as for `call`; the server keeps it for each of the calls.

        Returns:
            One result for each part: `{"type", "data"}`, an error among them.
        """
        deadline, timeout_s = self._begin(timeout_s)
        await self._ensure("batch", deadline, timeout_s)
        left = None if deadline is None else max(0.001, deadline - self._loop.time())
        ticket, frame = self._exchange.batch(parts, left)
        reply = await self._carry(ticket, frame, deadline, left, timeout_s)
        if reply.type == "error":
            raise error_from_payload(reply.data)
        results: list[dict[str, Any]] = reply.data
        return results
