"""`openenv serve`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from openenv.cli._errors import debugging
from openenv.cli._output import note, paint
from openenv.cli._targets import LocalTarget
from openenv.errors import UsageError


class Execution(StrEnum):
    """Where the environment's code runs."""

    AUTO = "auto"
    THREAD = "thread"
    SHARD = "shard"
    INLINE = "inline"
    PROCESS = "process"


class LogFormat(StrEnum):
    """Form of the log lines on stderr."""

    TEXT = "text"
    JSON = "json"


def _option(flag: str, what: str, *more: str, default: str | bool = False, **how: Any) -> Any:
    return typer.Option(flag, *more, help=what, show_default=default, **how)


Host = Annotated[str, _option("--host", "Address to bind.", default=True)]
Port = Annotated[
    int | None,
    _option(
        "--port",
        "Port to bind; 0 takes a free one.",
        "-p",
        default="8000, or the package's own",
        min=0,
        max=65535,
    ),
]
Uds = Annotated[Path | None, _option("--uds", "Bind a Unix socket at this path instead.")]
Token = Annotated[
    str | None,
    _option(
        "--token",
        "Bearer token that every caller must send. The variable keeps it out of process lists.",
        envvar="OPENENV_TOKEN",
    ),
]
MaxSessions = Annotated[
    int | None,
    _option("--max-sessions", "Environments alive at once.", default="the environment says", min=1),
]
Where = Annotated[
    Execution,
    _option(
        "--execution",
        "Where sessions run: own or shared threads, the loop, own processes.",
        default=True,
    ),
]
StepTimeout = Annotated[
    float | None, _option("--step-timeout", "Deadline of calls that name none, in seconds.")
]
Lease = Annotated[
    float | None,
    _option("--lease", "Seconds after which a session that nobody holds or calls is closed.", default="600"),
]
Queue = Annotated[
    int | None, _option("--queue", "Callers that may wait for a free session.", default="64", min=0)
]
Production = Annotated[
    bool, _option("--production", "Tools over MCP only: no reset, step or state on any door.")
]
AllowedHost = Annotated[
    list[str] | None, _option("--allowed-host", "Further name the server is reached by; may be repeated.")
]
AllowedOrigin = Annotated[
    list[str] | None, _option("--allowed-origin", "Web page that may use the server; may be repeated.")
]
Logs = Annotated[LogFormat | None, _option("--log-format", "Form of the lines on stderr.", default="text")]
Workers = Annotated[
    int, _option("--workers", "Processes that serve; SIGHUP replaces them one by one.", default=True, min=1)
]
RestartGrace = Annotated[
    float,
    _option(
        "--restart-grace",
        "Seconds that sessions have to end when their worker is replaced.",
        default=True,
        min=0,
    ),
]
Reload = Annotated[bool, _option("--reload", "Start again when a source file changes.")]
ListenFd = Annotated[
    int | None, typer.Option("--listen-fd", hidden=True, help="Socket that `--reload` listens on.")
]
Insecure = Annotated[bool, _option("--insecure", "Serve beyond this machine without a token.")]


def command(
    target: LocalTarget,
    host: Host = "127.0.0.1",
    port: Port = None,
    uds: Uds = None,
    token: Token = None,
    max_sessions: MaxSessions = None,
    execution: Where = Execution.AUTO,
    step_timeout: StepTimeout = None,
    lease: Lease = None,
    queue: Queue = None,
    production: Production = False,
    allowed_host: AllowedHost = None,
    allowed_origin: AllowedOrigin = None,
    log_format: Logs = None,
    reload: Reload = False,
    insecure: Insecure = False,
    listen_fd: ListenFd = None,
    workers: Workers = 1,
    restart_grace: RestartGrace = 60.0,
) -> None:
    """Serve an environment over WebSocket and HTTP until Ctrl-C."""
    if reload and workers > 1:
        raise UsageError("--reload starts one process again: leave out --workers, or send it SIGHUP instead")
    if port is None:
        port = _usual_port(target)
    if reload:
        _supervise(target, host, port, uds)
    settings = {
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
    }
    if workers > 1:
        from openenv.cli._crew import supervise

        where = {"host": host, "port": port, "uds": str(uds) if uds else None}
        raise typer.Exit(supervise(workers, target, settings, execution.value, restart_grace, **where))
    from openenv.cli._serving import application, run

    run(application(target, settings, execution.value), host=host, port=port, uds=uds, fd=listen_fd)


def _usual_port(target: str) -> int:
    """The port that the manifest of a published package asks for, else 8000."""
    from openenv.catalog.manifest import is_package_folder, read_manifest

    folder = Path(target).expanduser()
    return read_manifest(folder).port if is_package_folder(folder) else 8000


def _supervise(target: str, host: str, port: int, uds: Path | None) -> None:
    """Serve in child processes that share one listening socket: the address is ours from start to end."""
    from openenv.cli._reload import supervise, watched_folder
    from openenv.server.ports import listen_tcp, listen_unix

    words = [word for word in sys.argv[1:] if word != "--reload"]
    folder = watched_folder(target)
    listener = listen_tcp(host, port) if uds is None else listen_unix(str(uds))
    note(paint(f"watching {folder}", "dim", stream=sys.stderr))
    try:
        with listener:
            raise typer.Exit(supervise(words, folder, listener.fileno(), note))
    finally:
        if uds is not None:
            uds.unlink(missing_ok=True)
