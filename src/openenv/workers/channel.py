"""Messages between the supervisor and a worker: JSON, with open files beside them.

The channel is a socket that keeps messages apart (`SOCK_SEQPACKET`), so one message is one system call, and
the end of the other process is the end of the stream. Sending never blocks: what does not fit waits here
until the socket is writable.
"""

from __future__ import annotations

import array
import contextlib
import json
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

_MAX_BYTES = 1 << 17
_MAX_FILES = 4
_FILE_BYTES = array.array("i").itemsize

Message = dict[str, Any]


class Closed(Exception):
    """The other end is gone."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Channel:
    """One end of a channel.

    Args:
        sock: the end.

    Attributes:
        sock: the end.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)
        self._waiting: deque[tuple[bytes, list[socket.socket]]] = deque()

    @property
    def waiting(self) -> int:
        """Messages that the other end has not taken yet."""
        return len(self._waiting)

    def fileno(self) -> int:
        """The descriptor, for whoever waits for it."""
        return self.sock.fileno()

    def send(self, message: Mapping[str, Any], files: Sequence[socket.socket] = ()) -> None:
        """Send a message; the files are handed over and closed here.

        Raises:
            Closed: the other end is gone.
        """
        self._waiting.append((json.dumps(message).encode(), list(files)))
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as it fits.

        Raises:
            Closed: the other end is gone.
        """
        while self._waiting:
            data, files = self._waiting[0]
            numbers = array.array("i", [one.fileno() for one in files])
            beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)] if files else []
            try:
                self.sock.sendmsg([data], beside, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                raise Closed from None
            self._waiting.popleft()
            for one in files:
                one.close()

    def receive(self) -> tuple[Message, list[socket.socket]] | None:
        """The next message and the files beside it; None if none is there yet.

        Raises:
            Closed: the other end is gone.
        """
        room = socket.CMSG_SPACE(_MAX_FILES * _FILE_BYTES)
        try:
            data, beside, _, _ = self.sock.recvmsg(_MAX_BYTES, room, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except OSError:
            raise Closed from None
        files = [socket.socket(fileno=number) for number in _numbers(beside)]
        if not data:
            raise Closed
        message: Message = json.loads(data)
        return message, files

    def close(self) -> None:
        """Close this end, and the files that nobody takes any more."""
        for _, files in self._waiting:
            for one in files:
                one.close()
        self._waiting.clear()
        with contextlib.suppress(OSError):
            self.sock.close()


def _numbers(beside: Sequence[tuple[int, int, bytes]]) -> list[int]:
    numbers = array.array("i")
    for level, kind, data in beside:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(data[: len(data) - len(data) % _FILE_BYTES])
    return list(numbers)
