"""The pool's side of its nursery: starts it, asks it for workers, and ends it."""

from __future__ import annotations

import contextlib
import pickle
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from openenv.errors import LaunchError
from openenv.pool.channel import Channel
from openenv.protocol.wire_errors import error_from_payload

if TYPE_CHECKING:
    from openenv.pool.portable import Portable

ANSWER_S = 10.0
"""How long the nursery may take to start a worker."""
IMPORT_S = 300.0
"""How long an environment may take to import."""
END_S = 10.0


class Workshop:
    """A nursery, started when it is first needed and again if it died.

    Args:
        order: what workers must know.
    """

    def __init__(self, order: Portable) -> None:
        self._order = order
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None

    def start(self, link: int, slots: list[int]) -> int:
        """Start a worker.

        Args:
            link: its end of a socket.
            slots: the slots it has.

        Returns:
            Its process id.

        Raises:
            LaunchError: it does not start.
            TargetError: the environment does not import.
        """
        answer = self._ask({"do": "start", "slots": slots}, (link,))
        if answer is None:
            self.close()
            answer = self._ask({"do": "start", "slots": slots}, (link,))
        if answer is None:
            raise LaunchError("the process that starts workers ended, twice in a row")
        return int(answer["pid"])

    def ended(self, pid: int, *, kill: bool) -> int | None:
        """How a worker ended; None if nobody knows.

        Args:
            pid: the worker.
            kill: whether to end it now.
        """
        if self._channel is None:
            return None
        answer = self._ask({"do": "end", "pid": pid, "kill": kill}, ())
        if answer is None:
            self.close()
            return None
        ended: int | None = answer["ended"]
        return ended

    def close(self) -> None:
        """End the nursery and, with it, every worker."""
        channel, self._channel = self._channel, None
        process, self._process = self._process, None
        if channel is not None:
            channel.link.close()
        if process is not None:
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _ask(self, request: dict[str, Any], descriptors: tuple[int, ...]) -> dict[str, Any] | None:
        """Ask the nursery; None if it is gone."""
        channel = self._channel or self._open()
        try:
            channel.send(msgspec.msgpack.encode(request), descriptors)
            frame = channel.recv()
        except OSError:
            return None
        answer: dict[str, Any] | None = None if frame is None else msgspec.msgpack.decode(frame)
        return answer

    def _open(self) -> Channel:
        from openenv.pool.nursery import interpreter

        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                    interpreter("main", theirs.fileno()),
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                )
            except OSError as problem:
                ours.close()
                raise LaunchError(f"{sys.executable} does not start: {problem}") from problem
        channel = self._channel = Channel(ours)
        ours.settimeout(IMPORT_S)
        with contextlib.suppress(OSError):
            channel.send(pickle.dumps(self._order))
            frame = channel.recv()
            if frame is not None:
                answer = msgspec.msgpack.decode(frame)
                ours.settimeout(ANSWER_S)
                if "error" not in answer:
                    return channel
                self.close()
                raise error_from_payload(answer["error"])
        self.close()
        raise LaunchError("the process that imports the environment for the workers ended; see its output")
