"""What came of running code: what the kernel and the supervisor saw, apart from what the code says."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import StrEnum


class Status(StrEnum):
    """How a run ended."""

    OK = "ok"
    """It ran to its end."""
    ERROR = "error"
    """A cell raised; a command ended with another exit code than 0."""
    EXIT = "exit"
    """A cell called `sys.exit`; the session goes on."""
    TIMEOUT = "timeout"
    """Its wall time was up."""
    MEMORY = "memory"
    """The memory limit was passed and everything inside was killed."""
    PROCESSES = "processes"
    """More processes than allowed, where the kernel could not refuse them; everything inside was killed."""
    OUTPUT = "output"
    """It flooded its output and was killed."""
    KILLED = "killed"
    """It died of a signal, its own fault or somebody else's."""
    TAMPERED = "tampered"
    """Something on the session's channel that was not asked for; nothing of it is believed."""


@dataclass(frozen=True)
class Trusted:
    """What the kernel or the supervisor measured; code inside cannot forge it.

    Attributes:
        wall_s: seconds from the request to the end.
        cpu_s: CPU seconds: of the session's process during a cell; of a command with its children.
        memory_bytes: resident memory: of the session after a cell; the peak of a command. None if unknown.
        wait_status: as of `wait(2)`, where a process ended; None where none did.
    """

    wall_s: float
    cpu_s: float | None = None
    memory_bytes: int | None = None
    wait_status: int | None = None

    @property
    def exit_code(self) -> int | None:
        """Exit code, or minus the signal; None where no process ended."""
        return None if self.wait_status is None else os.waitstatus_to_exitcode(self.wait_status)


@dataclass(frozen=True)
class CellError:
    """The exception that a cell raised, as the session tells it.

    Attributes:
        type: class name.
        message: its text.
        traceback: as Python prints it, frames of the code that was sent only.
        line: line of that code, counted from 1; None if the error is not in it.
    """

    type: str
    message: str
    traceback: str
    line: int | None


@dataclass(frozen=True)
class Image:
    """A picture that a cell made.

    Attributes:
        kind: media type.
        data: the file.
    """

    kind: str
    data: bytes


@dataclass(frozen=True)
class ExecResult:
    """What came of one cell. Only `status` (but ok, error, exit) and `trusted` are beyond the code's reach.

    Attributes:
        status: how it ended.
        trusted: what the supervisor saw.
        stdout: what was written to standard output, invalid UTF-8 replaced.
        stderr: the same of standard error; holds the traceback.
        output: both in the order in which the session wrote them, as (stream, text).
        value: `repr` of the last expression, None if there is none or it is None.
        value_type: class name of that value.
        error: the exception, if one ended the cell.
        exit_code: what `sys.exit` was called with.
        images: pictures made.
        dropped_bytes: output beyond the limit.
        late_bytes: output of background threads between the last cell and this one; discarded.
        alive: whether the session can run another cell; if not, `reset` it.
        detail: one sentence for a person about a status other than ok.
    """

    status: Status
    trusted: Trusted
    stdout: str = ""
    stderr: str = ""
    output: tuple[tuple[str, str], ...] = ()
    value: str | None = None
    value_type: str | None = None
    error: CellError | None = None
    exit_code: int | None = None
    images: tuple[Image, ...] = ()
    dropped_bytes: int = 0
    late_bytes: int = 0
    alive: bool = True
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether the cell ran to its end."""
        return self.status is Status.OK


@dataclass(frozen=True)
class RunResult:
    """What came of one command.

    Attributes:
        status: how it ended.
        trusted: what the kernel said: wait status, times, memory.
        stdout: raw bytes of standard output.
        stderr: raw bytes of standard error.
        dropped_bytes: output beyond the limit.
        detail: one sentence for a person about a status other than ok.
    """

    status: Status
    trusted: Trusted
    stdout: bytes = b""
    stderr: bytes = b""
    dropped_bytes: int = 0
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether it ended with exit code 0."""
        return self.status is Status.OK

    @property
    def exit_code(self) -> int | None:
        """Exit code, or minus the signal; None if it never ended."""
        return self.trusted.exit_code


@dataclass(frozen=True)
class Usage:
    """What a sandbox holds now.

    Attributes:
        memory_bytes: memory of its processes without files, shared pages counted once; 0 if unknown.
        processes: how many there are besides the init.
        disk_bytes: written to its work folder, `/tmp` and `/dev/shm`.
    """

    memory_bytes: int
    processes: int
    disk_bytes: int


@dataclass(frozen=True)
class Entry:
    """Something in a folder of a sandbox.

    Attributes:
        name: path below the folder that was listed.
        kind: `file`, `folder`, `link` or `other`.
        size: bytes.
    """

    name: str
    kind: str
    size: int


@dataclass(frozen=True)
class Snapshot:
    """The files of a sandbox's work folder at one moment.

    Attributes:
        files: path below the work folder to content and mode.
    """

    files: dict[str, tuple[bytes, int]] = field(default_factory=dict)
