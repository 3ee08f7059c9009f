"""What the server reads of an ASGI scope."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]


def path_of(scope: Scope) -> str:
    """The path below the place where the application is mounted."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path[len(root) :] if root and path.startswith(root + "/") else path


def headers_of(scope: Scope) -> dict[str, str]:
    """Headers by lower-case name; repeated ones are joined as HTTP says."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope.get("headers", ()):
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name in headers:
            value = f"{headers[name]}{'; ' if name == 'cookie' else ', '}{value}"
        headers[name] = value
    return headers


def query_of(scope: Scope) -> str:
    """The query string."""
    return str(scope.get("query_string", b"").decode("latin-1"))


def client_of(scope: Scope) -> tuple[str, int] | None:
    """Address and port of the peer, if they are known."""
    client = scope.get("client")
    return (str(client[0]), int(client[1] or 0)) if client else None
