"""From a TARGET and options to an application that is served."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from openenv.cli._output import note, paint, say
from openenv.errors import TargetError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from openenv.environment import EnvironmentSpec
    from openenv.server.settings import ServerSettings


_NEED_NO_RUNTIME = {"host", "log_format", "insecure", "debug"}


class Served(NamedTuple):
    """An application and what is known about it."""

    name: str
    app: Any
    settings: ServerSettings


def application(target: str, options: Mapping[str, Any], execution: str = "auto") -> Served:
    """Make the application of a TARGET.

    Args:
        target: whatever `openenv serve` takes.
        options: fields of `ServerSettings`; those that are None are left to the environment variables, and
            after them to the application itself.
        execution: ``auto``, ``thread``, ``shard``, ``inline`` or ``process``.

    Raises:
        TargetError: it leads nowhere, or to a server that runs already.
        UsageError: a setting makes no sense, or would expose the machine.
    """
    from openenv.catalog import PublishedApp, RemoteTarget, resolve
    from openenv.server.app import make_app
    from openenv.server.security import check_exposure
    from openenv.server.settings import ServerSettings

    settings = ServerSettings.from_environment(**options)
    check_exposure(settings)
    # A published package makes its application when it is imported, and its routes depend on the mode.
    os.environ["OPENENV_MODE"] = settings.mode
    found = resolve(target)
    if isinstance(found, RemoteTarget):
        raise TargetError(f"{found.url} is a server already. To use it: openenv play {found.url}")
    if isinstance(found, PublishedApp):
        return _published(found, options, execution)
    spec: EnvironmentSpec = found if execution == "auto" else replace(found, host=execution)
    return Served(spec.name, make_app(spec, settings), settings)


def _published(found: Any, options: Mapping[str, Any], execution: str) -> Served:
    """The package's own application, with the options given here over those of its code."""
    from openenv.server.settings import ServerSettings

    runtime = getattr(getattr(found.app, "state", None), "openenv", None)
    given = {name: value for name, value in options.items() if value is not None}
    if runtime is None:
        beyond = sorted(given.keys() - _NEED_NO_RUNTIME)
        if beyond:
            raise UsageError(
                f"{found.name} is an application that create_app did not make, and does not know "
                f"{', '.join(beyond)}. Leave these out, or make it with openenv.core.env_server.create_app."
            )
        return Served(found.name, found.app, ServerSettings.from_environment(**options))
    if given.get("mode", runtime.settings.mode) != runtime.settings.mode:
        raise UsageError(f"{found.name} sets its mode in its own code (create_app(..., mode=...))")
    if execution != "auto":
        runtime.spec = replace(runtime.spec, host=execution)
    runtime.configure(runtime.settings.replace(**given))
    return Served(found.name, found.app, runtime.settings)


def run(served: Served, *, host: str, port: int, uds: Path | None = None, fd: int | None = None) -> None:
    """Serve until Ctrl-C or SIGTERM, on the socket `fd` if a supervisor listens already.

    Raises:
        UsageError: the address cannot be bound.
    """
    from openenv.server.logs import configure_logging
    from openenv.server.run import serve

    settings = served.settings
    configure_logging(settings.log_format, settings.log_level, token=settings.token)
    serve(
        served.app,
        host=host,
        port=port,
        uds=str(uds) if uds else None,
        fd=fd,
        drain_s=settings.drain_s,
        head_timeout_s=settings.head_timeout_s,
        log_level=quieter(settings.log_level),
        ready=lambda url: announce(served.name, url, settings),
    )


def quieter(level: str) -> str:
    """Uvicorn's own level: its "started", "shutting down" say less than the lines of this program."""
    return "warning" if level == "info" else level


def announce(name: str, url: str, settings: ServerSettings) -> None:
    """Say where the server is and how to use it, on stdout."""
    token = ', token="..."' if settings.token else ""
    option = " --token ..." if settings.token else ""
    lines = [
        ("Python", f'openenv.make("{url}"{token})'),
        ("terminal", f"openenv play {url}{option}"),
    ]
    if url.startswith("http"):
        lines.append(("browser", f"{url}/docs"))
    say(f"{paint(name, 'bold')} at {paint(url, 'cyan')}")
    for label, text in lines:
        say(f"  {paint(f'{label:<9}', 'dim')}{text}")
    if settings.production:
        note(paint("production: tools over MCP only, no reset, step or state", "dim", stream=sys.stderr))
    if settings.insecure and not settings.token:
        note(paint("no token: everyone who reaches this address can run the environment", "yellow"))
    note(paint("Ctrl-C stops it.", "dim", stream=sys.stderr))
