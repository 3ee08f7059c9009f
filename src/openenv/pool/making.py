"""`make_pool` and `connect_pool`: from a target, or several servers, to a pool."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from openenv.catalog.urls import RemoteTarget, is_url
from openenv.errors import ConcurrencyConfigurationError, UsageError
from openenv.pool.calls import AutoReset, Backend

if TYPE_CHECKING:
    from openenv.pool.async_pool import AsyncPool
    from openenv.pool.pool import Pool
    from openenv.session import Limits

SHARED_MEMORY_MIB = 512
"""How much shared memory the workers of a pool may have for arrays, unless told otherwise."""
AutoResetName = Literal["disabled", "next-step", "same-step"]


def make_pool(
    target: Any,
    *,
    n: int,
    workers: int | None = None,
    host: Literal["inline", "thread"] | None = None,
    timeout_s: float | None = None,
    limits: Limits | None = None,
    auto_reset: AutoReset | AutoResetName = "disabled",
    max_in_flight: int | None = None,
    shared_memory_mib: int = SHARED_MEMORY_MIB,
    **options: Any,
) -> Pool:
    """Make a pool of sessions, driven by synchronous code.

    Args:
        target: what `openenv.make` takes, or a list of URLs of servers of the same environment.
        n: how many sessions.
        workers: processes that run them; one per core if absent. 0 runs them in this process.
        host: `inline` steps the sessions of a worker one after another; `thread` gives each a thread of its
            own, for environments that wait, and for deadlines. None leaves it to the environment.
        timeout_s: deadline of every reset and step, in seconds.
        limits: further bounds of episodes and calls.
        auto_reset: what happens when an episode ended: `disabled`, `next-step` or `same-step`, or a member of
            Gymnasium's `AutoresetMode`.
        max_in_flight: how many calls may run at once; all if absent.
        shared_memory_mib: how much shared memory the workers may have for arrays; what does not fit is
            copied.
        **options: for servers: those of `openenv.client.Env.remote`, and `capacity_timeout_s`, how long a
            slot waits for a session of a full server.

    Raises:
        TargetError: the target leads to no environment.
        UsageError: an option makes no sense, or does not apply to this target.
        ConcurrencyConfigurationError: fewer workers than sessions of an environment whose instances may
            not share a process.
        LaunchError: the workers do not start.
    """
    from openenv.pool.pool import Pool

    start = _plan(target, n, workers, host, timeout_s, limits, shared_memory_mib, options)
    backend = start()
    try:
        return Pool(backend, n, auto_reset=_policy(auto_reset), max_in_flight=max_in_flight)
    except BaseException:
        backend.close()
        raise


def connect_pool(
    target: Any,
    *,
    n: int,
    workers: int | None = None,
    host: Literal["inline", "thread"] | None = None,
    timeout_s: float | None = None,
    limits: Limits | None = None,
    auto_reset: AutoReset | AutoResetName = "disabled",
    max_in_flight: int | None = None,
    shared_memory_mib: int = SHARED_MEMORY_MIB,
    **options: Any,
) -> AsyncPool:
    """Make a pool of sessions for coroutines: ``async with openenv.connect_pool(TARGET, n=8) as pool``.

    The arguments are those of `make_pool`. Nothing is started before `async with` or `await`; what
    `make_pool` raises when it starts something is raised there.
    """
    from openenv.pool.async_pool import AsyncPool

    start = _plan(target, n, workers, host, timeout_s, limits, shared_memory_mib, options)
    return AsyncPool(start, n, auto_reset=_policy(auto_reset), max_in_flight=max_in_flight)


def _policy(name: object) -> AutoReset:
    try:
        return AutoReset(name)  # type: ignore[arg-type]  # `_missing_` takes anything
    except ValueError:
        known = ", ".join(repr(str(policy)) for policy in AutoReset)
        raise UsageError(f"auto_reset: expected one of {known}, got {name!r}") from None


def _plan(
    target: Any,
    n: int,
    workers: int | None,
    host: Literal["inline", "thread"] | None,
    timeout_s: float | None,
    limits: Limits | None,
    shared_memory_mib: int,
    options: dict[str, Any],
) -> Callable[[], Backend]:
    """Check what was asked; return what starts it."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise UsageError(f"n: expected a number of sessions above 0, got {n!r}")
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 0):
        raise UsageError(f"workers: expected a number of processes, or 0 for this one, got {workers!r}")
    if shared_memory_mib < 0:
        raise UsageError(f"shared_memory_mib: expected 0 or more, got {shared_memory_mib!r}")
    urls = _urls(target)
    if urls is not None:
        if workers is not None or host is not None or limits is not None:
            raise UsageError(
                "workers, host and limits belong to sessions on this machine; a server has its own"
            )
        return _remote_plan(urls, n, timeout_s, options)
    if options:
        raise UsageError(f"{', '.join(sorted(options))}: options of a connection, and {target!r} is no URL")
    return _local_plan(target, n, workers, host, timeout_s, limits, shared_memory_mib)


def _urls(target: Any) -> list[str] | None:
    """The servers that a target names, None if it names none."""
    if isinstance(target, RemoteTarget):
        return [target.url]
    if isinstance(target, str):
        return [target.strip()] if is_url(target.strip()) else None
    if isinstance(target, Sequence):
        several = [url for entry in target for url in (_urls(entry) or [""])]
        if not several or "" in several:
            raise UsageError("a list of targets is a list of URLs of servers")
        return several
    return None


def _local_plan(
    target: Any,
    n: int,
    workers: int | None,
    host: Literal["inline", "thread"] | None,
    timeout_s: float | None,
    limits: Limits | None,
    shared_memory_mib: int,
) -> Callable[[], Backend]:
    from openenv.catalog.targets import resolve_spec
    from openenv.client.embedded import with_deadline
    from openenv.pool.seats import seat_kind

    spec = resolve_spec(target)
    limits = with_deadline(limits, timeout_s)
    seat_kind(spec, host, limits)
    if workers is None:
        workers = min(n, os.cpu_count() or 1) if spec.concurrent else n
    workers = min(workers, n)
    if not spec.concurrent and max(workers, 1) < n:
        raise ConcurrencyConfigurationError(
            spec.name,
            n,
            f"Environment '{spec.name}' is not marked as SUPPORTS_CONCURRENT_SESSIONS, so each of its {n} "
            f"sessions needs a process of its own: leave workers out, or give workers={n}",
        )
    if workers == 0:
        from openenv.pool.inline import InlineBackend

        return lambda: InlineBackend(spec, n, host=host, limits=limits)
    from openenv.pool.local import LocalBackend
    from openenv.pool.portable import portable

    order = portable(target, spec, host=host, limits=limits)
    memory = shared_memory_mib << 20
    return lambda: LocalBackend(spec, order, n, workers=workers, shared_bytes=memory)


def _remote_plan(
    urls: list[str], n: int, timeout_s: float | None, options: dict[str, Any]
) -> Callable[[], Backend]:
    from openenv.pool.remote import RemotePoolBackend

    return RemotePoolBackend.plan(urls, n, timeout_s, options)
