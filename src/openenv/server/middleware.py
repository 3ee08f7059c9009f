"""The security policy and the body limit around a whole application, an author's own routes included."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from openenv.server.scope import Scope, client_of, headers_of, path_of, query_of

if TYPE_CHECKING:
    from openenv.server.runtime import ServerRuntime

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
AsgiSend = Callable[[Event], Awaitable[None]]
App = Callable[[Scope, Receive, AsgiSend], Awaitable[None]]

_POLICY_VIOLATION = 1008


class SecurityMiddleware:
    """Refuses what the runtime's policy refuses, and bodies that are too large.

    Args:
        app: the application.
        runtime: the server.
    """

    def __init__(self, app: App, runtime: ServerRuntime) -> None:
        self._app = app
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        """Serve one scope."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refuses(self, method: str, scope: Scope, headers: Mapping[str, str]) -> Any:
        client = client_of(scope)
        return self._runtime.authorize(
            method, path_of(scope), headers, query_of(scope), client[0] if client else None
        )

    async def _http(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        headers = headers_of(scope)
        rejection = self._refuses(str(scope["method"]), scope, headers)
        if rejection is not None:
            await _answer(send, rejection.status, rejection.detail, rejection.headers)
            return
        limit = self._runtime.settings.max_body_bytes
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > limit:
            await _too_large(send, limit)
            return
        body = _LimitedBody(receive, send, limit)
        try:
            await self._app(scope, body.receive, body.send)
        except Exception:  # Boundary: whatever an application makes of a body cut off for its size.
            if not body.cut or body.answered:
                raise
        if body.cut and not body.answered:
            await _too_large(send, limit)

    async def _websocket(self, scope: Scope, receive: Receive, send: AsgiSend) -> None:
        rejection = self._refuses("WEBSOCKET", scope, headers_of(scope))
        if rejection is None:
            await self._app(scope, receive, send)
            return
        await receive()
        if "websocket.http.response" in (scope.get("extensions") or {}):
            await _answer(send, rejection.status, rejection.detail, rejection.headers, "websocket.http.")
        else:
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": rejection.detail})


class _LimitedBody:
    """The channels of one request, cut off when its body grows too large.

    To the application it then looks as if the client went away; whatever it answers is replaced.

    Attributes:
        cut: whether the body was too large.
        answered: whether the application's answer had begun by then.
    """

    def __init__(self, receive: Receive, send: AsgiSend, limit: int) -> None:
        self.cut = False
        self.answered = False
        self._receive = receive
        self._send = send
        self._left = limit

    async def receive(self) -> Event:
        """The next event of the request."""
        event = await self._receive()
        if event["type"] == "http.request":
            self._left -= len(event.get("body", b""))
            if self._left < 0:
                self.cut = True
                return {"type": "http.disconnect"}
        return event

    async def send(self, event: Event) -> None:
        """Pass an event of the answer on."""
        if self.cut and not self.answered:
            return
        self.answered = True
        await self._send(event)


async def _too_large(send: AsgiSend, limit: int) -> None:
    text = f"The body is larger than {limit} bytes, the limit of this server."
    await _answer(send, 413, text, {"connection": "close"})


async def _answer(
    send: AsgiSend, status: int, detail: str, headers: Mapping[str, str], kind: str = "http."
) -> None:
    body = json.dumps({"detail": detail}).encode()
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    raw += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": f"{kind}response.start", "status": status, "headers": raw})
    await send({"type": f"{kind}response.body", "body": body})
