"""``/admin/sessions``: list, inspect and end sessions.

A session's id is all that it takes to attach to it, and these routes end other people's episodes. So they
answer only those who proved that they may run the server: by the server's token, which then every request
carries, or by reaching it over a Unix socket, which only its owner can open. A loopback address proves
nothing: every user of the machine, and every page in a browser on it, is on loopback. Ids are shown
shortened unless asked for; a shortened one is enough to inspect or end a session, and useless for a step.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from openenv.errors import OpenEnvError, SessionNotFoundError
from openenv.server.http_errors import error_response
from openenv.server.scope import Scope
from openenv.session.handle import HostedSession
from openenv.session.names import short_id

if TYPE_CHECKING:
    from openenv.server.runtime import ServerRuntime

PREFIX = "/admin/sessions"


def may_administer(runtime: ServerRuntime, scope: Scope) -> bool:
    """Whether a request, which the security policy let pass, may administer the server."""
    if runtime.settings.token is not None:
        return True
    server = scope.get("server")
    # A Unix socket has a path and no port; the unnamed one is another worker of ours, which has asked.
    return server is not None and server[1] is None


class AdminRoutes:
    """The endpoints.

    Args:
        runtime: the server.
    """

    def __init__(self, runtime: ServerRuntime) -> None:
        self._runtime = runtime

    async def list_sessions(self, request: Request) -> Response:
        """All sessions, the longest alive first; with ``?full=1`` their whole ids."""
        if not may_administer(self._runtime, request.scope):
            return _forbidden()
        full = request.query_params.get("full") in ("1", "true")
        described = [self._describe(hosted, full=full) for hosted in self._runtime.manager.sessions()]
        described.sort(key=lambda one: -one["age_s"])
        statistics = self._runtime.manager.statistics()
        body = {
            "environment": self._runtime.spec.name,
            "max_sessions": statistics.max_sessions,
            "sessions": described,
        }
        return JSONResponse(body)

    async def show(self, request: Request) -> Response:
        """One session."""
        return await self._with_session(request, self._shown)

    async def _shown(self, hosted: HostedSession, full: bool) -> dict[str, Any]:
        return self._describe(hosted, full=full, details=True)

    async def kill(self, request: Request) -> Response:
        """End one session and the connections that hold it."""
        return await self._with_session(request, self._killed)

    async def _killed(self, hosted: HostedSession, full: bool) -> dict[str, Any]:
        described = self._describe(hosted, full=full)
        await self._runtime.kill_session(hosted.id)
        return {**described, "killed": True}

    async def _with_session(self, request: Request, action: Any) -> Response:
        runtime = self._runtime
        if not may_administer(runtime, request.scope):
            return _forbidden()
        full = request.query_params.get("full") in ("1", "true")
        try:
            hosted = self._find(str(request.path_params["session_id"]))
            return JSONResponse(await action(hosted, full))
        except OpenEnvError as error:
            return error_response(runtime.presentable(error))

    def _find(self, session_id: str) -> HostedSession:
        """The session of that id, whole or shortened.

        Raises:
            SessionNotFoundError: there is none, or there are several.
        """
        manager = self._runtime.manager
        found = [hosted for hosted in manager.sessions() if session_id in (hosted.id, short_id(hosted.id))]
        if len(found) == 1:
            return found[0]
        if found:
            text = f"{len(found)} sessions are called {session_id}; give the whole id"
            raise SessionNotFoundError(session_id, text)
        return manager.get(session_id)

    def _describe(self, hosted: HostedSession, *, full: bool, details: bool = False) -> dict[str, Any]:
        session = hosted.session
        counts = session.statistics()
        episode = session.episode
        idle_s = hosted.idle_s
        described: dict[str, Any] = {
            "session": hosted.id if full else short_id(hosted.id),
            "door": hosted.owner,
            "phase": session.phase.value,
            "episodes": counts.episodes,
            "steps": counts.steps,
            "age_s": round(time.monotonic() - session.created_at, 3),
            "idle_s": round(idle_s, 3),
            "attached": hosted.attached,
            "pending": hosted.pending,
        }
        if details:
            described |= {
                "episode": episode.id if episode is not None else None,
                "seed": episode.seed if episode is not None else None,
                "step": episode.step if episode is not None else None,
                "status": session.status.value,
                "outcomes": counts.outcomes,
                "lease_s": hosted.lease_s,
                "lease_left_s": None if hosted.attached else round(max(hosted.lease_s - idle_s, 0.0), 3),
                "host": type(hosted.host).__name__,
            }
        return described


def _forbidden() -> Response:
    text = (
        "Sessions are administered with the server's token or over a Unix socket. Start the server with "
        "--token TOKEN (or OPENENV_TOKEN), or with --uds PATH."
    )
    return JSONResponse({"detail": text}, 403)
