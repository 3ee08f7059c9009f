"""The page at ``/web`` that a published environment brings along, and the names published code uses for it.

An author's `gradio_builder` is given a `WebInterfaceManager` and returns Gradio blocks; they are mounted
at ``/web/`` if Gradio is installed. If it is not, ``/web/`` says so: everything else works without.
"""

from __future__ import annotations

import html
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Body, FastAPI, HTTPException, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse, RedirectResponse

from openenv.errors import OpenEnvError
from openenv.protocol.jsonvalue import to_jsonable
from openenv.server.gradio_page import GradioBuilder, build_gradio_app, combine, has_gradio, import_gradio
from openenv.server.web_fields import (
    action_fields,
    get_gradio_display_title,
    get_quick_start_markdown,
    is_chat_action,
    load_environment_metadata,
)
from openenv.server.web_manager import ActionLog, EpisodeState, WebInterfaceManager
from openenv.types import Action, Observation, State

__all__ = [
    "ActionLog",
    "EpisodeState",
    "WebInterfaceManager",
    "create_web_interface_app",
    "get_quick_start_markdown",
    "load_environment_metadata",
    "mount",
]

PATH = "/web"


def mount(
    app: FastAPI,
    env: Callable[[], Any],
    action_cls: type[Action],
    observation_cls: type[Observation],
    env_name: str | None = None,
    *,
    gradio_builder: GradioBuilder | None = None,
    custom_tab_name: str = "Custom",
    custom_tab_primary: bool = False,
    show_default_tab: bool = True,
    title_override: str | None = None,
) -> None:
    """Mount the page at ``/web/``, or a note that says what is missing.

    It drives an environment of its own, so it belongs on servers in simulation mode only.

    Args:
        app: application to mount it on.
        env: class or factory of the environment; called once, where the page's session will live.
        action_cls: action model.
        observation_cls: observation model.
        env_name: what the environment is called.
        gradio_builder: the author's page, see `GradioBuilder`; None shows the plain one.
        custom_tab_name: name of the tab with the author's page.
        custom_tab_primary: whether that tab comes first.
        show_default_tab: whether the plain page gets a tab beside the author's.
        title_override: title of the page; by default it names the environment.
    """
    metadata = load_environment_metadata(env, env_name)
    title = title_override or get_gradio_display_title(metadata)
    if not has_gradio():
        _mount_note(app, title, own=gradio_builder is not None)
        return
    manager = WebInterfaceManager(env, action_cls, observation_cls, metadata)
    gr = import_gradio()
    arguments = (
        manager,
        action_fields(action_cls),
        metadata,
        is_chat_action(action_cls),
        title,
        get_quick_start_markdown(metadata, action_cls, observation_cls),
    )
    default = build_gradio_app(*arguments) if gradio_builder is None or show_default_tab else None
    page = default
    if gradio_builder is not None:
        page = combine(gr, gradio_builder(*arguments), default, custom_tab_name, custom_tab_primary, title)
    _close_with(app, manager)
    _mount_manager_routes(app, manager)
    _redirect(app, "/", "web/")
    _redirect(app, PATH, "web/")
    gr.mount_gradio_app(app, page, path=PATH)


def _redirect(app: FastAPI, path: str, to: str) -> None:
    async def redirect() -> RedirectResponse:
        return RedirectResponse(to)

    app.add_api_route(path, redirect, methods=["GET"], include_in_schema=False)


def _close_with(app: FastAPI, manager: WebInterfaceManager) -> None:
    """Close the page's environment when the application ends."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(scope: Any) -> AsyncIterator[Any]:
        async with inner(scope) as state:
            try:
                yield state
            finally:
                await manager.aclose()

    app.router.lifespan_context = lifespan


def _mount_manager_routes(app: FastAPI, manager: WebInterfaceManager) -> None:
    """The page's published JSON routes: ``/web/{metadata,reset,step,state}`` and the socket ``/ws/ui``."""

    async def metadata() -> Any:
        return manager.metadata

    async def reset(options: dict[str, Any] | None = Body(default=None)) -> Any:  # noqa: B008
        return to_jsonable(await _answer(manager.reset_environment(options)))

    async def step(request: dict[str, Any] = Body()) -> Any:  # noqa: B008
        action = {"message": request["message"]} if "message" in request else request.get("action", {})
        return to_jsonable(await _answer(manager.step_environment(action)))

    def state() -> Any:
        try:
            return to_jsonable(manager.get_state())
        except OpenEnvError as problem:
            raise HTTPException(409, str(problem)) from problem

    async def changes(websocket: WebSocket) -> None:
        await manager.connect_websocket(websocket)
        try:
            while True:
                await websocket.receive_text()
        except WebSocketDisconnect:
            await manager.disconnect_websocket(websocket)

    app.add_api_route(f"{PATH}/metadata", metadata, methods=["GET"], include_in_schema=False)
    app.add_api_route(f"{PATH}/reset", reset, methods=["POST"], include_in_schema=False)
    app.add_api_route(f"{PATH}/step", step, methods=["POST"], include_in_schema=False)
    app.add_api_route(f"{PATH}/state", state, methods=["GET"], include_in_schema=False)
    app.add_api_websocket_route("/ws/ui", changes)


async def _answer(call: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    try:
        return await call
    except (OpenEnvError, ValueError) as problem:  # a pydantic.ValidationError is a ValueError
        raise HTTPException(422, str(problem)) from problem


def _mount_note(app: FastAPI, title: str, *, own: bool) -> None:
    what = "This environment brings a page of its own" if own else "There is a page for this environment"
    text = _NOTE.format(title=html.escape(title), what=what)

    async def note() -> HTMLResponse:
        return HTMLResponse(text)

    for path in (PATH, f"{PATH}/"):
        app.add_api_route(path, note, methods=["GET"], include_in_schema=False)


_NOTE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto; padding: 0 1rem }}
code {{ background: #eee; padding: .1em .3em }}</style></head>
<body>
<h1>{title}</h1>
<p>{what}. Showing it needs the extra <code>gradio</code>, which is not installed here:</p>
<p><code>pip install 'openenv[gradio]'</code></p>
<p>The environment itself works without it: see <a href="../docs">the API</a>.</p>
</body>
</html>
"""


def create_web_interface_app(
    env: Callable[[], Any],
    action_cls: type[Action],
    observation_cls: type[Observation],
    env_name: str | None = None,
    max_concurrent_envs: int | None = None,
    concurrency_config: Any | None = None,
    gradio_builder: GradioBuilder | None = None,
    custom_tab_name: str = "Custom",
    custom_tab_primary: bool = False,
    show_default_tab: bool = True,
    title_override: str | None = None,
    state_cls: type[State] = State,
    *,
    mode: Any | None = None,
    reset_observation_cls: type[Observation] | None = None,
) -> FastAPI:
    """Make the application of an environment with its page mounted; arguments as in `create_app`.

    In production mode there is no page: it would reset and step.
    """
    from openenv.server.app import create_fastapi_app

    app = create_fastapi_app(
        env,
        action_cls,
        observation_cls,
        max_concurrent_envs=max_concurrent_envs,
        concurrency_config=concurrency_config,
        env_name=env_name,
        state_cls=state_cls,
        mode=mode,
        reset_observation_cls=reset_observation_cls,
    )
    if app.state.openenv.settings.production:
        return app
    mount(
        app,
        env,
        action_cls,
        observation_cls,
        env_name,
        gradio_builder=gradio_builder,
        custom_tab_name=custom_tab_name,
        custom_tab_primary=custom_tab_primary,
        show_default_tab=show_default_tab,
        title_override=title_override,
    )
    return app
