"""From starting the server's process to the reply to a first step: CPU and wall time."""

from __future__ import annotations

import time
from typing import Any

from .context import Context, interleave, progress
from .servers import Kind, ours, published, spawn

KINDS = ("serve", "serve_fast", "stock")


def run(context: Context) -> dict[str, Any]:
    """Return ``{server: {cpu_ms, wall_ms}}``."""
    progress("cold start")
    kinds = [published(context.published_python), *(kind for kind in ours() if kind.name in KINDS)]
    if context.quick:
        kinds = kinds[:2]
    return interleave(kinds, context.pick(3, 1), _cold_start, lambda kind: kind.name)


def _cold_start(kind: Kind) -> dict[str, float]:
    server = spawn(kind, sessions=8)
    try:
        server.first_step()
        wall, cpu = time.perf_counter_ns() - server.started_ns, server.cpu_ns()
    finally:
        server.stop()
        server.log.unlink()
    return {"cpu_ms": cpu / 1e6, "wall_ms": wall / 1e6}
