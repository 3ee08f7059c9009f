"""Memory of the server per session that is open, reset and idle."""

from __future__ import annotations

from typing import Any

from .context import Context, interleave, progress
from .loadgen import STEP, check_observation, open_session
from .process import settled_footprint
from .servers import Kind, ours, published, running

KINDS = ("serve", "serve_inline", "stock")
WARM = 16
"""Sessions opened and closed before the base is read, so that lazily built things are in it."""


def run(context: Context) -> dict[str, Any]:
    """Return ``{server: {kib_per_session, base_mib, threads}}``."""
    sessions = context.pick(1000, 200)
    progress(f"idle memory: {sessions} sessions")
    kinds = [published(context.published_python), *(kind for kind in ours() if kind.name in KINDS)]
    return interleave(kinds, 1, lambda kind: _idle(kind, sessions), lambda kind: kind.name)


def _idle(kind: Kind, sessions: int) -> dict[str, float]:
    with running(kind, sessions=sessions + WARM) as server:
        _open_and_close(server.port)
        base = settled_footprint(server.pid)
        opened = [open_session(server.port, offer_deflate=True) for _ in range(sessions)]
        for session in opened:
            check_observation(session.call(STEP))
        full = settled_footprint(server.pid)
        for session in opened:
            session.close()
    return {
        "kib_per_session": (full.uss_kib - base.uss_kib) / sessions,
        "base_mib": base.uss_kib / 1024,
        "threads": float(full.threads),
    }


def _open_and_close(port: int) -> None:
    for session in [open_session(port, offer_deflate=True) for _ in range(WARM)]:
        check_observation(session.call(STEP))
        session.close()
