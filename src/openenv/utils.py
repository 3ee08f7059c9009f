"""Small helpers that published clients import."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

_WS_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


def convert_to_ws_url(url: str) -> str:
    """Give the WebSocket form of a server's address.

    `http` becomes `ws`, `https` becomes `wss`, an address without a scheme is taken as `ws`; a trailing
    slash goes.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme.lower() in _WS_SCHEMES:
        return f"{_WS_SCHEMES[scheme.lower()]}://{rest.rstrip('/')}"
    return f"ws://{url.rstrip('/')}"


def hf_space_subdomain(repo_id: str) -> str:
    """Give the host name under `hf.space` of the Space `owner/name`."""
    return re.sub(r"[^a-z0-9-]", "-", repo_id.lower())


def run_async_safely(coro: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end from synchronous code and return its result.

    With an event loop already running in this thread (a notebook), it runs on a loop of its own in
    another thread while this one waits.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coro)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="openenv-run") as pool:
        return pool.submit(asyncio.run, coro).result()
