"""A stateful Python interpreter inside a sandbox, driven cell by cell. All that it says is untrusted.

Every request carries a fresh random word that the answer must repeat; a frame that nobody asked for, before
a request or after an answer, means that code inside writes on the channel, and ends the session.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import socket
import struct
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from openenv.errors import BranchRefusedError, SandboxGoneError

from .guest import wire
from .outputs import Output, interleaved
from .reader import Reader
from .results import CellError, ExecResult, Image, Status, Trusted

if TYPE_CHECKING:
    from .sandbox import Sandbox

_GRACE_S = 0.25
"""Between the interrupt and the kill of a cell whose time is up."""
_TICK_S = 0.05
_MAX_REPLY, _MAX_IMAGES = 2 << 20, 24 << 20


class PythonSession:
    """One interpreter; `Sandbox.session` is the first, `fork` makes more.

    Attributes:
        sandbox: where it runs.
        alive: whether it can run a cell. A session that was killed is brought back by `reset`.
    """

    def __init__(self, sandbox: Sandbox, *, branch: bool = False) -> None:
        self.sandbox = sandbox
        self.alive = False
        self._branch = branch
        self._pid = 0
        self._watch = -1
        self._clock = 0
        self._statm = -1
        self._channel: socket.socket | None = None
        self._output = Output(0)
        self._output.give_away()

    def exec(self, code: str, *, stdin: str | bytes = b"", timeout_s: float | None = None) -> ExecResult:
        """Run one cell.

        Args:
            code: any Python; `await` is allowed at the top level.
            stdin: what `input()` and programs that the cell starts read.
            timeout_s: seconds of wall time, by default the sandbox's `Limits.wall_s`. The cell is interrupted
                first (the session survives if it gives way), then everything inside is killed.

        Raises:
            SandboxGoneError: the session is dead; `reset` it.
        """
        with self.sandbox.lock:
            return self._exec(code, stdin, self.sandbox.limits.wall_s if timeout_s is None else timeout_s)

    def reset(self) -> None:
        """A fresh interpreter in an empty work folder: everything inside is killed and removed first.

        Raises:
            SandboxGoneError: the sandbox is dead.
        """
        self.sandbox.reset()

    def fork(self, count: int = 1) -> list[PythonSession]:
        """Branches: copies of this interpreter with all its objects, which go their own ways from here.

        Memory is shared until written to. Files are shared: branches see one work folder. Threads, child
        processes and a running event loop are not copied.

        Raises:
            BranchRefusedError: the session has threads, or the process limit is reached.
            SandboxGoneError: the session is dead.
        """
        with self.sandbox.lock:
            return [self._fork() for _ in range(count)]

    def close(self) -> None:
        """End this session; the sandbox stays."""
        with self.sandbox.lock:
            self._lose()

    def warm_up(self) -> None:
        """Run cells that do nothing and forget them: the first copy the pages that all later ones use.

        Raises:
            SandboxGoneError: the session is dead.
        """
        for _ in range(3):
            self.exec("1")
        with self.sandbox.lock, contextlib.suppress(OSError):
            wire.send(self._need(), {"op": "forget"})

    # ------------------------------------------------------------------ life

    def attach(self, channel: socket.socket, output: Output, pid: int, watch: int) -> None:
        """Take over a running interpreter (called by the sandbox)."""
        self._lose()
        self._output.close()
        self._channel, self._output, self._pid, self._watch = channel, output, pid, watch
        self._reader = Reader(channel, _MAX_REPLY, _MAX_IMAGES)
        host_pid = _host_pid(watch)
        self._clock = (~host_pid << 3) | 2 if host_pid else 0
        with contextlib.suppress(OSError):
            self._statm = os.open(f"/proc/{host_pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._poll = select.poll()
        for descriptor in (channel.fileno(), output.out, output.err, self.sandbox.control.fileno()):
            self._poll.register(descriptor, select.POLLIN)
        self.alive = True

    def _lose(self) -> None:
        """Let go of the interpreter; it is killed if it still runs."""
        self.alive = False
        if self._watch >= 0:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._watch, signal.SIGKILL)
            os.close(self._watch)
            self._watch = -1
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._statm >= 0:
            os.close(self._statm)
            self._statm = -1

    def discard(self) -> None:
        """Let go of everything, the pipes included (called by the sandbox)."""
        self._lose()
        self._output.close()

    # ------------------------------------------------------------------ a cell

    def _exec(self, code: str, stdin: str | bytes, timeout_s: float) -> ExecResult:
        channel = self._need()
        self.sandbox.control.listen()
        started, cpu = time.monotonic(), self._cpu()
        late = self._output.start()
        source, fed = (
            code.encode("utf-8", "surrogatepass"),
            stdin.encode() if isinstance(stdin, str) else stdin,
        )
        word = secrets.token_hex(8)
        reply: wire.Frame | None = None
        status: Status | None = None
        if not self._reader.silent():
            status = Status.TAMPERED if self._running() else Status.KILLED
        else:
            if channel.gettimeout() != timeout_s > 0:
                channel.settimeout(timeout_s)
            with contextlib.suppress(OSError):  # a session that does not listen answers too late
                wire.send(channel, {"op": "exec", "nonce": word, "code": len(source)}, source + fed)
            reply, status = self._await(channel, word, started + timeout_s)
        self._output.drain_both()
        if reply is not None and not self._reader.silent():
            status = Status.TAMPERED
        return self._conclude(reply, status, started, cpu, late)

    def _await(
        self, channel: socket.socket, word: str, deadline: float
    ) -> tuple[wire.Frame | None, Status | None]:
        """The answer, or why there is none; both if it came because the cell was interrupted."""
        interrupted = False
        ticked = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= deadline:
                if interrupted:
                    return None, Status.TIMEOUT
                interrupted, deadline = True, now + _GRACE_S
                self._signal(signal.SIGINT)
            ready = {
                descriptor
                for descriptor, _ in self._poll.poll(min(_TICK_S, max(0.001, deadline - now)) * 1000)
            }
            if time.monotonic() - ticked >= _TICK_S:
                ticked = time.monotonic()
                self.sandbox.control.tell("tick")
            for descriptor in (self._output.out, self._output.err):
                if descriptor in ready:
                    self._output.drain(descriptor, 16)
            if self._output.flooded:
                return None, Status.OUTPUT
            if channel.fileno() in ready:
                reply = self._reply(word)
                if isinstance(reply, Status):
                    return None, reply
                if reply is None:
                    continue
                gave_way = interrupted and "error" in reply.message
                return reply, Status.TIMEOUT if gave_way else None
            if self.sandbox.control.fileno() in ready:
                self.sandbox.control.listen()
                if self.sandbox.control.gone:
                    return None, Status.KILLED

    def _reply(self, word: str) -> wire.Frame | Status | None:
        """The answer, what it means that there can be none, or None while it is not whole."""
        try:
            frame = self._reader.read()
        except wire.WireError:
            return Status.TAMPERED
        except EOFError:
            return Status.KILLED
        if frame is not None and frame.message.get("nonce") != word:
            return Status.TAMPERED
        return frame

    def _conclude(
        self, reply: wire.Frame | None, status: Status | None, started: float, cpu: float | None, late: int
    ) -> ExecResult:
        wait_status = None
        if reply is None or status is Status.TAMPERED:
            wait_status, status = self._end(status or Status.KILLED)
            reply = None
        now = self._cpu()
        trusted = Trusted(
            wall_s=time.monotonic() - started,
            cpu_s=None if cpu is None or now is None else now - cpu,
            memory_bytes=self._memory(),
            wait_status=wait_status,
        )
        if not self.alive:
            self._lose()
        out, err = self._output.bytes()
        said: dict[str, Any] = reply.message if reply else {}
        error = _error(said.get("error"))
        if status is None:
            status = Status.OK if said.get("ok") is True else Status.ERROR if error else Status.EXIT
        code = said.get("exit")
        return ExecResult(
            status=status,
            trusted=trusted,
            stdout=out.decode("utf-8", "replace"),
            stderr=err.decode("utf-8", "replace"),
            output=interleaved(out, err, said.get("order")),
            value=_text(said.get("value")),
            value_type=_text(said.get("type")),
            error=error,
            exit_code=code if isinstance(code, int) and not isinstance(code, bool) else None,
            images=_images(said.get("images"), reply.payload if reply else b""),
            dropped_bytes=self._output.dropped,
            late_bytes=late,
            alive=self.alive,
            detail=_DETAILS.get(status, "") if self.alive else _DEATHS.get(status, ""),
        )

    def _end(self, status: Status) -> tuple[int | None, Status]:
        """The session is lost: end whatever still runs; returns its wait status and why it ended."""
        self._output.drain_both()
        self.alive = False
        ended = None
        control = self.sandbox.control
        if not self._branch:
            if status is not Status.KILLED:
                self._signal(signal.SIGKILL)
            ended = control.wait_exit(self._pid, 2.0)
            if self._pid:
                control.tell("stop", pid=self._pid)
        else:
            self._signal(signal.SIGKILL)
        if status is Status.KILLED:
            if control.limit is not None:
                status, control.limit = Status(control.limit), None
            elif self.sandbox.ran_out_of_memory():
                status = Status.MEMORY
        return (ended.status if ended else None), status

    # ------------------------------------------------------------------ branches

    def _fork(self) -> PythonSession:
        channel = self._need()
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        output = Output(self.sandbox.limits.output_bytes)
        word = secrets.token_hex(8)
        request = {"op": "fork", "nonce": word, "fence": self.sandbox.fenced}
        with theirs:
            with contextlib.suppress(OSError):
                passed = [theirs.fileno(), output.theirs_out, output.theirs_err]
                channel.settimeout(10.0)
                wire.send(channel, request, b"", passed)
            output.give_away()
        ours.settimeout(10.0)
        try:
            answer = self._answer(word)
            if "refused" in answer.message:
                raise BranchRefusedError(str(answer.message["refused"])[:500])
            pid = _attested(ours)
            watch = os.pidfd_open(pid)
            wire.send(ours, {"go": 1})
            if _attested(ours) != pid:
                os.close(watch)
                raise SandboxGoneError("the branch is not the process that it was")
        except (OSError, wire.WireError) as error:
            output.close()
            ours.close()
            if isinstance(error, BranchRefusedError | SandboxGoneError):
                raise
            raise SandboxGoneError(f"the session did not fork: {error}") from error
        except BaseException:
            output.close()
            ours.close()
            raise
        ours.settimeout(None)
        branch = PythonSession(self.sandbox, branch=True)
        branch.attach(ours, output, 0, watch)
        self.sandbox.branches.append(branch)
        return branch

    def _answer(self, word: str) -> wire.Frame:
        try:
            frame = self._reader.wait(10.0)
        except (EOFError, wire.WireError):
            frame = None
        if frame is None or frame.message.get("nonce") != word:
            self._end(Status.TAMPERED)
            self._lose()
            raise SandboxGoneError("the session answered with something that was not asked for")
        return frame

    # ------------------------------------------------------------------ measuring

    def _need(self) -> socket.socket:
        if self._channel is None or not self.alive:
            error = SandboxGoneError("the session is dead; reset it")
            error.session_fate = "needs_reset"
            raise error
        return self._channel

    def _running(self) -> bool:
        poll = select.poll()
        poll.register(self._watch, select.POLLIN)
        return not poll.poll(0)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._watch, number)

    def _cpu(self) -> float | None:
        try:
            return time.clock_gettime(self._clock) if self._clock else None
        except OSError:
            return None

    def _memory(self) -> int | None:
        try:
            return int(os.pread(self._statm, 256, 0).split()[1]) * _PAGE if self._statm >= 0 else None
        except (OSError, IndexError, ValueError):
            return None


_PAGE = os.sysconf("SC_PAGESIZE")
_DETAILS = {
    Status.TIMEOUT: "its time was up; it was interrupted and the session goes on",
}
_DEATHS = {
    Status.TIMEOUT: "its time was up and it did not give way; everything it ran was killed",
    Status.MEMORY: "the memory limit was passed; everything inside was killed",
    Status.PROCESSES: "too many processes; everything inside was killed",
    Status.OUTPUT: "it flooded its output and was killed",
    Status.KILLED: "the session's process ended",
    Status.TAMPERED: "something that was not asked for came on the session's channel; the session was killed",
}


def _attested(channel: socket.socket) -> int:
    """Who sent the next frame, as the kernel tells it.

    Raises:
        OSError: nobody, or not in time.
        wire.WireError: something else than a short frame came.
    """
    head, ancillary, _, _ = channel.recvmsg(wire.HEAD.size, socket.CMSG_SPACE(12))
    if len(head) < wire.HEAD.size:
        raise wire.WireError("a frame that ends in the middle")
    text, payload = wire.HEAD.unpack(head)
    if text > 1024 or payload:
        raise wire.WireError("a frame that is too large")
    json.loads(channel.recv(text, socket.MSG_WAITALL))
    for level, kind, raw in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            return int(struct.unpack("iii", raw)[0])
    raise wire.WireError("a frame without a sender")


def _host_pid(watch: int) -> int:
    """Number of the process behind a descriptor, as this process's `/proc` knows it; 0 if it does not."""
    try:
        with open(f"/proc/self/fdinfo/{watch}") as file:
            return max(0, next(int(line.split()[1]) for line in file if line.startswith("Pid:")))
    except (OSError, StopIteration):
        return 0


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _error(said: object) -> CellError | None:
    match said:
        case {
            "type": str(kind),
            "message": str(message),
            "traceback": str(trace),
            "line": int() | None as line,
        }:
            return CellError(kind, message, trace, line)
    return None


def _images(said: object, payload: bytes) -> tuple[Image, ...]:
    found = []
    place = 0
    for entry in said if isinstance(said, list) else ():
        match entry:
            case [str(kind), int(size)] if 0 <= size <= len(payload) - place:
                found.append(Image(kind, payload[place : place + size]))
                place += size
    return tuple(found)


__all__: Sequence[str] = ("PythonSession",)
