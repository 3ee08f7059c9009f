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
    # Allocators move by up to 1 MiB without any leak; one forgotten dict a cycle would be more than 2.
    assert growth.uss_kib < 2048, growth
