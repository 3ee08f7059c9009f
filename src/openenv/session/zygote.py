"""The warm process from which the processes of sessions are forked.

It is forked itself as soon as the environment is loaded, before the server has threads, connections or an
event loop, and does nothing but fork, kill and wait. A session's process therefore starts in milliseconds,
with the environment's imports done and shared, and inherits no socket: every descriptor but the standard
ones and regular files is covered with the null device in the zygote.

It is also who may kill: a process that was not waited for keeps its number, so a signal sent from here never
meets a stranger. A session's process leads a group of its own, and what it started dies with it; its
temporary files have a folder of their own, which is removed. When the server goes, the control socket ends,
and the zygote clears up and goes too.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import random
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from typing import Any

from openenv.errors import InfrastructureError

AVAILABLE = sys.platform == "linux"
"""Whether this platform has what it takes."""

_PR_SET_PDEATHSIG = 1
_MESSAGE_BYTES = 4096
_ENDED_S = 2.0
_MEMORY = 4096
_SPECIAL = ("socket:", "pipe:", "anon_inode:")


class Zygote:
    """The server's handle on it.

    Args:
        main: what a session's process does with its connection to the server.
    """

    def __init__(self, main: Callable[[socket.socket], None]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self._control = ours
        self._asked = 0
        self._owner = os.getpid()
        with warnings.catch_warnings():
            # Newer Pythons warn of forking beside threads. Nothing of theirs is used in there.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:  # pragma: no cover - another process, which never comes back
            _become(theirs, main)
        theirs.close()
        self.pid = pid
        self._finalizer = weakref.finalize(self, _end, ours, pid, self._owner)

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._finalizer.alive and self._owner == os.getpid()

    def fork(self, connection: socket.socket, output: int) -> int:
        """Start the process of a session.

        Args:
            connection: its end of its connection to the server.
            output: descriptor that its standard output and error go to.

        Returns:
            Its process id, as the zygote knows it.

        Raises:
            InfrastructureError: the zygote is gone.
        """
        return int(self._ask({"do": "fork"}, [connection.fileno(), output])["pid"])

    def kill(self, pid: int) -> None:
        """Kill a session's process and what it started."""
        with contextlib.suppress(InfrastructureError):  # then it is dead already
            self._ask({"do": "kill", "pid": pid})

    def status(self, pid: int) -> int | None:
        """How a session's process ended, as `waitstatus_to_exitcode` says; it is killed if it did not."""
        with contextlib.suppress(InfrastructureError):
            status: int | None = self._ask({"do": "status", "pid": pid})["status"]
            return status
        return None

    def close(self) -> None:
        """End it, and every session's process with it."""
        self._finalizer()

    def _ask(self, message: dict[str, Any], files: list[int] | None = None) -> dict[str, Any]:
        with self._lock:
            number = self._asked = self._asked + 1
            try:
                socket.send_fds(
                    self._control, [json.dumps({**message, "number": number}).encode()], files or []
                )
                answer: dict[str, Any] = {"number": 0}
                # A deadline may have interrupted whoever asked before, and left the answer.
                while answer["number"] != number:
                    answer = json.loads(self._control.recv(_MESSAGE_BYTES))
            except (OSError, ValueError):
                raise InfrastructureError("The process that starts the sessions' processes is gone") from None
            return answer


def _end(control: socket.socket, pid: int, owner: int) -> None:
    control.close()
    if os.getpid() != owner:
        return
    deadline = time.monotonic() + _ENDED_S
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return
            time.sleep(0.005)


# In the zygote --------------------------------------------------------------------------------------------


def _become(control: socket.socket, main: Callable[[socket.socket], None]) -> None:  # pragma: no cover
    """Be the zygote; never returns."""
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        _cover_descriptors({0, 1, 2, control.fileno()})
        gc.freeze()
        _Nursery(control, main).run()
    finally:
        os._exit(0)


def _cover_descriptors(kept: set[int]) -> None:  # pragma: no cover
    """Put the null device in the place of every socket, pipe and the like.

    Closing them would free their numbers, and objects that still stand for them would later close what took
    their places.
    """
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        with contextlib.suppress(OSError):
            if number not in kept and os.readlink(f"/proc/self/fd/{name}").startswith(_SPECIAL):
                os.dup2(null, number, inheritable=False)


class _Nursery:  # pragma: no cover - it runs in the zygote only
    """Forks, kills and waits."""

    def __init__(self, control: socket.socket, main: Callable[[socket.socket], None]) -> None:
        self._control = control
        self._main = main
        self._children: dict[int, int] = {}  # process id -> descriptor that tells its end
        self._ended: dict[int, int] = {}
        self._folders: dict[int, str] = {}
        self._removers: dict[int, int] = {}

    def run(self) -> None:
        while True:
            watched: list[Any] = [self._control, *self._children.values(), *self._removers.values()]
            ready, _, _ = select.select(watched, [], [])
            for pid, descriptor in list(self._children.items()):
                if descriptor in ready:
                    self._reap(pid)
            for pid, descriptor in list(self._removers.items()):
                if descriptor in ready:
                    self._removed(pid)
            if self._control in ready and not self._obey():
                self._end()
                return

    def _end(self) -> None:
        for pid in list(self._children):
            self._kill(pid)
        while self._removers:
            self._removed(next(iter(self._removers)))

    def _obey(self) -> bool:
        try:
            data, files, _, _ = socket.recv_fds(self._control, _MESSAGE_BYTES, 2)
        except OSError:
            return False
        if not data:
            return False
        message = json.loads(data)
        if message["do"] == "fork":
            answer: dict[str, Any] = {"pid": self._fork(*files)}
        elif message["do"] == "kill":
            self._kill(message["pid"])
            answer = {"done": True}
        else:
            answer = {"status": self._status(message["pid"])}
        with contextlib.suppress(OSError):
            self._control.send(json.dumps({**answer, "number": message["number"]}).encode())
        return True

    def _fork(self, connection: int, output: int) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        folder = tempfile.mkdtemp(prefix="openenv-session-")
        pid = os.fork()
        if pid == 0:
            tempfile.tempdir = os.environ["TMPDIR"] = folder
            others = [*self._children.values(), *self._removers.values()]
            _be_session(self._control, others, connection, output, self._main)
        self._folders[pid] = folder
        os.close(connection)
        os.close(output)
        self._children[pid] = os.pidfd_open(pid)
        return pid

    def _status(self, pid: int) -> int | None:
        if pid in self._children:
            select.select([self._children[pid]], [], [], 0.5)
            self._kill(pid)
        return self._ended.get(pid)

    def _kill(self, pid: int) -> None:
        if pid in self._children:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            self._reap(pid)

    def _reap(self, pid: int) -> None:
        """Take note of an end. The group is killed before its leader's number is free again."""
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(self._children.pop(pid))
        self._ended[pid] = os.waitstatus_to_exitcode(status)
        while len(self._ended) > _MEMORY:
            del self._ended[next(iter(self._ended))]
        self._remove(self._folders.pop(pid))

    def _remove(self, folder: str) -> None:
        """Remove a session's temporary files, in a process that may take its time."""
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                self._control.close()
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os._exit(0)
        self._removers[pid] = os.pidfd_open(pid)
        self._folders[pid] = folder

    def _removed(self, pid: int) -> None:
        _, status = os.waitpid(pid, 0)
        os.close(self._removers.pop(pid))
        folder = self._folders.pop(pid)
        if status:  # somebody killed it
            self._remove(folder)


def _be_session(
    control: socket.socket,
    others: list[int],
    connection: int,
    output: int,
    main: Callable[[socket.socket], None],
) -> None:  # pragma: no cover - it runs in a session's process only
    """Be the process of a session; never returns."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.setsid()
        control.close()
        for descriptor in others:
            os.close(descriptor)
        for standard in (1, 2):
            os.dup2(output, standard)
        os.close(output)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_DFL)
        random.seed()
        numpy = sys.modules.get("numpy")
        if numpy is not None:
            numpy.random.seed()
        main(socket.socket(fileno=connection))
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(0)
