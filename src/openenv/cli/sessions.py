"""`openenv sessions`."""

from __future__ import annotations

import http.client
import json
import socket
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import typer

from openenv.cli._output import paint, printable, say, say_json, table
from openenv.cli._targets import AsJson, Token
from openenv.errors import (
    AuthenticationError,
    OpenEnvError,
    ServerUnreachableError,
    SessionNotFoundError,
    UsageError,
)

_TIMEOUT_S = 30.0
_PATH = "/admin/sessions"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Action(StrEnum):
    """What to do."""

    LIST = "list"
    SHOW = "show"
    KILL = "kill"


def command(
    action: Annotated[Action, typer.Argument(help="list all, show one, or kill one.")],
    url: Annotated[
        str,
        typer.Argument(metavar="URL", help="http://HOST:PORT or unix:PATH.", show_default=False),
    ],
    session: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="The session, as `list` calls it.", show_default=False),
    ] = None,
    token: Token = None,
    full: Annotated[bool, typer.Option("--full", help="Whole ids: they let anybody attach.")] = False,
    as_json: AsJson = False,
) -> None:
    """List, inspect or end the sessions of a server that has a token, or of one on a Unix socket."""
    if (session is None) is not (action is Action.LIST):
        raise UsageError(f"sessions {action}: expected {'no ID' if action is Action.LIST else 'an ID'}")
    path = _PATH if session is None else f"{_PATH}/{quote(session, safe='')}"
    answer = _ask(
        url, "DELETE" if action is Action.KILL else "GET", path + ("?full=1" if full else ""), token
    )
    if as_json:
        say_json(answer)
    elif action is Action.LIST:
        _print_list(answer)
    elif action is Action.SHOW:
        for name, value in answer.items():
            say(f"{paint(f'{name:<13}', 'dim')}{printable(_text(value))}")
    else:
        say(f"killed {answer['session']} (step {answer['steps']})")


def _print_list(answer: dict[str, Any]) -> None:
    columns = ("session", "door", "phase", "episodes", "steps", "age_s", "idle_s", "attached", "pending")
    rows = [[printable(_text(one[name])) for name in columns] for one in answer["sessions"]]
    headers = [name.removesuffix("_s").upper() for name in columns]
    say(table(headers, rows, right=range(3, len(columns))))
    silent = answer.get("silent", 0)
    say(
        f"{len(rows)} of {answer['max_sessions']} slots of {printable(answer['environment'])}"
        + (f"; {silent} workers did not answer" if silent else "")
    )


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1f}"
    return value if isinstance(value, str) else json.dumps(value)


def _ask(url: str, method: str, path: str, token: str | None) -> dict[str, Any]:
    """Put a question to the server.

    Raises:
        OpenEnvError: it cannot be reached, does not allow it, or knows no such session.
    """
    connection = _connection(url)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
        response = connection.getresponse()
        raw = response.read()
    except (OSError, http.client.HTTPException) as problem:
        raise ServerUnreachableError(f"No answer from {url}: {problem}") from problem
    finally:
        connection.close()
    try:
        body = json.loads(raw)
    except ValueError:
        body = {}
    if response.status == 200 and isinstance(body, dict):
        return body
    detail = str(body.get("detail") if isinstance(body, dict) else "") or f"HTTP {response.status}"
    if response.status in (401, 403):
        raise AuthenticationError(detail)
    if response.status == 404 and path != _PATH:
        raise SessionNotFoundError(path, detail)
    if response.status == 410:
        raise SessionNotFoundError(path, detail)
    raise OpenEnvError(f"{url}{path} answered {response.status}: {detail}")


def _connection(url: str) -> http.client.HTTPConnection:
    if url.startswith("unix:"):
        return _UnixConnection(url.removeprefix("unix:"))
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise UsageError(f"{url!r} is no server's URL: expected http://HOST:PORT or unix:PATH")
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return make(parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme], timeout=_TIMEOUT_S)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
