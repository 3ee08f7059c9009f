"""What it means when a server cannot be reached, or answers something other than a WebSocket."""

from __future__ import annotations

import json
from collections.abc import Mapping

from openenv.client.address import TOKEN_VARIABLE, Address
from openenv.errors import (
    AuthenticationError,
    OpenEnvError,
    ServerUnreachableError,
    SessionCapacityError,
)

_MAX_DETAIL = 300


def unreachable(address: Address, problem: BaseException) -> ServerUnreachableError:
    """The error for a connection that could not be made."""
    said = str(problem) or type(problem).__name__
    if isinstance(problem, TimeoutError):
        said = "no answer in time"
    serve = "openenv serve TARGET"
    if address.unix is not None:
        serve += f" --uds {address.unix}"
    elif address.is_local and address.port != 8000:
        serve += f" --port {address.port}"
    hint = f" Is the server running? Start one with: {serve}" if address.is_local else ""
    return ServerUnreachableError(f"Nothing answers at {address.url}: {said}.{hint}")


def refusal(address: Address, status: int, headers: Mapping[str, str], body: bytes = b"") -> OpenEnvError:
    """The error for an HTTP answer that is not the one hoped for.

    Args:
        address: the server.
        status: HTTP status; 0 for something that is not HTTP.
        headers: its headers, lower-case names.
        body: as much of its body as came.
    """
    detail = _detail(body)
    said = f": {detail}" if detail else ""
    if status in (401, 403):
        return AuthenticationError(
            f"{address.url} refused the client (HTTP {status}{said}). "
            f"Pass token=... or set ${TOKEN_VARIABLE}; headers={{...}} for other schemes."
        )
    if status in (429, 503):
        retry_after = _seconds(headers.get("retry-after", ""))
        text = f"{address.url} has no room now (HTTP {status}{said}); retry after {retry_after:g} s"
        return SessionCapacityError(0, 0, text, retry_after=retry_after)
    if status in (404, 405, 426):
        return ServerUnreachableError(
            f"{address.url} answers, but not as an OpenEnv server (HTTP {status}{said}). Check the path."
        )
    if status == 0:
        return ServerUnreachableError(f"{address.url} answers something that is not HTTP{said}")
    location = headers.get("location")
    where = f" to {location}" if location else ""
    return ServerUnreachableError(f"{address.url} answered HTTP {status}{where}{said}")


def _detail(body: bytes) -> str:
    text = body.decode("utf-8", "replace").strip()
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return "" if text.startswith("<") else " ".join(text.split())[:_MAX_DETAIL]
    if isinstance(document, dict):
        document = document.get("detail") or document.get("message") or document
    return str(document)[:_MAX_DETAIL]


def _seconds(value: str) -> float:
    try:
        return max(0.0, float(value))
    except ValueError:
        return 1.0
