"""What runs in the process of a session: the environment, called as the server asks.

Runs after the fork, in a process without threads or an event loop of its own.
"""

from __future__ import annotations

import asyncio
import builtins
import inspect
import socket
import traceback
from typing import Any

from openenv.environment import EnvironmentSpec, Episode, Transition
from openenv.environment.episode import ATTACHED
from openenv.errors import OpenEnvError
from openenv.protocol.mcp_types import ListToolsAction
from openenv.protocol.wire_errors import error_payload
from openenv.session.passing import Classes, dumps, loads, receive, send

_FIELDS = tuple(Transition.__dataclass_fields__)


def serve(connection: socket.socket, spec: EnvironmentSpec, classes: Classes) -> None:
    """Do what the server asks, until it is gone or has the environment closed.

    Args:
        connection: the connection to the server.
        spec: the environment.
        classes: the classes that both sides know.
    """
    guest = Guest(spec)
    try:
        _serve(connection, guest, classes)
    finally:
        guest.leave()


def _serve(connection: socket.socket, guest: Guest, classes: Classes) -> None:
    while not guest.closed:
        try:
            what, arguments = loads(receive(connection), classes, trusted=True)
        except EOFError:
            return
        try:
            answer = dumps(("value", getattr(guest, f"do_{what}")(*arguments)), classes)
        except BaseException as problem:  # Boundary: the environment's own code.
            answer = dumps(("raised", tell(problem)), classes)
        send(connection, answer)


class Guest:
    """The environment of one session.

    Args:
        spec: the environment.

    Attributes:
        closed: whether it is closed.
    """

    def __init__(self, spec: EnvironmentSpec) -> None:
        self._spec = spec
        self._env: Any = None
        self._episode: Episode | None = None
        self._last: tuple[Any, Any] = (None, None)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closed = False

    def _resolve(self, value: Any) -> Any:
        if not inspect.isawaitable(value):
            return value
        if self._loop is None:
            self._loop = asyncio.new_event_loop()

        async def wait() -> Any:
            return await value

        return self._loop.run_until_complete(wait())

    def leave(self) -> None:
        """Give the event loop up, if coroutines made one necessary."""
        if self._loop is not None:
            self._loop.close()

    def _begin(self, beginning: tuple[Any, ...] | None) -> None:
        if beginning is not None:
            name, seed, step, task, split = beginning
            self._episode = Episode(id=name, seed=seed, step=step, task=task, split=split)
            self._spec.begin(self._env, self._episode)

    def do_make(self) -> None:
        """Build the environment."""
        self._env = self._spec.make()

    def do_reset(self, beginning: Any, seed: Any, episode_id: Any, options: Any) -> tuple[Any, ...]:
        """Reset, and say what it came to."""
        self._begin(beginning)
        spec = self._spec
        raw = self._resolve(spec.call_reset(self._env, seed=seed, episode_id=episode_id, options=options))
        return _parts(self._resolve(spec.initial(self._env, raw)))

    def do_step(self, beginning: Any, step: int, action: Any, timeout_s: Any, extra: Any) -> Any:
        """Do an action; say at once what it came to, unless that depends on whether it was the last."""
        self._begin(beginning)
        if self._episode is not None:
            self._episode.step = step
        spec = self._spec
        raw = self._resolve(spec.call_step(self._env, action, timeout_s=timeout_s, extra=extra))
        if self._episode is not None:
            self._episode.step += 1
        self._last = action, raw
        if isinstance(action, ListToolsAction):
            return raw  # whoever asked for the tools may want to see them as they came
        if self._is_judged():
            return None
        return _parts(self._resolve(spec.transition(self._env, action, raw)))

    def _is_judged(self) -> bool:
        """Whether something looks at a step that could tell a last one from another."""
        part = self._env.__dict__.get(ATTACHED)
        own = (getattr(self._env, name, None) for name in ("rubric", "transform"))
        return bool(part is not None and part.transforms) or any(one is not None for one in own)

    def do_transition(self, limit: str | None) -> tuple[Any, ...]:
        """What the last step came to."""
        action, raw = self._last
        return _parts(self._resolve(self._spec.transition(self._env, action, raw, limit=limit)))

    def do_state(self) -> Any:
        """The public state."""
        return self._resolve(self._spec.read_state(self._env))

    def do_metadata(self) -> Any:
        """What the environment says of itself."""
        return self._spec.metadata(self._env)

    def do_attribute(self, name: str) -> tuple[str, Any]:
        """An attribute of the environment, or that it is a method."""
        if not hasattr(self._env, name):
            return "missing", None
        value = getattr(self._env, name)
        return ("method", None) if callable(value) else ("value", value)

    def do_method(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """Call a method of the environment."""
        return self._resolve(getattr(self._env, name)(*arguments))

    def do_close(self) -> None:
        """Close the environment, and end."""
        self.closed = True
        close = getattr(self._env, "close", None)
        if close is not None:
            self._resolve(close())


def _parts(transition: Transition) -> tuple[Any, ...]:
    return tuple(getattr(transition, name) for name in _FIELDS)


def tell(problem: BaseException) -> dict[str, Any]:
    """An exception in words that cross to the server."""
    if isinstance(problem, OpenEnvError):
        cause = problem.__cause__
        return {"payload": error_payload(problem), "cause": _described(cause) if cause else None}
    return _described(problem)


def _described(problem: BaseException) -> dict[str, Any]:
    standard = next(
        (cls for cls in type(problem).__mro__ if getattr(builtins, cls.__name__, None) is cls), None
    )
    return {
        "name": type(problem).__name__,
        "standard": standard.__name__ if standard else "Exception",
        "text": _text(problem),
        "traceback": "".join(traceback.format_exception(problem))[-8192:],
    }


def _text(problem: BaseException) -> str:
    try:
        return str(problem)
    except Exception:  # Boundary: an author's exception class.
        return type(problem).__name__
