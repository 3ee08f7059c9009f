"""`make`: one call for an environment in this process or on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from openenv.catalog.urls import RemoteTarget, is_url
from openenv.errors import UsageError

if TYPE_CHECKING:
    from openenv.client import Env
    from openenv.session import Limits


def make(
    target: Any,
    *,
    host: Literal["inline", "thread"] | None = None,
    timeout_s: float | None = None,
    limits: Limits | None = None,
    token: str | None = None,
    **options: Any,
) -> Env[Any, Any, Any]:
    """Make an environment ready to be reset and stepped.

    Args:
        target: ``path/file.py[:Class]``, ``module[:Class]``, the name of a shipped environment, the folder
            of a published package, the URL of a server, an `Environment` class, or a function that makes
            instances.
        host: where it runs in this process: ``inline`` on the caller's thread, ``thread`` on one of its own;
            None leaves it to the environment and its deadlines.
        timeout_s: deadline of every reset and step, in seconds.
        limits: further bounds of episodes and calls, in this process.
        token: bearer token of a server; `OPENENV_TOKEN` if absent.
        **options: further options of `openenv.client.Env.remote`, for a server.

    Raises:
        TargetError: the target leads to no environment.
        EnvironmentFactoryError: the environment's constructor raised.
        UsageError: an option does not apply to this target.
    """
    from openenv.client import Env

    if isinstance(target, RemoteTarget):
        target = target.url
    if isinstance(target, str) and is_url(target.strip()):
        if host is not None or limits is not None:
            raise UsageError("host and limits belong to environments in this process; the server has its own")
        return Env[Any, Any, Any].remote(target.strip(), token=token, timeout_s=timeout_s, **options)
    if options:
        raise UsageError(f"{', '.join(sorted(options))}: options of a connection, and {target!r} is no URL")
    from openenv.catalog.targets import resolve_spec

    return Env[Any, Any, Any].embedded(resolve_spec(target), host=host, timeout_s=timeout_s, limits=limits)
