"""The application of a worker: requests that belong to another worker go there, sums are made over all.

A client keeps its connection, and may name any session on it. What names a session of another worker is sent
there over a connection that the supervisor makes, and the answer comes back; the owner checks it like any
other request. `/metrics`, `/ready` and `/admin/sessions` ask every worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import h11

from openenv.server.admin import PREFIX, may_administer
from openenv.server.http_errors import error_response
from openenv.server.middleware import App, AsgiSend, Event, Receive
from openenv.server.runtime import ServerRuntime
from openenv.server.scope import Scope, client_of, headers_of, path_of, query_of
from openenv.workers import sums
from openenv.workers.link import Link, lost
from openenv.workers.peek import named_session

SELF = "x-openenv-worker"
"""Header of a request that one worker answers for itself only."""

_HOP = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te", b"trailer"})
_READ_BYTES = 65536
_GATHER_S = 10.0
_SUMMED = {"/metrics": sums.metrics, "/ready": sums.ready, PREFIX: sums.sessions}


@dataclass(slots=True)
class Reply:
    """An answer, read to its end.

    Attributes:
        status: HTTP status.
        headers: its headers as they came.
        body: its body.
    """

    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


class WorkerApp:
    """An application that knows of the other workers.

    Args:
        app: the worker's own application.
        runtime: the server.
        link: the way to the other workers.

    Attributes:
        state: the inner application's state, where the transport finds the runtime.
    """

    def __init__(self, app: Any, runtime: ServerRuntime, link: Link) -> None:
        self._app: App = app
        self._runtime = runtime
        self._link = link
        self.state = app.state

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        """Serve one scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, path = headers_of(scope), path_of(scope)
        if SELF in headers:
            await self._app(scope, receive, send)
            return
        session = named_session(headers, path, query_of(scope), self._runtime.http.cookie_name)
        if session is None and path == "/mcp" and scope["method"] == "POST" and self._lets_in(scope, headers):
            session, receive = await self._named_in_body(receive)
        owner = self._link.elsewhere(session)
        if path.startswith(PREFIX) and not may_administer(self._runtime, scope):
            await self._app(scope, receive, send)  # which refuses it
        elif owner is not None and session is not None:
            await self._forward(owner, session, scope, receive, send)
        elif path in _SUMMED and scope["method"] == "GET":
            await self._gather(path, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _lets_in(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        """Whether the policy lets a request pass: nobody else's body is kept here."""
        client = client_of(scope)
        address = client[0] if client else None
        return self._runtime.policy.check(scope["method"], path_of(scope), headers, address) is None

    async def _named_in_body(self, receive: Receive) -> tuple[str | None, Receive]:
        """The session that a call of the published MCP dialect names, and the body to be read again."""
        events: list[Event] = []
        size = 0
        while True:
            event = await receive()
            events.append(event)
            size += len(event.get("body", b""))
            if not event.get("more_body") or size > self._runtime.settings.max_body_bytes:
                break

        async def again() -> Event:
            return events.pop(0) if events else await receive()

        body = b"".join(event.get("body", b"") for event in events)
        if b"session_id" not in body:
            return None, again
        with contextlib.suppress(ValueError, RecursionError, AttributeError):
            named = json.loads(body)["params"]["session_id"]
            return (named if isinstance(named, str) else None), again
        return None, again

    # One request, elsewhere --------------------------------------------------------------------------

    async def _forward(
        self, owner: int, session: str, scope: Scope, receive: Receive, send: AsgiSend
    ) -> None:
        begun = False
        try:
            async for event in self._exchange(owner, scope, _body(receive)):
                begun = True
                await send(event)
        except (OSError, EOFError, h11.RemoteProtocolError):
            if begun:
                raise
            error = lost(session)
            await error_response(self._runtime.presentable(error))(scope, receive, send)

    async def _exchange(
        self, owner: int, scope: Scope, body: AsyncIterator[bytes], extra: Iterable[tuple[bytes, bytes]] = ()
    ) -> AsyncIterator[Event]:
        """Send a request to another worker and yield its answer as ASGI events."""
        sock = await self._link.connect(owner)
        if sock is None:
            raise EOFError
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
            writer.write(connection.send(_request(scope, extra)) or b"")
            async for chunk in body:
                writer.write(connection.send(h11.Data(data=chunk)) or b"")
                await writer.drain()
            writer.write(connection.send(h11.EndOfMessage()) or b"")
            await writer.drain()
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await reader.read(_READ_BYTES))
                elif isinstance(event, h11.Response):
                    kept = [(name, value) for name, value in event.headers if name not in _HOP]
                    yield {"type": "http.response.start", "status": event.status_code, "headers": kept}
                elif isinstance(event, h11.Data):
                    yield {"type": "http.response.body", "body": bytes(event.data), "more_body": True}
                elif isinstance(event, h11.EndOfMessage):
                    yield {"type": "http.response.body", "body": b"", "more_body": False}
                    return
                elif isinstance(event, h11.ConnectionClosed):
                    raise EOFError
        finally:
            writer.close()

    # One question, to everybody ----------------------------------------------------------------------

    async def _gather(self, path: str, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        own = await self._ask_self(scope, receive)
        if own.status not in (200, 503):
            await _answer(send, own)
            return
        others = sorted(self._link.alive - {self._link.number})
        replies = await asyncio.gather(*(self._ask(number, scope) for number in others))
        answered = [own, *(reply for reply in replies if reply is not None and reply.status in (200, 503))]
        missing = len(others) + 1 - len(answered)
        crew = {**self._link.crew, "alive": len(others) + 1, "silent": missing}
        status, body = _SUMMED[path]([(reply.status, reply.body) for reply in answered], crew)
        headers = [(name, value) for name, value in own.headers if name != b"content-length"]
        await _answer(send, Reply(status, [*headers, (b"content-length", str(len(body)).encode())], body))

    async def _ask_self(self, scope: Scope, receive: Receive) -> Reply:
        reply = Reply()

        async def keep(event: Event) -> None:
            _keep(reply, event)

        await self._app(scope, receive, keep)
        return reply

    async def _ask(self, number: int, scope: Scope) -> Reply | None:
        reply = Reply()

        async def ask() -> None:
            async for event in self._exchange(number, scope, _nothing(), [(SELF.encode(), b"self")]):
                _keep(reply, event)

        try:
            await asyncio.wait_for(ask(), _GATHER_S)
        except (OSError, EOFError, TimeoutError, h11.RemoteProtocolError):
            return None
        return reply


def _keep(reply: Reply, event: Mapping[str, Any]) -> None:
    if event["type"] == "http.response.start":
        reply.status, reply.headers = event["status"], list(event.get("headers", ()))
    else:
        reply.body += event.get("body", b"")


async def _answer(send: AsgiSend, reply: Reply) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": reply.body})


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise EOFError
        if event.get("body"):
            yield event["body"]
        if not event.get("more_body"):
            return


async def _nothing() -> AsyncIterator[bytes]:
    no_chunks: tuple[bytes, ...] = ()
    for chunk in no_chunks:
        yield chunk


def _request(scope: Scope, extra: Iterable[tuple[bytes, bytes]]) -> h11.Request:
    target = scope.get("raw_path") or scope["path"].encode()
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _HOP]
    if any(name.lower() == b"transfer-encoding" for name, _ in scope["headers"]):
        headers.append((b"transfer-encoding", b"chunked"))
    headers += [(b"connection", b"close"), *extra]
    return h11.Request(method=scope["method"], target=target, headers=headers)
