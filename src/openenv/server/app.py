"""Applications: `create_app` and `HTTPEnvServer` as published packages call them, and `make_app`.

What is returned is a FastAPI application. An author adds routes and middleware to it, any ASGI server
runs it, FastAPI's `TestClient` drives it, and `openenv serve` gives it the faster WebSocket transport.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from openenv.environment import EnvironmentSpec, describe
from openenv.errors import SessionNotFoundError
from openenv.protocol.messages import ConcurrencyConfig, ServerCapacityStatus, ServerMode, SessionInfo
from openenv.server.api import register
from openenv.server.logs import log_event, logger
from openenv.server.runtime import ServerRuntime
from openenv.server.settings import ServerSettings, SettingError
from openenv.types import Action, Observation, State

_TRUE = frozenset({"true", "1", "yes"})


class HTTPEnvServer:
    """A server of one environment, in the published form; subclasses may override `register_routes`.

    Args:
        env: class or factory of the environment.
        action_cls: its action model.
        observation_cls: its observation model.
        max_concurrent_envs: sessions alive at once.
        concurrency_config: the same with a session timeout; not together with `max_concurrent_envs`.
        env_name: what the environment is called.
        state_cls: its state model.
        reset_observation_cls: model of the first observation, if it is another one.

    Raises:
        TypeError: `env` is not callable.
        ValueError: both forms of concurrency are given.
        ConcurrencyConfigurationError: more sessions than the environment allows.
    """

    def __init__(
        self,
        env: Callable[[], Any],
        action_cls: type[Action],
        observation_cls: type[Observation],
        max_concurrent_envs: int | None = None,
        concurrency_config: ConcurrencyConfig | None = None,
        env_name: str | None = None,
        state_cls: type[State] = State,
        *,
        reset_observation_cls: type[Observation] | None = None,
    ) -> None:
        if not callable(env):
            raise TypeError(
                f"env must be callable, a class or a factory function, not an instance; got {type(env)}"
            )
        self._env_factory = env
        config = _concurrency(max_concurrent_envs, concurrency_config)
        self.action_cls = action_cls
        self.observation_cls = observation_cls
        self.reset_observation_cls = reset_observation_cls or observation_cls
        self.state_cls = state_cls
        self.env_name = env_name or str(getattr(env, "__name__", "environment"))
        spec = describe(
            env,
            action_type=action_cls,
            observation_type=observation_cls,
            state_type=state_cls,
            reset_observation_type=reset_observation_cls,
            name=env_name,
            requires_reset=False,
        )
        self.runtime = ServerRuntime(spec, _settings(spec, config))
        self._concurrency_config = ConcurrencyConfig(
            max_concurrent_envs=self.runtime.manager.max_sessions,
            session_timeout=config.session_timeout if config else None,
        )

    def register_routes(self, app: FastAPI, mode: ServerMode | str = ServerMode.SIMULATION) -> None:
        """Add the server's routes to an application.

        Args:
            app: the application.
            mode: `simulation`, or `production`, which has tools only.

        Raises:
            ValueError: there is no such mode.
        """
        register(app, self.runtime, self.env_name, production=_mode(mode) is ServerMode.PRODUCTION)

    def get_capacity_status(self) -> ServerCapacityStatus:
        """How full the server is."""
        return ServerCapacityStatus.from_counts(self.active_sessions, self.max_concurrent_envs)

    def get_session_info(self, session_id: str) -> SessionInfo | None:
        """What is known of a session, None if there is none of that id."""
        try:
            hosted = self.runtime.manager.get(session_id)
        except SessionNotFoundError:
            return None
        session = hosted.session
        spec = self.runtime.spec
        epoch = time.time() - time.monotonic()
        return SessionInfo(
            session_id=hosted.id,
            created_at=epoch + session.created_at,
            last_activity_at=epoch + session.last_activity,
            step_count=session.statistics().steps,
            environment_type=spec.cls.__name__ if spec.cls else spec.name,
        )

    @property
    def active_sessions(self) -> int:
        """Sessions alive."""
        return self.runtime.manager.active

    @property
    def max_concurrent_envs(self) -> int:
        """Session slots."""
        return self.runtime.manager.max_sessions

    @property
    def is_concurrency_safe(self) -> bool:
        """Whether the environment says that its instances share nothing."""
        return self.runtime.spec.concurrent

    @property
    def concurrency_config(self) -> ConcurrencyConfig:
        """The concurrency in force."""
        return self._concurrency_config


def _concurrency(
    max_concurrent_envs: int | None, config: ConcurrencyConfig | None
) -> ConcurrencyConfig | None:
    if max_concurrent_envs is not None and config is not None:
        raise ValueError(
            "Cannot specify both 'max_concurrent_envs' and 'concurrency_config': use one of them"
        )
    if max_concurrent_envs is not None:
        return ConcurrencyConfig(max_concurrent_envs=max_concurrent_envs)
    return config


def _settings(spec: EnvironmentSpec, config: ConcurrencyConfig | None) -> ServerSettings:
    settings = ServerSettings.from_environment(
        max_sessions=config.max_concurrent_envs if config else None,
        lease_s=config.session_timeout if config else None,
        mode=ServerMode.SIMULATION.value,
    )
    if config is None and (settings.max_sessions is None or not spec.concurrent):
        # As published: one session where the author names no number, and the environment variable is
        # meant for environments that can have more.
        return settings.replace(max_sessions=1)
    return settings


def _mode(mode: ServerMode | str | None) -> ServerMode:
    """Read a mode; None asks the environment variable.

    Raises:
        ValueError: there is no such mode.
    """
    if mode is None:
        return ServerMode(ServerSettings.from_environment().mode)
    try:
        return ServerMode(str(mode).strip().lower())
    except ValueError:
        known = " or ".join(one.value for one in ServerMode)
        raise SettingError(f"Invalid mode: {mode!r}. It must be {known}.") from None


def create_fastapi_app(
    env: Callable[[], Any],
    action_cls: type[Action],
    observation_cls: type[Observation],
    max_concurrent_envs: int | None = None,
    concurrency_config: ConcurrencyConfig | None = None,
    env_name: str | None = None,
    state_cls: type[State] = State,
    *,
    mode: ServerMode | str | None = None,
    reset_observation_cls: type[Observation] | None = None,
) -> FastAPI:
    """Make the application of an environment; arguments as in `HTTPEnvServer`.

    Args:
        env: class or factory of the environment.
        action_cls: its action model.
        observation_cls: its observation model.
        max_concurrent_envs: sessions alive at once.
        concurrency_config: the same with a session timeout.
        env_name: what the environment is called.
        state_cls: its state model.
        mode: `simulation` or `production`; None reads `OPENENV_MODE`.
        reset_observation_cls: model of the first observation, if it is another one.
    """
    server = HTTPEnvServer(
        env,
        action_cls,
        observation_cls,
        max_concurrent_envs,
        concurrency_config,
        env_name,
        state_cls,
        reset_observation_cls=reset_observation_cls,
    )
    app = _application(server.runtime.spec)
    server.register_routes(app, mode=_mode(mode))
    return app


def create_app(
    env: Callable[[], Any],
    action_cls: type[Action],
    observation_cls: type[Observation],
    env_name: str | None = None,
    max_concurrent_envs: int | None = None,
    concurrency_config: ConcurrencyConfig | None = None,
    gradio_builder: Callable[..., Any] | None = None,
    custom_tab_name: str = "Custom",
    custom_tab_primary: bool = False,
    show_default_tab: bool = True,
    title_override: str | None = None,
    state_cls: type[State] = State,
    *,
    mode: ServerMode | str | None = None,
    reset_observation_cls: type[Observation] | None = None,
) -> FastAPI:
    """Make the application of an environment, with its page if `ENABLE_WEB_INTERFACE` says so.

    Args:
        env: class or factory of the environment.
        action_cls: its action model.
        observation_cls: its observation model.
        env_name: what the environment is called.
        max_concurrent_envs: sessions alive at once.
        concurrency_config: the same with a session timeout.
        gradio_builder: makes the environment's own page, which needs the extra `gradio`.
        custom_tab_name: name of the tab with that page.
        custom_tab_primary: whether that tab comes first.
        show_default_tab: whether the plain page gets a tab beside it.
        title_override: title of the page.
        state_cls: its state model.
        mode: `simulation` or `production`; None reads `OPENENV_MODE`.
        reset_observation_cls: model of the first observation, if it is another one.
    """
    what = (env, action_cls, observation_cls)
    app = create_fastapi_app(
        *what,
        max_concurrent_envs,
        concurrency_config,
        env_name,
        state_cls,
        mode=mode,
        reset_observation_cls=reset_observation_cls,
    )
    if not _page_wanted(app):
        return app
    from openenv.server.web_interface import mount

    mount(
        app,
        *what,
        env_name,
        gradio_builder=gradio_builder,
        custom_tab_name=custom_tab_name,
        custom_tab_primary=custom_tab_primary,
        show_default_tab=show_default_tab,
        title_override=title_override,
    )
    return app


def _page_wanted(app: FastAPI) -> bool:
    if os.environ.get("ENABLE_WEB_INTERFACE", "").strip().lower() not in _TRUE:
        return False
    if app.state.openenv.settings.production:
        log_event(logger, logging.WARNING, "no page in production mode: it would reset and step")
        return False
    return True


def make_app(target: Any, settings: ServerSettings | None = None) -> FastAPI:
    """Make the application of an environment that describes itself.

    Args:
        target: an `EnvironmentSpec`, an environment class, or a factory of one.
        settings: the server's settings; by default those of the process's environment variables.

    Raises:
        DefinitionError: the class cannot be served as written.
        ConcurrencyConfigurationError: more sessions than the environment allows.
    """
    spec = target if isinstance(target, EnvironmentSpec) else describe(target)
    runtime = ServerRuntime(spec, settings)
    app = _application(spec)
    register(app, runtime, spec.name, production=runtime.settings.production)
    return app


def _application(spec: EnvironmentSpec) -> FastAPI:
    return FastAPI(
        title="OpenEnv Environment HTTP API",
        version="1.0.0",
        description=f"{spec.name}: {spec.description}",
        docs_url=None,
        redoc_url=None,
        license_info={"name": "BSD-3-Clause"},
    )
