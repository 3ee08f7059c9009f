"""The doors of an environment: WebSocket, HTTP and MCP, over one `ServerRuntime`.

`create_app` is what published packages call, `make_app` serves everything else; `serve` and
`BackgroundServer` run an application. Each name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openenv.server.app import HTTPEnvServer, create_app, create_fastapi_app, make_app
    from openenv.server.run import BackgroundServer, serve, serve_async
    from openenv.server.runtime import ServerRuntime
    from openenv.server.settings import ServerSettings

__all__ = [
    "BackgroundServer",
    "HTTPEnvServer",
    "ServerRuntime",
    "ServerSettings",
    "create_app",
    "create_fastapi_app",
    "make_app",
    "serve",
    "serve_async",
]

_HOMES = {
    "BackgroundServer": "run",
    "HTTPEnvServer": "app",
    "ServerRuntime": "runtime",
    "ServerSettings": "settings",
    "create_app": "app",
    "create_fastapi_app": "app",
    "make_app": "app",
    "serve": "run",
    "serve_async": "run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
