"""Random kills leave nothing; the long form is `scripts/kills`."""

from __future__ import annotations

from pathlib import Path

import pytest

from .kills import run


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_fifty_kills_leave_nothing(tmp_path: Path) -> None:
    killed = run(tmp_path, seed=20261122, kills=49)
    assert killed.total() >= 50
    assert {"client", "worker", "session", "supervisor"} <= set(killed)
