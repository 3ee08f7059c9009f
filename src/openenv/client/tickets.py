"""Requests on their way."""

from __future__ import annotations

from typing import Any

from openenv.client.members import MAX_CARRIES, Member
from openenv.errors import ProtocolError
from openenv.protocol.plain import Reply

ANSWERS = {
    "reset": "observation",
    "step": "observation",
    "state": "state",
    "mcp": "mcp",
    "token": "opened",
    "open": "opened",
    "resume": "resumed",
    "close": "closed",
    "batch": "batch",
}
"""Type of the reply by type of the request; an error answers each of them."""

Part = tuple[Member, str, Any]
"""One call of a batch: session, type, payload."""


class Ticket:
    """One request on its way.

    Attributes:
        number: counts requests from 1; the `id` on the extended protocol.
        call: type of the request.
        reply: what came back, None until then. A session that could not be resumed answers with an error.
        abandoned: nobody waits any more; the reply will be dropped.
        waiter: where an asyncio connection keeps the future of its caller.
        member: the session it is for, None for requests that concern none, or several.
        data: its payload.
        timeout_s: the deadline it carries.
        parts: the calls of a `batch`.
        sent: indices of the parts that the frame last sent holds.
        carries: connections that broke under it.
    """

    __slots__ = (
        "abandoned",
        "call",
        "carries",
        "data",
        "member",
        "number",
        "parts",
        "reply",
        "sent",
        "timeout_s",
        "waiter",
    )

    def __init__(
        self,
        number: int,
        call: str,
        data: Any = None,
        timeout_s: float | None = None,
        member: Member | None = None,
        parts: list[Part] | None = None,
    ) -> None:
        self.number = number
        self.call = call
        self.data = data
        self.timeout_s = timeout_s
        self.member = member
        self.parts = parts
        self.sent: list[int] = []
        self.carries = 0
        self.reply: Reply | None = None
        self.abandoned = False
        self.waiter: Any = None

    def batch(self) -> dict[str, Any]:
        """The data of a batch: the calls of the sessions that are alive."""
        parts = self.parts or []
        self.sent = [index for index, part in enumerate(parts) if part[0].loss is None]
        calls = []
        for index in self.sent:
            member, call, data = parts[index]
            named = {"session": member.session, "type": call}
            calls.append(named if data is None else {**named, "data": data})
        return {"calls": calls}

    def results(self, data: Any) -> list[dict[str, Any]]:
        """One result for each part of a batch: what the server said, or why the session is lost.

        Args:
            data: the data of the reply.

        Raises:
            ProtocolError: they do not answer the calls that were sent.
        """
        parts = self.parts or []
        told = data.get("results") if isinstance(data, dict) else None
        if not isinstance(told, list) or len(told) != len(self.sent):
            raise ProtocolError(f"a batch reply without {len(self.sent)} results")
        results = [{"type": "error", "data": part[0].loss} for part in parts]
        for index, result in zip(self.sent, told, strict=True):
            if not isinstance(result, dict) or not isinstance(result.get("data"), dict):
                raise ProtocolError("a batch reply with a result that is none")
            results[index] = result
            parts[index][0].note(str(result.get("type")), result["data"], result.get("result"))
        return results

    def concerns(self) -> list[Member]:
        """The sessions it calls."""
        if self.parts is not None:
            return [part[0] for part in self.parts]
        return [] if self.member is None else [self.member]

    def unsendable(self) -> Reply | None:
        """The answer to a request that cannot be sent again, None for one that can."""
        members = self.concerns()
        if self.carries > MAX_CARRIES:
            for member in members:
                member.lose(f"{MAX_CARRIES} connections broke under one {self.call}")
        if not members or any(member.loss is None for member in members):
            return None
        self.sent = []
        return Reply("error", members[0].loss) if self.parts is None else Reply("batch", {"results": []})
