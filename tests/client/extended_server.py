"""A small server of the extended protocol, JSON form, that a test can break in the middle of a call."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable
from typing import Any

from tests.client.scripted import Peer


class Hosted:
    """One session: it counts, and remembers what it has answered."""

    def __init__(self, name: str, cache_size: int) -> None:
        self.name = name
        self.token = secrets.token_urlsafe(8)
        self.count = 0
        self.episode: str | None = None
        self.last = 0
        self.replies: dict[int, dict[str, Any]] = {}
        self.executed: list[Any] = []
        self.cache_size = cache_size

    def call(self, number: int, request: dict[str, Any]) -> dict[str, Any]:
        if number in self.replies:
            return self.replies[number]
        assert number > self.last, "an id that came before and whose reply is gone"
        self.last = number
        reply = self.replies[number] = self.execute(request)
        while len(self.replies) > self.cache_size:
            self.replies.pop(next(iter(self.replies)))
        return reply

    def execute(self, request: dict[str, Any]) -> dict[str, Any]:
        kind, data = request["type"], request.get("data") or {}
        if kind == "state":
            return {"type": "state", "data": {"step_count": self.count, "episode_id": self.episode}}
        if kind == "reset":
            self.count, self.episode, self.executed = 0, data.get("episode_id", "e"), []
        else:
            self.executed.append(data.get("by"))
            if data.get("by") == 13:
                return _error("EnvironmentFailedError", "unlucky", session_fate="alive", outcome="env_error")
            self.count += 1
        return {
            "type": "observation",
            "data": {"observation": {"count": self.count}, "reward": 1.0, "done": self.count == 9},
            "result": {"episode_id": self.episode, "step": self.count, "seed": data.get("seed")},
        }


def _error(name: str, message: str, **fields: Any) -> dict[str, Any]:
    return {"type": "error", "data": {"message": message, "error": name, "code": "X", **fields}}


def lost(name: str) -> dict[str, Any]:
    return _error("SessionLost", f"there is no session {name}", session_fate="closed")


class ExtendedWorld:
    """All sessions of a server, over all its connections. `world.script` is what a `ScriptedServer` plays.

    Attributes:
        sessions: by name.
        before: called with (peer, request) before a request is taken; may break the connection.
        after: the same, after it was executed and before it is answered.
        heads: heads of the handshakes.
        seen: the requests.
        speaks: whether connections speak the extended protocol, for each in turn; the last for all others.
        max_sessions: how many may be open.
        cache_size: replies that a session remembers.
    """

    def __init__(self) -> None:
        self.sessions: dict[str, Hosted] = {}
        self.before: Callable[[Peer, dict[str, Any]], None] = lambda peer, request: None
        self.after: Callable[[Peer, dict[str, Any]], None] = lambda peer, request: None
        self.heads: list[Any] = []
        self.seen: list[dict[str, Any]] = []
        self.speaks = [True]
        self.max_sessions = 10_000
        self.cache_size = 16
        self._opened = 0
        self._lock = threading.Lock()

    def script(self, peer: Peer) -> None:
        head = peer.head()
        self.heads.append(head)
        speaks = self.speaks.pop(0) if len(self.speaks) > 1 else self.speaks[0]
        binary = "msgpack" in head.headers.get("sec-websocket-protocol", "")
        peer.accept(extended=speaks, binary=speaks and binary)
        peer.knows_tokens = True
        own = None if "session=none" in head.query else self.open()
        held: set[str] = set() if own is None else {own.name}
        peer.ending = lambda: [self.sessions.pop(name, None) for name in held]
        while True:
            request = peer.request()
            self.before(peer, request)
            with self._lock:
                self.seen.append(request)
                reply = self.answer(request, own)
                if reply["type"] in ("opened", "resumed"):
                    held.add(reply["data"]["session"])
            self.after(peer, request)
            peer.send({**reply, "id": request.get("id")})

    def open(self) -> Hosted:
        session = Hosted(f"s{self._opened}", self.cache_size)
        self._opened += 1
        self.sessions[session.name] = session
        return session

    def answer(self, request: dict[str, Any], own: Hosted | None) -> dict[str, Any]:
        kind, data = request["type"], request.get("data") or {}
        session = self.sessions.get(request["session"]) if "session" in request else own
        if kind == "open":
            if len(self.sessions) >= self.max_sessions:
                return _error("SessionCapacityError", "full", session_fate="closed")
            return self.opened(self.open(), data.get("lease_s", 30.0))
        if kind == "resume":
            return self.resume(data)
        if kind == "batch":
            results = [self.part(request["id"], part) for part in data["calls"]]
            return {"type": "batch", "data": {"results": results}}
        if session is None:
            return lost(str(request.get("session")))
        if kind == "token":
            return self.opened(session, 30.0)
        if kind == "close":
            self.sessions.pop(session.name)
            return {"type": "closed", "session": session.name, "data": {}}
        return session.call(request.get("id", session.last + 1), request)

    def part(self, number: int, part: dict[str, Any]) -> dict[str, Any]:
        session = self.sessions.get(part["session"])
        return lost(part["session"]) if session is None else session.call(number, part)

    @staticmethod
    def opened(session: Hosted, lease_s: float) -> dict[str, Any]:
        return {
            "type": "opened",
            "data": {"session": session.name, "token": session.token, "lease_s": lease_s},
        }

    def resume(self, data: dict[str, Any]) -> dict[str, Any]:
        for session in self.sessions.values():
            if session.token == data["token"]:
                facts = {"episode_id": session.episode, "step_count": session.count, "last_id": session.last}
                opened = self.opened(session, 30.0)["data"]
                return {"type": "resumed", "session": session.name, "data": {**opened, **facts}}
        return lost("of that token")


def cut(peer: Peer) -> None:
    """Break a connection."""
    peer.link.shutdown(socket.SHUT_RDWR)
    raise ConnectionError("cut by the test")


class Cuts:
    """Breaks the connection at the given requests of a type, counted from 1."""

    def __init__(self, kind: str, *numbers: int) -> None:
        self.kind, self.numbers, self.count = kind, numbers, 0

    def __call__(self, peer: Peer, request: dict[str, Any]) -> None:
        if request["type"] == self.kind:
            self.count += 1
            if self.count in self.numbers:
                cut(peer)
