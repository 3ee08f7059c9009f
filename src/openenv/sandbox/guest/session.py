"""The untrusted session: reads requests, runs cells, branches. Nothing it says is believed."""

from __future__ import annotations

import builtins
import gc
import os
import signal
import socket
import sys
import threading
from typing import Any

from . import kernel, landlock, wire
from .cells import Interpreter

_CHANNEL = 3


def main(channel: int, out: int, err: int) -> None:
    """Serve requests until the supervisor goes away; never returns."""
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    kernel.die_with_parent()
    null = os.open("/dev/null", os.O_RDONLY)
    settle({0: null, 1: out, 2: err, _CHANNEL: channel})
    os.closerange(_CHANNEL + 1, 1024)
    for number in (signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.SIG_IGN)
    gc.enable()
    _prepare()
    _Session(socket.socket(fileno=_CHANNEL)).serve()


def settle(wanted: dict[int, int]) -> None:
    """Move descriptors to fixed numbers; 0 to 2 are inherited by programs, the others are not."""
    high = {number: _above(descriptor) for number, descriptor in wanted.items()}
    for number, descriptor in high.items():
        os.dup2(descriptor, number, inheritable=number <= 2)
        os.close(descriptor)


def _above(descriptor: int) -> int:
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 64)


def _prepare() -> None:
    """What `site` gives an ordinary interpreter, and fresh random state."""
    import _sitebuiltins

    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))
    builtins.help = _sitebuiltins._Helper()
    sys.argv = [""]
    sys.path.insert(0, os.getcwd())
    sys.dont_write_bytecode = True
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


class _Session:
    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._interpreter = Interpreter()

    def serve(self) -> None:
        while True:
            frame = wire.receive(self._channel)
            if frame is None:
                os._exit(0)
            if frame.message["op"] == "fork":
                self._branch(frame)
            elif frame.message["op"] == "forget":
                self._interpreter.forget()
            else:
                self._run(frame)

    def _run(self, frame: wire.Frame) -> None:
        size = frame.message["code"]
        reply, images = self._interpreter.run(frame.payload[:size].decode(), frame.payload[size:])
        wire.send(self._channel, {"nonce": frame.message["nonce"], **reply}, images)

    def _branch(self, frame: wire.Frame) -> None:
        answer: dict[str, Any] = {"nonce": frame.message["nonce"]}
        threads = _threads()
        try:
            if threads > 1:
                raise OSError(f"{threads} threads are running; a fork would lose all but one")
            child = os.fork()
        except OSError as error:
            frame.close()
            wire.send(self._channel, {**answer, "refused": str(error)})
            return
        if child:
            frame.close()
            wire.send(self._channel, answer)
            return
        channel, out, err = frame.descriptors
        self._channel.close()
        settle({1: out, 2: err, _CHANNEL: channel})
        for descriptor in (channel, out, err):
            os.close(descriptor)
        self._channel = socket.socket(fileno=_CHANNEL)
        self._interpreter.after_fork()
        if frame.message["fence"]:
            landlock.restrict(read_only=["/"], writable=["/"])
        wire.send(self._channel, {"hello": 1})
        wire.receive(self._channel)
        wire.send(self._channel, {"hello": 2})


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return threading.active_count()
