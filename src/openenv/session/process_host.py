"""Host `process`: every session's environment in a process of its own.

For environments that keep state in their modules, that are bound to their process, or that may crash: they
are served concurrently all the same, a deadline kills the process, and a crash ends one episode.

The session itself, with all its rules, stays in the server, on a thread that waits for its process. What
crosses is what the rules ask of the environment (`EnvironmentSpec`): make, reset, step, state. `ProcessSpec`
asks it of the process, where `openenv.session.process_guest` calls the environment.
"""

from __future__ import annotations

import builtins
import contextlib
import logging
import os
import pickle
import selectors
import signal
import socket
import threading
from dataclasses import fields
from typing import Any

from openenv.environment import EnvironmentSpec, Episode, Transition
from openenv.errors import EnvironmentCrashedError, EnvironmentFactoryError, InfrastructureError
from openenv.protocol.wire_errors import error_from_payload
from openenv.session import process_guest
from openenv.session.hosts import ThreadHost
from openenv.session.passing import Classes, dumps, loads, receive, send
from openenv.session.quarantine import Quarantine
from openenv.session.zygote import Zygote

logger = logging.getLogger("openenv.session")

_LINE_BYTES = 4096
_PLACE = "_process_place"


class ProcessPlace:
    """Where the processes of an environment's sessions come from; one for each spec.

    Args:
        spec: the environment.
    """

    def __init__(self, spec: EnvironmentSpec) -> None:
        self.spec = spec
        self.output = _Output()
        self._lock = threading.Lock()
        self._warm()

    @classmethod
    def of(cls, spec: EnvironmentSpec) -> ProcessPlace:
        """The place for an environment, warm from now on."""
        place: ProcessPlace | None = spec.__dict__.get(_PLACE)
        if place is None or not place.zygote.alive:
            place = cls(spec)
            object.__setattr__(spec, _PLACE, place)  # so that they live and die together
        return place

    def fork(self, connection: socket.socket, output: int) -> tuple[Zygote, int]:
        """Start the process of a session; returns who started it, and its process id.

        Raises:
            InfrastructureError: processes cannot be started.
        """
        zygote = self.zygote
        try:
            return zygote, zygote.fork(connection, output)
        except InfrastructureError:
            with self._lock:
                if zygote is self.zygote:
                    logger.error("The process that starts sessions' processes is gone: starting another")
                    zygote.close()
                    self._warm()
            return self.zygote, self.zygote.fork(connection, output)

    def _warm(self) -> None:
        self.classes = classes = Classes()
        spec = self.spec
        self.zygote = Zygote(lambda connection: process_guest.serve(connection, spec, classes))


class ProcessEnvironment:
    """An environment in another process: what a session holds in the place of the environment.

    Args:
        place: where the process comes from.
        session: what the session is called in logs.
    """

    def __init__(self, place: ProcessPlace, session: str) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._over = False
        ours, theirs = socket.socketpair()
        self._connection = ours
        hear, speak = os.pipe()
        try:
            self._zygote, self._pid = place.fork(theirs, speak)
        except InfrastructureError:
            ours.close()
            os.close(hear)
            raise
        finally:
            theirs.close()
            os.close(speak)
        place.output.follow(hear, session)

    def ask(self, what: str, *arguments: Any) -> Any:
        """Have the process do something and return what it says.

        Raises:
            EnvironmentCrashedError: it ended.
            Exception: what the environment raised, under the same name.
        """
        place = self._place
        try:
            send(self._connection, dumps((what, arguments), place.classes))
            answer = loads(receive(self._connection), place.classes, trusted=False)
            kind, value = answer
        except (EOFError, OSError):
            raise self._crashed() from None
        except (pickle.UnpicklingError, TypeError, ValueError) as problem:
            self.kill()
            self._connection.close()
            raise EnvironmentCrashedError(
                f"The environment's process sent what is no answer, and was killed: {problem}"
            ) from problem
        if kind == "value":
            return value
        raise _raised(value)

    def _crashed(self) -> EnvironmentCrashedError:
        status = self._zygote.status(self._pid)
        self.kill()
        self._connection.close()
        return EnvironmentCrashedError(
            f"The environment's process {_how(status)} in the middle of the episode, which is lost; "
            "reset() starts another process"
        )

    def kill(self) -> None:
        """End the process and what it started, whatever it is doing. Whoever waits for it is told."""
        with self._lock:
            over, self._over = self._over, True
        if not over:
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
            self._zygote.kill(self._pid)

    def close(self) -> None:
        """Close the environment and end its process."""
        if not self._over:
            with contextlib.suppress(EnvironmentCrashedError):
                self.ask("close")
        self.kill()
        self._connection.close()

    def __getattr__(self, name: str) -> Any:
        """What the environment has by that name; its methods run in its process."""
        if name.startswith("_"):
            raise AttributeError(name)
        kind, value = self.ask("attribute", name)
        if kind == "method":
            return lambda *arguments: self.ask("method", name, arguments)
        if kind == "missing":
            raise AttributeError(name)
        return value


class ProcessSpec(EnvironmentSpec):
    """An environment whose instances live in processes of their own.

    Args:
        host: the host of the session that it is for.
    """

    host_of_session: ProcessHost

    @classmethod
    def on(cls, host: ProcessHost) -> ProcessSpec:
        """The spec for one session."""
        base = host.place.spec
        values = {field.name: getattr(base, field.name) for field in fields(EnvironmentSpec)}
        # The guest awaits what has to be awaited.
        spec = cls(**{**values, "is_async": False, "async_reset": False, "async_step": False})
        object.__setattr__(spec, "host_of_session", host)
        return spec

    def make(self) -> Any:
        """Start a process and build an instance in it."""
        host = self.host_of_session
        env = ProcessEnvironment(host.place, host.session)
        host.environment = env
        try:
            env.ask("make")
        except BaseException as problem:
            env.close()
            if isinstance(problem, EnvironmentCrashedError):
                raise EnvironmentFactoryError(self.name, problem.message) from problem
            raise
        return env

    def begin(self, env: Any, episode: Episode) -> None:
        """Remember the episode; the process hears of it with the next call."""
        self.host_of_session.episode = episode
        self.host_of_session.begun = False

    def _beginning(self) -> tuple[Any, ...] | None:
        host, episode = self.host_of_session, self.host_of_session.episode
        if host.begun or episode is None:
            return None
        host.begun = True
        return episode.id, episode.seed, episode.step, episode.task, episode.split

    def call_reset(self, env: Any, *, seed: Any = None, episode_id: Any = None, options: Any = None) -> Any:
        """Reset it there."""
        return env.ask("reset", self._beginning(), seed, episode_id, dict(options or {}))

    def initial(self, env: Any, raw: Any) -> Transition:
        """What the reset came to."""
        return Transition(*raw)

    def call_step(self, env: Any, action: Any, *, timeout_s: Any = None, extra: Any = None) -> Any:
        """Do an action there."""
        episode = self.host_of_session.episode
        step = episode.step if episode is not None else 0
        return env.ask("step", self._beginning(), step, action, timeout_s, dict(extra or {}))

    def transition(self, env: Any, action: Any, raw: Any, *, limit: str | None = None) -> Transition:
        """What the step came to; scored there, once it is known whether it was the last."""
        if type(raw) is not tuple:
            return Transition(*env.ask("transition", limit))
        found = Transition(*raw)
        if limit is not None and not found.done:
            found.cut(limit)
        return found

    def read_state(self, env: Any) -> Any:
        """The public state."""
        return env.ask("state")

    def metadata(self, env: Any = None) -> Any:
        """What the environment says of itself."""
        return self.host_of_session.place.spec.metadata() if env is None else env.ask("metadata")


class ProcessHost(ThreadHost):
    """A thread that waits for a session's process.

    Args:
        place: where processes come from.
        session: id of the session.
        quarantine: where abandoned threads are counted.

    Attributes:
        spec: the environment as the session sees it.
        environment: the session's process.
        episode: the session's episode.
        begun: whether the process knows of it.
    """

    def __init__(self, place: ProcessPlace, session: str, quarantine: Quarantine) -> None:
        self.place = place
        self.session = session[:8]
        self.environment: ProcessEnvironment | None = None
        self.episode: Episode | None = None
        self.begun = False
        self.spec = ProcessSpec.on(self)
        super().__init__(f"openenv-{self.session}", quarantine)

    def abandon(self) -> None:
        """Kill the process, whose thread then comes back at once, and go on in a new thread."""
        self._kill()
        super().abandon()

    def stop(self) -> None:
        """End the process, if it did not end with its environment, and the thread."""
        self._kill()
        super().stop()

    def _kill(self) -> None:
        if self.environment is not None:
            self.environment.kill()


def _raised(told: Any) -> BaseException:
    """The exception that the process tells of."""
    if "payload" in told:
        error = error_from_payload(told["payload"])
        cause = told.get("cause")
        if cause is not None:
            error.__cause__ = _alike(cause)
        return error
    return _alike(told)


def _alike(told: Any) -> Exception:
    """An exception like the one that was raised: its name, its text, a standard class below it."""
    name, text = str(told["name"]), str(told["text"])
    standard = getattr(builtins, str(told["standard"]), None)
    base: Any = standard if isinstance(standard, type) and issubclass(standard, Exception) else Exception
    if issubclass(base, UnicodeError):  # they insist on arguments of their own
        base = ValueError
    cls = type(name, (base,), {"__str__": lambda self: text, "__module__": "the environment's process"})
    error: Exception = cls(text)
    error.add_note(str(told["traceback"]))
    return error


def _how(status: int | None) -> str:
    if status is None or status == -signal.SIGKILL:
        return "was killed"
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-status).name}"
        return f"was killed by signal {-status}"
    return f"exited with status {status}"


class _Output:
    """Reads what sessions' processes print, and logs it. One thread for all."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._following = 0

    def follow(self, descriptor: int, session: str) -> None:
        """Log what comes out of a pipe, until its end."""
        os.set_blocking(descriptor, False)
        with self._lock:
            self._selector.register(descriptor, selectors.EVENT_READ, _Lines(session))
            self._following += 1
            if self._following == 1:
                threading.Thread(target=self._run, name="openenv-output", daemon=True).start()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select(1.0):
                if not key.data.read(key.fd):
                    with self._lock:
                        self._selector.unregister(key.fd)
                        os.close(key.fd)
                        self._following -= 1
            with self._lock:
                if not self._following:
                    return


class _Lines:
    """The lines of one session's process."""

    def __init__(self, session: str) -> None:
        self._session = session
        self._begun = b""

    def read(self, descriptor: int) -> bool:
        """Log what is there; False at the end."""
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return True
        *lines, self._begun = (self._begun + data).split(b"\n")
        if not data or len(self._begun) > _LINE_BYTES:
            lines, self._begun = [*lines, self._begun], b""
        for line in lines:
            if line.strip():
                text = line[:_LINE_BYTES].decode(errors="replace").rstrip()
                logger.info("session %s prints: %s", self._session, text)
        return bool(data)
