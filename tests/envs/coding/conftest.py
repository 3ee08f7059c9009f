"""Bounds for the tests' sandboxes, and the end of what they leave."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from openenv.envs.coding.workspace import Confinement
from openenv.sandbox import Limits, backends

CONFINEMENT = Confinement(limits=Limits(wall_s=30, memory_bytes=256 << 20, disk_bytes=16 << 20, processes=32))


@pytest.fixture
def confinement() -> Confinement:
    """How the tests' sandboxes are made."""
    return CONFINEMENT


@pytest.fixture(scope="session", autouse=True)
def _no_parent_is_left() -> Iterator[None]:
    yield
    backends.close_all()
