"""A synchronous connection that carries many sessions."""

from __future__ import annotations

from time import monotonic
from typing import Any

from openenv.client.connection import SyncConnection
from openenv.client.endpoint import grace_s
from openenv.client.exchange import Link
from openenv.client.members import Member
from openenv.client.tickets import Part, Ticket
from openenv.errors import OpenEnvError, SessionLost
from openenv.protocol.wire_errors import error_from_payload


class SharedConnection(SyncConnection):
    """One connection to a server's `/ws` for any number of sessions. Arguments and errors as its base."""

    @property
    def closed(self) -> bool:
        """Whether the socket is closed."""
        return self._socket.fileno() < 0

    def fileno(self) -> int:
        """The socket's descriptor, to wait for it among others."""
        return self._socket.fileno()

    def only_member(self) -> Member:
        """The session that a plain connection has."""
        return self._exchange.own or Member(own=True)

    def open_sessions(self, n: int, lease_s: float | None = None) -> list[Member]:
        """Open sessions, all or none.

        Args:
            n: how many.
            lease_s: seconds that the server shall keep them without a connection; its choice if None.

        Raises:
            SessionCapacityError: the server has not so many slots.
            OpenEnvError: the server's own error, typed.
        """
        data = None if lease_s is None else {"lease_s": lease_s}
        timeout_s = self._endpoint.timeout_s
        deadline = self._take_turn("open", timeout_s)
        try:
            self._check("open", deadline, timeout_s)
            requests = [self._exchange.request("open", data) for _ in range(n)]
            tickets = [ticket for ticket, _ in requests]
            if tickets:
                self._send(tickets[-1], b"".join(frame for _, frame in requests), deadline, timeout_s)
            for ticket in tickets:
                self._await(ticket, deadline, timeout_s)
        finally:
            self._lock.release()
        errors = [t.reply.data for t in tickets if t.reply is not None and t.reply.type == "error"]
        members = [ticket.member for ticket in tickets if ticket.member is not None]
        if errors:
            self.close_sessions(members)
            raise error_from_payload(errors[0])
        return members

    def close_sessions(self, members: list[Member]) -> None:
        """Close sessions and wait until the server has; those it does not have any more count as closed."""
        done: list[Ticket] = []
        parts: list[Part] = [(member, "close", None) for member in members if member.loss is None]
        try:
            tickets = self.submit(parts, done)
            for ticket in tickets:
                self.finish(ticket, None, None)
        except SessionLost:
            pass  # then they are gone, or go with their leases
        for member in members:
            self._exchange.forget(member)

    def batch(self, parts: list[Part], *, timeout_s: float | None = None) -> list[dict[str, Any]]:
        """Call several sessions with one frame and wait for all of them.

        Args:
            parts: session, type and payload of each call.
            timeout_s: as for `call`; the server keeps it for each of the calls.

        Returns:
            One result for each part: `{"type", "data"}`, an error among them.
        """
        if timeout_s is None:
            timeout_s = self._endpoint.timeout_s
        deadline = self._take_turn("batch", timeout_s)
        try:
            self._check("batch", deadline, timeout_s)
            left = None if deadline is None else max(0.001, deadline - monotonic())
            ticket, frame = self._exchange.batch(parts, left)
            reply = self._carry(ticket, frame, deadline, left, timeout_s)
        finally:
            self._lock.release()
        if reply.type == "error":
            raise error_from_payload(reply.data)
        results: list[dict[str, Any]] = reply.data
        return results

    def submit(
        self, parts: list[Part], done: list[Ticket], *, timeout_s: float | None = None
    ) -> list[Ticket]:
        """Send a request for each of several sessions and wait for none.

        Args:
            parts: session, type and payload of each call.
            done: where each ticket is put when its reply has come; `collect` reads them.
            timeout_s: as for `call`; the server keeps it for each of the calls.

        Returns:
            The tickets, in the order of the parts.

        Raises:
            InvalidActionError: one of them cannot be written; none was sent.
        """
        if timeout_s is None:
            timeout_s = self._endpoint.timeout_s
        deadline = self._take_turn("step", timeout_s)
        try:
            self._check("step", deadline, timeout_s)
            tickets: list[Ticket] = []
            frames = []
            try:
                for member, call, data in parts:
                    ticket, frame = self._exchange.request(call, data, timeout_s, member)
                    ticket.waiter = done
                    tickets.append(ticket)
                    frames.append(frame)
            except BaseException:
                self._exchange.withdraw(tickets)  # all are sent, or none
                raise
            if tickets:
                self._send(tickets[-1], b"".join(frames), deadline, timeout_s)
        finally:
            self._lock.release()
        return tickets

    def finish(self, ticket: Ticket, deadline: float | None, timeout_s: float | None) -> None:
        """Wait for the reply to a submitted request.

        Args:
            ticket: the request.
            deadline: `time.monotonic()` until which to wait, None for as long as it takes.
            timeout_s: the same, as the caller gave it.

        Raises:
            StepTimeoutError: the deadline passed.
            SessionLost: the connection broke for good.
        """
        with self._lock:
            if deadline is not None and timeout_s is not None and self._exchange.extended:
                deadline += grace_s(timeout_s)
            self._await(ticket, deadline, timeout_s)

    def collect(self, done: list[Ticket], *, timeout_s: float | None = None) -> None:
        """Read until a submitted request has its reply, or none is under way, or the time is over.

        A connection that is lost for good answers all of them with its error.

        Args:
            done: as given to `submit`.
            timeout_s: how long to wait at most; None for as long as it takes.
        """
        deadline = None if timeout_s is None else monotonic() + timeout_s
        with self._lock:
            while not done and self._exchange.owing:
                try:
                    if not self._advance_until(deadline):
                        return
                except OpenEnvError as lost:
                    self._finish(self._exchange.bury(lost))

    def _advance_until(self, deadline: float | None) -> bool:
        """Read once; False if the time is over."""
        exchange, interval = self._exchange, self._endpoint.ping_interval_s
        if exchange.link is not Link.OPEN:
            self._check("step", None, None)
            return True
        left = None if deadline is None else max(self._instant, deadline - monotonic())
        self._wait_at_most(left if interval is None else interval if left is None else min(left, interval))
        try:
            self._read()
        except (BlockingIOError, TimeoutError):
            self._keep_alive()
            return deadline is None or monotonic() < deadline
        except OSError as problem:
            exchange.ended(f"dropped the connection ({problem})")
        return True
