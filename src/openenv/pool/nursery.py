"""The nursery: a clean process that has the environment imported and forks workers from there.

The program that makes a pool may have threads, CUDA contexts and locks that no fork survives. So it starts
one fresh interpreter, the nursery, which imports the environment once, stays single-threaded, and forks a
worker in milliseconds whenever asked. If importing the environment started threads, each worker is a fresh
interpreter instead. When the pool's process ends, however it ends, the nursery's socket closes: it ends
every worker with all that the worker started, then itself. The kernel does the same to workers whose
nursery is killed.
"""

from __future__ import annotations

import gc
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import msgspec

from openenv.errors import OpenEnvError
from openenv.pool.channel import Channel
from openenv.pool.portable import Portable, import_target
from openenv.pool.worker import Worker, become_worker
from openenv.protocol.wire_errors import error_payload

if TYPE_CHECKING:
    from openenv.environment import EnvironmentSpec

GRACE_S = 2.0
"""How long workers may close their environments after their pool is gone."""
_BLAS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Nursery:
    """Forks workers on request, and ends them all."""

    def __init__(self, channel: Channel, order: Portable) -> None:
        self._channel = channel
        self._order = order
        self._parent = _watch(os.getppid())
        self._poll = select.poll()
        for descriptor in (channel.link.fileno(), self._parent):
            if descriptor is not None:
                self._poll.register(descriptor, select.POLLIN)
        self._alive: set[int] = set()
        self._ended: dict[int, int] = {}

    def serve(self) -> None:
        """Import the environment, then do what is asked until the pool is gone."""
        try:
            spec = import_target(self._order)
        except OpenEnvError as error:
            self._say({"error": error_payload(error)})
            return
        forks = len(os.listdir("/proc/self/task")) == 1
        if forks:
            gc.collect()
            gc.freeze()  # what is there now stays shared with the workers
        self._say({"pid": os.getpid(), "forks": forks})
        try:
            while frame := self._next():
                request = msgspec.msgpack.decode(frame)
                if request["do"] == "start":
                    link = self._channel.descriptors.popleft()
                    pid = self._fork(spec, link, request["slots"]) if forks else self._spawn(link, frame)
                    self._say({"pid": pid})
                    os.close(link)
                else:
                    self._say({"ended": self._ended_how(request["pid"], kill=request["kill"])})
        except OSError:
            pass  # the pool is gone
        finally:
            self._end_all()

    def _next(self) -> bytes | None:
        """The next request; None once the pool's process is gone.

        The socket alone does not tell: a process forked from the pool's may hold the other end.
        """
        self._poll.poll()
        if self._parent is not None and _has_ended(self._parent):
            return None
        return self._channel.recv()

    def _say(self, answer: dict[str, Any]) -> None:
        self._channel.send(msgspec.msgpack.encode(answer))

    def _fork(self, spec: EnvironmentSpec, link: int, slots: list[int]) -> int:
        me = os.getpid()
        pid = os.fork()
        if pid:
            self._alive.add(pid)
            return pid
        code = 1
        try:
            self._channel.link.close()
            become_worker(me)
            work(link, spec, self._order, slots)
            code = 0
        except BaseException:  # Boundary: a forked process must never return into its parent's code.
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _spawn(self, link: int, request: bytes) -> int:
        """Start a worker as a fresh interpreter: the import of the environment left threads behind."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            worker = subprocess.Popen(  # noqa: S603 - our own interpreter
                interpreter("spawned", theirs.fileno(), link, os.getpid()),
                pass_fds=(theirs.fileno(), link),
                stdin=subprocess.DEVNULL,
            )
            first = Channel(ours)
            first.send(pickle.dumps(self._order))
            first.send(request)
        worker.returncode = 0  # reaped by `_ended_how`, not by subprocess
        self._alive.add(worker.pid)
        return worker.pid

    def _ended_how(self, pid: int, *, kill: bool) -> int | None:
        """How a worker ended, as `os.waitstatus_to_exitcode` says it; None if that is not known."""
        if pid not in self._alive:
            return self._ended.pop(pid, None)
        if kill:
            self._signal(pid, signal.SIGKILL)
        deadline = time.monotonic() + 1.0
        while True:
            if self._reap(pid):
                self._signal(pid, signal.SIGKILL)  # what it started
                return self._ended.pop(pid)
            if time.monotonic() > deadline:
                return None
            time.sleep(0.002)

    def _reap(self, pid: int) -> bool:
        found, status = os.waitpid(pid, os.WNOHANG)
        if not found:
            return False
        self._alive.discard(pid)
        self._ended[pid] = os.waitstatus_to_exitcode(status)
        return True

    def _end_all(self) -> None:
        groups = set(self._alive)
        deadline = time.monotonic() + GRACE_S
        while self._alive and time.monotonic() < deadline:
            for pid in list(self._alive):
                self._reap(pid)
            time.sleep(0.005)
        for pid in groups:
            self._signal(pid, signal.SIGKILL)

    def _signal(self, pid: int, number: int) -> None:
        """Signal a worker and everything it has started that stayed in its group."""
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            return
        except PermissionError:
            os.kill(pid, number)


def _watch(pid: int) -> int | None:
    """A descriptor that is readable once a process has ended; None where the kernel has none."""
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):
        return None


def _has_ended(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def work(link: int, spec: EnvironmentSpec, order: Portable, slots: list[int]) -> None:
    """Be a worker until the pool is gone."""
    with socket.socket(fileno=link) as end:
        Worker(end, spec, order.host, order.limits).serve(slots)


def interpreter(role: str, *arguments: int) -> list[str]:
    """The command of a fresh interpreter that finds modules where this one does."""
    numbers = ", ".join(map(str, arguments))
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; from openenv.pool.nursery import {role}; {role}({numbers})"
    )
    return [sys.executable, "-c", program]


def main(descriptor: int) -> None:
    """Be a nursery; called in a fresh interpreter."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in _BLAS:
        # Workers share the cores already; and a pool of threads would forbid forking.
        os.environ.setdefault(name, "1")
    with socket.socket(fileno=descriptor) as link:
        channel = Channel(link)
        order = channel.recv()
        if order is not None:
            Nursery(channel, pickle.loads(order)).serve()  # noqa: S301 - written by our own parent


def spawned(descriptor: int, link: int, parent: int) -> None:
    """Be a worker; called in a fresh interpreter."""
    become_worker(parent)
    with socket.socket(fileno=descriptor) as first:
        channel = Channel(first)
        order, request = channel.recv(), channel.recv()
    if order is not None and request is not None:
        portable: Portable = pickle.loads(order)  # noqa: S301 - written by our own parent
        work(link, import_target(portable), portable, msgspec.msgpack.decode(request)["slots"])
