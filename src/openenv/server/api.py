"""All routes of a server on a FastAPI application, and its life with that application's.

Published routes come before an author's, as they always did. Routes that published servers do not have
(`/ready`, `/metrics`, `/close`, the pages) give way to an author's route at the same path, whenever that
was added.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Match, Mount, WebSocketRoute

from openenv.environment import EnvironmentSpec
from openenv.protocol.jsonvalue import to_jsonable
from openenv.protocol.messages import HealthResponse, SchemaResponse
from openenv.server import openapi
from openenv.server.admin import PREFIX, AdminRoutes
from openenv.server.asgi_ws import websocket_endpoint
from openenv.server.http import HttpDoor
from openenv.server.mcp_http import McpRoute
from openenv.server.metrics import CONTENT_TYPE
from openenv.server.middleware import SecurityMiddleware
from openenv.server.pages import docs_page, web_page
from openenv.server.scope import Scope
from openenv.server.task_routes import TaskRoutes
from openenv.types import EnvironmentMetadata

if TYPE_CHECKING:
    from openenv.server.runtime import ServerRuntime

CONTROL = "Environment Control"
INFO = "Environment Info"
ADMINISTRATION = "Administration"


class YieldingRoute(APIRoute):
    """A route that gives way to another route at the same path."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match, unless somebody else's route does."""
        match, child_scope = super().matches(scope)
        if match is Match.NONE:
            return match, child_scope
        others = (route for route in scope["app"].routes if not isinstance(route, YieldingRoute))
        return (
            (Match.NONE, {})
            if any(self._is_taken(route, scope) for route in others)
            else (match, child_scope)
        )

    def _is_taken(self, route: BaseRoute, scope: Scope) -> bool:
        """Whether a route was made for this very path; one that takes whatever is left does not count."""
        if isinstance(route, Mount) and not route.path and self.path != "/":
            return False
        match, child_scope = route.matches(dict(scope))
        return match is Match.FULL and not child_scope.get("path_params")


class _SocketEndpoint:
    """The doors of a server, as an ASGI application for WebSockets."""

    def __init__(self, runtime: ServerRuntime) -> None:
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        await websocket_endpoint(self._runtime, scope, receive, send)


def register(app: FastAPI, runtime: ServerRuntime, env_name: str, *, production: bool) -> None:
    """Put a server on an application.

    Args:
        app: the application; `app.state.openenv` becomes the runtime.
        runtime: the server.
        env_name: what the environment is called in the paths of its tasks.
        production: whether the simulation's controls are left out.
    """
    if production != runtime.settings.production:
        runtime.configure(runtime.settings.replace(mode="production" if production else "simulation"))
    app.state.openenv = runtime
    app.add_middleware(SecurityMiddleware, runtime=runtime)
    _live_with(app, runtime)
    TaskRoutes(runtime, env_name).register(app)
    if not production:
        _register_controls(app, runtime)
    _register_information(app, runtime)
    app.post("/mcp", tags=["Tools"], summary="Tools by JSON-RPC")(McpRoute(runtime).post)
    for path in sorted(runtime.websocket_paths):
        app.router.routes.append(WebSocketRoute(path, _SocketEndpoint(runtime)))
    _register_own(app, runtime)
    openapi.publish(app, runtime.spec)


def _live_with(app: FastAPI, runtime: ServerRuntime) -> None:
    """Start and stop the runtime with the application."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(scope: Any) -> AsyncIterator[Any]:
        runtime.start()
        try:
            async with inner(scope) as state:
                yield state
        finally:
            await runtime.stop()

    app.router.lifespan_context = lifespan


def _register_controls(app: FastAPI, runtime: ServerRuntime) -> None:
    door = HttpDoor(runtime)
    refused = openapi.answer(
        "The body or the action does not fit", {"type": "object", "properties": {"detail": {"type": "array"}}}
    )
    app.post(
        "/reset",
        tags=[CONTROL],
        summary="Reset the environment",
        description="Begins an episode. The header X-OpenEnv-Session of the answer names the session.",
        openapi_extra=openapi.body(openapi.component("ResetOptions"), required=False),
        responses={
            200: openapi.answer("The first observation", openapi.observed("ResetObservation")),
            422: refused,
        },
    )(door.reset)
    app.post(
        "/step",
        tags=[CONTROL],
        summary="Take a step",
        description="Validates the action and runs it. An invalid action changes nothing.",
        openapi_extra=openapi.body(openapi.step_body(), required=True),
        responses={
            200: openapi.answer("What it led to", openapi.observed("Observation")),
            409: {"description": "No episode runs, or it cannot be told which session is meant"},
            422: refused,
            500: {"description": "The environment failed"},
            503: {"description": "Every session slot is taken; Retry-After says when to come back"},
            504: {"description": "The deadline passed and the step was stopped"},
        },
    )(door.step)
    app.get(
        "/state",
        tags=["State Management"],
        summary="Tell the public state",
        responses={200: openapi.answer("The state", openapi.component("State"))},
    )(door.state)
    _yielding(app, "/close", door.close, "POST", summary="Close the session", tags=[CONTROL])


def _register_information(app: FastAPI, runtime: ServerRuntime) -> None:
    known: list[EnvironmentMetadata] = []

    async def metadata() -> EnvironmentMetadata:
        if not known:
            known.append(await _metadata(runtime))
        return known[0]

    async def health() -> HealthResponse:
        return HealthResponse()

    written: list[bytes] = []

    async def schema() -> Response:
        if not written:  # every client asks, and making it takes milliseconds
            written.append(bytes(JSONResponse(to_jsonable(schemas(runtime.spec))).body))
        return Response(written[0], media_type="application/json")

    app.get("/metadata", tags=[INFO], summary="What the environment is", response_model=EnvironmentMetadata)(
        metadata
    )
    app.get("/health", tags=["Health"], summary="Whether the process lives", response_model=HealthResponse)(
        health
    )
    app.get(
        "/schema",
        tags=["Schema"],
        summary="JSON Schemas of what goes in and comes out",
        response_model=SchemaResponse,
    )(schema)


async def _metadata(runtime: ServerRuntime) -> EnvironmentMetadata:
    spec = runtime.spec
    if spec.native:
        return spec.metadata()
    found: EnvironmentMetadata = await runtime.consult("metadata", spec.metadata)
    return found


def schemas(spec: EnvironmentSpec) -> dict[str, Any]:
    """The answer of ``GET /schema``."""
    return {
        "action": spec.action_schema(),
        "observation": spec.observation_schema(),
        "state": spec.state_schema(),
        "reset_observation": spec.reset_observation_schema() or spec.observation_schema(),
    }


def _register_own(app: FastAPI, runtime: ServerRuntime) -> None:
    async def ready() -> Response:
        answer = await runtime.readiness.check()
        status = "ready" if answer.ready else "not ready"
        return JSONResponse({"status": status, "detail": answer.detail}, 200 if answer.ready else 503)

    async def metrics() -> Response:
        return Response(runtime.metrics.registry.render(), headers={"Content-Type": CONTENT_TYPE})

    async def web(request: Request) -> HTMLResponse:
        here = request.url.replace(path=str(request.scope.get("root_path", "")), query="")
        return web_page(runtime, str(here))

    async def docs() -> HTMLResponse:
        return docs_page(app.openapi())

    async def root() -> Response:
        return RedirectResponse("web")

    _yielding(app, "/ready", ready, "GET", summary="Whether a session can be opened", tags=["Health"])
    _yielding(app, "/metrics", metrics, "GET", summary="Metrics for Prometheus", tags=["Health"])
    admin = AdminRoutes(runtime)
    one = f"{PREFIX}/{{session_id}}"
    _yielding(app, PREFIX, admin.list_sessions, "GET", summary="List the sessions", tags=[ADMINISTRATION])
    _yielding(app, one, admin.show, "GET", summary="Inspect a session", tags=[ADMINISTRATION])
    _yielding(app, one, admin.kill, "DELETE", summary="End a session", tags=[ADMINISTRATION])
    for path, endpoint in (("/", root), ("/web", web), ("/docs", docs), ("/redoc", docs)):
        _yielding(app, path, endpoint, "GET", include_in_schema=False)


def _yielding(app: FastAPI, path: str, endpoint: Callable[..., Any], method: str, **more: Any) -> None:
    app.router.add_api_route(path, endpoint, methods=[method], route_class_override=YieldingRoute, **more)
