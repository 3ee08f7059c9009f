"""Server CPU and latency per step at 1, 8, 64 and 512 sessions."""

from __future__ import annotations

import contextlib
from typing import Any

from .context import Context, interleave, progress
from .loadgen import measure
from .servers import Server, ours, published, running

SESSIONS = (1, 8, 64, 512)
QUICK = ("published", "serve", "serve_inline", "stock")


def run(context: Context) -> dict[str, Any]:
    """Return ``{sessions: {server: figures}}``; all servers stay up, one is loaded at a time."""
    kinds = [published(context.published_python), *ours()]
    if context.quick:
        kinds = [kind for kind in kinds if kind.name in QUICK]
    levels = context.pick(SESSIONS, (1, 64))
    results: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(running(kind, sessions=max(levels) + 8)) for kind in kinds]
        for level in levels:
            progress(f"steps: {level} sessions")
            results[str(level)] = interleave(
                [(server, True) for server in servers] + [(servers[0], False)] * (not context.quick),
                context.pick(5, 2),
                lambda item, level=level: _window(item[0], level, item[1], context),  # type: ignore[misc]
                lambda item: item[0].kind.name + ("" if item[1] else "_no_deflate"),
            )
    return results


def _window(server: Server, sessions: int, offer_deflate: bool, context: Context) -> dict[str, float]:
    load = measure(
        server.port,
        server.pid,
        sessions,
        offer_deflate=offer_deflate,
        seconds=context.pick(0.5, 0.4),
        warm_up_s=context.pick(0.3, 0.2) + sessions / 1000,
    )
    return {
        "cpu_us": load.cpu_us_per_step,
        "p50_us": load.p50_us,
        "p99_us": load.p99_us,
        "steps_per_s": load.steps / load.seconds,
        "compressed": float(load.compressed),
    }
