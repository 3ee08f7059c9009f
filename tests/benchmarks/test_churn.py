"""Ten thousand sessions leave nothing behind in a server."""

from __future__ import annotations

import pytest
from benchmarks.churn import churn
from benchmarks.servers import Kind, ours

KINDS = {kind.name: kind for kind in ours()}


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ["serve_thread", "serve_inline", "stock"])
def test_ten_thousand_cycles_leak_nothing(name: str) -> None:
    kind: Kind = KINDS[name]
    growth = churn(kind, 10_000)
    assert growth.descriptors <= 0, growth
    assert growth.threads <= 0, growth
    # 100 bytes a cycle would be 1 MiB; allocators and their arenas move by less than this without any leak.
    assert growth.uss_kib < 1024, growth
