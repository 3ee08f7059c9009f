"""Wait for a server that was just started."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from openenv.errors import LaunchTimeoutError

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5


def free_port() -> int:
    """Give a TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_healthy(base_url: str, timeout_s: float, check_alive: Callable[[], None]) -> None:
    """Poll `GET /health` until it answers 200.

    Args:
        base_url: address of the server.
        timeout_s: how long to wait, in seconds.
        check_alive: called between attempts; raises if the server is gone, which ends the wait.

    Raises:
        LaunchTimeoutError: the server did not answer in time.
    """
    deadline = time.monotonic() + timeout_s
    pause = _FIRST_PAUSE_S
    while True:
        problem = _ask(base_url, max(0.05, deadline - time.monotonic()))
        if problem is None:
            return
        check_alive()
        if time.monotonic() + pause > deadline:
            raise LaunchTimeoutError(f"{base_url} did not become ready within {timeout_s:g} s: {problem}")
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _ask(base_url: str, timeout_s: float) -> str | None:
    """What is wrong with the server's `/health`; None if nothing is."""
    url = urlsplit(base_url)
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    connection = kind(url.hostname or "127.0.0.1", url.port, timeout=min(timeout_s, 5.0))
    try:
        connection.request("GET", f"{url.path.rstrip('/')}/health")
        status = connection.getresponse().status
    except (OSError, HTTPException) as problem:
        return str(problem) or type(problem).__name__
    finally:
        connection.close()
    return None if status == 200 else f"/health answers {status}"
