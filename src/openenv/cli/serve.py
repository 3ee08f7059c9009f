"""`openenv serve`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from openenv.cli._errors import debugging
from openenv.cli._output import note, paint
from openenv.cli._targets import LocalTarget


class Execution(StrEnum):
    """Where the environment's code runs."""

    AUTO = "auto"
    THREAD = "thread"
    INLINE = "inline"


class LogFormat(StrEnum):
    """Form of the log lines on stderr."""

    TEXT = "text"
    JSON = "json"


def command(
    target: LocalTarget,
    host: Annotated[str, typer.Option("--host", help="Address to bind.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", "-p", help="Port to bind; 0 takes a free one.", min=0, max=65535)
    ] = 8000,
    uds: Annotated[
        Path | None,
        typer.Option("--uds", help="Bind a Unix socket at this path instead.", show_default=False),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="OPENENV_TOKEN",
            help="Bearer token that every caller must send. The variable keeps it out of process lists.",
            show_default=False,
        ),
    ] = None,
    max_sessions: Annotated[
        int | None,
        typer.Option(
            "--max-sessions", help="Environments alive at once.", min=1, show_default="the environment says"
        ),
    ] = None,
    execution: Annotated[
        Execution,
        typer.Option("--execution", help="Run each session on its own thread, or on the server's loop."),
    ] = Execution.AUTO,
    step_timeout: Annotated[
        float | None,
        typer.Option(
            "--step-timeout", help="Deadline of calls that name none, in seconds.", show_default=False
        ),
    ] = None,
    lease: Annotated[
        float | None,
        typer.Option(
            "--lease",
            help="Seconds after which a session that nobody holds or calls is closed.",
            show_default="600",
        ),
    ] = None,
    queue: Annotated[
        int | None,
        typer.Option("--queue", help="Callers that may wait for a free session.", min=0, show_default="64"),
    ] = None,
    production: Annotated[
        bool, typer.Option("--production", help="Tools over MCP only: no reset, step or state on any door.")
    ] = False,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option("--allowed-host", help="Further name the server is reached by; may be repeated."),
    ] = None,
    allowed_origin: Annotated[
        list[str] | None,
        typer.Option("--allowed-origin", help="Web page that may use the server; may be repeated."),
    ] = None,
    log_format: Annotated[
        LogFormat, typer.Option("--log-format", help="Log lines on stderr.")
    ] = LogFormat.TEXT,
    reload: Annotated[bool, typer.Option("--reload", help="Start again when a source file changes.")] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Serve beyond this machine without a token.")
    ] = False,
) -> None:
    """Serve an environment over WebSocket and HTTP until Ctrl-C."""
    if reload:
        _supervise(target, host, port)
        return
    from openenv.cli._serving import announce, application

    served = application(
        target,
        {
            "host": None if uds else host,
            "token": token,
            "max_sessions": max_sessions,
            "step_timeout_s": step_timeout,
            "lease_s": lease,
            "queue_size": queue,
            "mode": "production" if production else None,
            "allowed_hosts": tuple(allowed_host) if allowed_host else None,
            "allowed_origins": tuple(allowed_origin) if allowed_origin else None,
            "log_format": log_format.value if log_format else None,
            "insecure": insecure or None,
            "debug": debugging() or None,
        },
        execution.value,
    )
    from openenv.server.logs import configure_logging
    from openenv.server.run import serve

    settings = served.settings
    configure_logging(settings.log_format, settings.log_level, token=settings.token)
    serve(
        served.app,
        host=host,
        port=port,
        uds=str(uds) if uds else None,
        drain_s=settings.drain_s,
        # uvicorn's own "started", "shutting down" say less than the lines of this program.
        log_level="warning" if settings.log_level == "info" else settings.log_level,
        ready=lambda url: announce(served, url),
    )


def _supervise(target: str, host: str, port: int) -> None:
    """Serve in a child process; the port is chosen here, so that it stays the same."""
    from openenv.cli._reload import free_port, supervise, watched_folder

    words = [word for word in sys.argv[1:] if word != "--reload"]
    if port == 0:
        words += ["--port", str(free_port(host))]
    folder = watched_folder(target)
    note(paint(f"watching {folder}", "dim", stream=sys.stderr))
    raise typer.Exit(supervise(words, folder, note))
