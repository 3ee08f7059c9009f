"""One command in a sandbox: started and reported by the init, its output bounded here."""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import TYPE_CHECKING, Any

from openenv.errors import SandboxGoneError

from .outputs import Output
from .results import RunResult, Status, Trusted

if TYPE_CHECKING:
    from .sandbox import Sandbox

_TICK_S = 0.05
_DETAILS = {
    Status.TIMEOUT: "its time was up; it was killed with everything that it started",
    Status.OUTPUT: "it flooded its output and was killed",
    Status.MEMORY: "the memory limit was passed; everything inside was killed",
    Status.PROCESSES: "too many processes; everything inside was killed",
    Status.KILLED: "it died of a signal",
}


class _Feed:
    """The writing end of the command's standard input."""

    def __init__(self, data: bytes, poll: select.poll) -> None:
        self.theirs, self.ours = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.ours, False)
        self._rest = memoryview(data)
        self._poll = poll
        self._open = True
        poll.register(self.ours, select.POLLOUT)

    def push(self) -> None:
        try:
            while self._rest:
                self._rest = self._rest[os.write(self.ours, self._rest) :]
        except BlockingIOError:
            return
        except OSError:
            self._rest = self._rest[len(self._rest) :]
        self.close()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._poll.unregister(self.ours)
            os.close(self.ours)


def run_command(sandbox: Sandbox, facts: dict[str, Any], stdin: bytes, timeout_s: float) -> RunResult:
    """Run a command; see `Sandbox.run`."""
    poll = select.poll()
    output = Output(sandbox.limits.output_bytes)
    feed = _Feed(stdin, poll)
    started = time.monotonic()
    try:
        passed = [feed.theirs, output.theirs_out, output.theirs_err]
        try:
            pid = sandbox.control.ask("spawn", descriptors=passed, **facts).message["pid"]
        finally:
            output.give_away()
            os.close(feed.theirs)
        status = _follow(sandbox, pid, output, feed, poll, started + timeout_s)
        return _conclude(sandbox, pid, output, status, started)
    finally:
        feed.close()
        output.close()


def _follow(
    sandbox: Sandbox, pid: int, output: Output, feed: _Feed, poll: select.poll, deadline: float
) -> Status | None:
    """Move bytes until the command ends; why it has to be stopped, if it has to."""
    control = sandbox.control
    for descriptor in (output.out, output.err, control.fileno()):
        poll.register(descriptor, select.POLLIN)
    ticked = time.monotonic()
    while pid not in control.exits:
        now = time.monotonic()
        if now >= deadline:
            return Status.TIMEOUT
        if output.flooded:
            return Status.OUTPUT
        if now - ticked >= _TICK_S:
            ticked = now
            control.tell("tick")
        for descriptor, _ in poll.poll(min(_TICK_S, deadline - now) * 1000):
            if descriptor == feed.ours:
                feed.push()
            elif descriptor == control.fileno():
                control.listen()
            elif not output.drain(descriptor, 16):
                with contextlib.suppress(KeyError):
                    poll.unregister(descriptor)
        if control.gone:
            raise SandboxGoneError("the sandbox died while the command ran")
    return None


def _conclude(sandbox: Sandbox, pid: int, output: Output, status: Status | None, started: float) -> RunResult:
    control = sandbox.control
    if status is not None:
        control.tell("stop", pid=pid)
    ended = control.wait_exit(pid, 10.0)
    if control.gone or ended is None:
        sandbox.kill()
        raise SandboxGoneError("the sandbox died while the command ran")
    output.drain_both()
    code = os.waitstatus_to_exitcode(ended.status)
    if status is None:
        status = Status.OK if code == 0 else Status.ERROR if code > 0 else Status.KILLED
        if code != 0 and control.limit is not None:
            status, control.limit = Status(control.limit), None
        elif code != 0 and sandbox.ran_out_of_memory():
            status = Status.MEMORY
    out, err = output.bytes()
    trusted = Trusted(time.monotonic() - started, ended.cpu_s, ended.memory_bytes, ended.status)
    return RunResult(status, trusted, out, err, output.dropped, _DETAILS.get(status, ""))
