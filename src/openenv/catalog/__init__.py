"""From a name to an environment: targets, published packages, shipped environments, `make`.

Names are imported when they are first used: a client that is given a URL loads no loader.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openenv.catalog.making import make
    from openenv.catalog.published import PublishedApp, load_published
    from openenv.catalog.shipped import ShippedEnvironment, shipped_names
    from openenv.catalog.targets import resolve, resolve_spec
    from openenv.catalog.urls import RemoteTarget

__all__ = [
    "PublishedApp",
    "RemoteTarget",
    "ShippedEnvironment",
    "load_published",
    "make",
    "resolve",
    "resolve_spec",
    "shipped_names",
]

_HOMES = {
    "PublishedApp": "published",
    "RemoteTarget": "urls",
    "ShippedEnvironment": "shipped",
    "load_published": "published",
    "make": "making",
    "resolve": "targets",
    "resolve_spec": "targets",
    "shipped_names": "shipped",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
