"""`openenv serve`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from openenv.cli._targets import Target


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
    target: Target,
    host: Annotated[str, typer.Option("--host", help="Address to bind.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", "-p", help="Port to bind; 0 takes a free one.", min=0)
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
            help="Bearer token that every caller must send; the variable keeps it out of process lists.",
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
