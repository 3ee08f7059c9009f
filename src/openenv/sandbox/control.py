"""The supervisor's side of an init's channel: questions, answers and events. The init is trusted."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from openenv.errors import SandboxError, SandboxGoneError

from .guest import wire


@dataclass(frozen=True)
class Exit:
    """What the kernel told the init about a process that ended.

    Attributes:
        status: wait status.
        cpu_s: CPU seconds, with everything it waited for.
        memory_bytes: peak of resident memory.
    """

    status: int
    cpu_s: float
    memory_bytes: int


@dataclass
class Control:
    """One init's channel.

    Attributes:
        channel: its socket.
        exits: processes that ended and were not asked for yet.
        limit: the limit that made the init kill everything, None if it has not.
        gone: the init is dead.
    """

    channel: socket.socket
    exits: dict[int, Exit] = field(default_factory=dict)
    limit: str | None = None
    gone: bool = False
    _number: int = 0

    def __post_init__(self) -> None:
        self._poll = select.poll()
        self._poll.register(self.channel, select.POLLIN)

    def fileno(self) -> int:
        """For `poll`."""
        return self.channel.fileno()

    def tell(self, operation: str, **facts: Any) -> None:
        """Say something that is not answered."""
        with contextlib.suppress(OSError):
            wire.send(self.channel, {"op": operation, **facts})

    def ask(
        self,
        operation: str,
        *,
        timeout_s: float = 30.0,
        payload: bytes = b"",
        descriptors: Sequence[int] = (),
        **facts: Any,
    ) -> wire.Frame:
        """Ask, and wait for the answer; events that come before it are kept.

        Raises:
            SandboxGoneError: the init is dead.
            SandboxError: no answer in time, or the init could not do it; `data` says why.
        """
        self._number += 1
        number = self._number
        try:
            wire.send(self.channel, {"op": operation, "re": number, **facts}, payload, descriptors)
        except OSError as error:
            self.gone = True
            raise SandboxGoneError("the sandbox is gone") from error
        deadline = time.monotonic() + timeout_s
        while True:
            if not self._readable(deadline - time.monotonic()):
                raise SandboxError(f"the sandbox did not answer '{operation}' within {timeout_s:g} s")
            frame = self._receive()
            if frame is None:
                raise SandboxGoneError("the sandbox is gone")
            if frame.message.get("re") != number:
                continue
            if "failed" in frame.message:
                facts = {"failed": frame.message["failed"]}
                raise SandboxError(str(frame.message["text"]), data=facts)
            return frame

    def listen(self) -> None:
        """Take in the events that have arrived."""
        while not self.gone and self._readable(0):
            self._receive()

    def wait_exit(self, pid: int, seconds: float) -> Exit | None:
        """The end of a process, None if it does not come in time."""
        deadline = time.monotonic() + seconds
        while pid not in self.exits and not self.gone:
            if not self._readable(deadline - time.monotonic()):
                return None
            self._receive()
        return self.exits.pop(pid, None)

    def _readable(self, seconds: float) -> bool:
        return bool(self._poll.poll(max(0.0, seconds) * 1000))

    def _receive(self) -> wire.Frame | None:
        """The next frame; an event is noted down, and returned too."""
        try:
            frame = wire.receive(self.channel)
        except (OSError, wire.WireError):
            frame = None
        if frame is None:
            self.gone = True
            return None
        message = frame.message
        if message.get("event") == "exit":
            self.exits[message["pid"]] = Exit(message["status"], message["cpu"], message["memory"])
        elif message.get("event") == "limit":
            self.limit = message["limit"]
        return frame
