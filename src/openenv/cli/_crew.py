"""`openenv serve --workers N`: this process supervises, and loads neither the environment nor the server."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping
from typing import Any

from openenv.cli._serving import announce, application, quieter
from openenv.errors import UsageError


def supervise(
    workers: int, target: str, options: Mapping[str, Any], execution: str, grace_s: float, **where: Any
) -> int:
    """Serve a TARGET with several processes until SIGTERM or Ctrl-C.

    Args:
        workers: how many.
        target: whatever `openenv serve` takes.
        options: fields of `ServerSettings`; None leaves them to the environment variables.
        execution: where sessions run.
        grace_s: seconds that sessions have to end when their worker is replaced.
        where: `host` and `port`, or `uds`.

    Returns:
        The exit status.

    Raises:
        UsageError: a setting makes no sense, the address cannot be bound, or this is not Linux.
    """
    from openenv.server.logs import configure_logging
    from openenv.server.security import check_exposure
    from openenv.server.settings import ServerSettings
    from openenv.workers.supervisor import Supervisor, WorkerSettings

    if sys.platform != "linux":
        raise UsageError("--workers hands sockets from process to process as only Linux does it.")
    settings = ServerSettings.from_environment(**options)
    check_exposure(settings)
    configure_logging(settings.log_format, settings.log_level, token=settings.token)
    server_id = secrets.token_hex(4)
    crew = WorkerSettings(
        workers=workers,
        command=[sys.executable, "-m", "openenv.cli._crew"],
        config={
            "server_id": server_id,
            "target": target,
            "options": dict(options),
            "execution": execution,
            "path": sys.path,
        },
        cookie=f"openenv_{server_id}",
        drain_s=settings.drain_s,
        restart_grace_s=grace_s,
        **where,
    )
    return Supervisor(crew, lambda url, told: announce(told["name"], url, settings)).run()


def work(descriptor: int) -> int:
    """Be a worker.

    Args:
        descriptor: our end of the channel to the supervisor.

    Returns:
        The exit status.
    """
    from openenv.cli._errors import report
    from openenv.workers.worker import receive_config

    channel, config = receive_config(descriptor)
    sys.path[:] = config["path"]
    try:
        _serve(channel, config)
    except Exception as error:  # Boundary: it becomes a message and an exit status, as in the command itself.
        return int(report(error))
    return 0


def _serve(channel: Any, config: dict[str, Any]) -> None:
    from openenv.server.logs import configure_logging
    from openenv.server.run import RunSettings
    from openenv.workers.worker import Introduction, WorkerServer

    options = {
        name: tuple(value) if isinstance(value, list) else value for name, value in config["options"].items()
    }
    served = application(config["target"], options, config["execution"])
    settings = served.settings
    configure_logging(settings.log_format, settings.log_level, token=settings.token)
    if getattr(getattr(served.app, "state", None), "openenv", None) is None:
        raise UsageError(f"{served.name} is an application that create_app did not make: it has one process")
    run = RunSettings(
        drain_s=settings.drain_s,
        head_timeout_s=settings.head_timeout_s,
        log_level=quieter(settings.log_level),
    )
    introduction = Introduction(served.name, settings.production, settings.insecure, bool(settings.token))
    WorkerServer(served.app, channel, config, run, introduction).run()


if __name__ == "__main__":
    raise SystemExit(work(int(sys.argv[1])))
