"""Pools: many sessions of one environment, driven together, here or on servers.

`make_pool` (synchronous) and `connect_pool` (asynchronous) make one. The rules (`slots`) stand once, over a
`Backend`: sessions in this process (`inline`), in worker processes (`local`), or on servers (`remote`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openenv.pool.async_pool import AsyncPool
    from openenv.pool.calls import AutoReset, PoolResult, PoolStatistics, Ready
    from openenv.pool.making import connect_pool, make_pool
    from openenv.pool.pool import Pool

__all__ = [
    "AsyncPool",
    "AutoReset",
    "Pool",
    "PoolResult",
    "PoolStatistics",
    "Ready",
    "connect_pool",
    "make_pool",
]

_HOMES = {
    "AsyncPool": "async_pool",
    "AutoReset": "calls",
    "Pool": "pool",
    "PoolResult": "calls",
    "PoolStatistics": "calls",
    "Ready": "calls",
    "connect_pool": "making",
    "make_pool": "making",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
