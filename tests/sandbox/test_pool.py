"""Sandboxes made ahead."""

from __future__ import annotations

import time

import pytest

from openenv.errors import SandboxError, SandboxOptionError
from openenv.sandbox import Limits, SandboxPool


def wait_ready(pool: SandboxPool, count: int) -> bool:
    deadline = time.monotonic() + 20
    while pool.ready < count and time.monotonic() < deadline:
        time.sleep(0.01)
    return pool.ready == count


def test_every_sandbox_is_used_once_and_replaced() -> None:
    with SandboxPool(3, limits=Limits(wall_s=30)) as pool:
        assert wait_ready(pool, 3)
        first, second = pool.acquire(), pool.acquire()
        assert first is not second
        first.exec("x = 1")
        assert second.exec("('x' in globals(), '_' in globals())").value == "(False, False)"
        error = second.exec("1 / 0").error
        assert error is not None
        assert '"<cell 2>"' in error.traceback  # the cell that warmed it up is forgotten
        assert first.limits.wall_s == 30
        assert wait_ready(pool, 3)
        first.kill()
    assert second.exec("2").value == "2"
    second.kill()
    with pytest.raises(SandboxError, match="closed"):
        pool.acquire()


def test_more_than_are_ready_are_made_on_the_spot_and_dead_ones_are_left_out() -> None:
    with SandboxPool(2) as pool:
        assert wait_ready(pool, 2)
        for waiting in pool._ready:
            waiting.kill()
        taken = [pool.acquire() for _ in range(5)]
        assert all(sandbox.exec("1").ok for sandbox in taken)
        for sandbox in taken:
            sandbox.kill()


def test_a_pool_of_none_makes_no_sense() -> None:
    with pytest.raises(SandboxOptionError, match="size"):
        SandboxPool(0)
