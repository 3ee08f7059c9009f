"""Sandboxes for the tests, on every backend that is present, each under bounds of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from openenv.sandbox import Limits, Sandbox, backends

CONFINING = ["namespaces", *(["bubblewrap"] if shutil.which("bwrap") else []), "confined"]
"""Backends that are present; those that need no further program always are."""
LIMITS = Limits(wall_s=30, memory_bytes=256 << 20, disk_bytes=16 << 20, processes=32)


@pytest.fixture(params=CONFINING)
def confining(request: pytest.FixtureRequest) -> str:
    """Every backend that confines."""
    return str(request.param)


@pytest.fixture(params=[*CONFINING, "subprocess"])
def backend(request: pytest.FixtureRequest) -> str:
    """Every backend."""
    return str(request.param)


@pytest.fixture
def sandbox(backend: str) -> Iterator[Sandbox]:
    """A sandbox of every backend."""
    with Sandbox.create(backend=backend, min_tier="0", limits=LIMITS) as made:
        yield made


@pytest.fixture
def strong() -> Iterator[Sandbox]:
    """A sandbox of the default backend."""
    with Sandbox.create(limits=LIMITS) as made:
        yield made


@pytest.fixture(scope="session", autouse=True)
def _no_parent_is_left() -> Iterator[None]:
    yield
    backends.close_all()
