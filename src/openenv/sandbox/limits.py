"""What a sandbox may use, and whom it may talk to."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from openenv.errors import SandboxOptionError

_MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Bounds of one sandbox.

    Attributes:
        wall_s: seconds one `exec` or `run` may take; the supervisor's clock enforces it.
        cpu_s: CPU seconds of any one process over its life (`RLIMIT_CPU`).
        memory_bytes: memory of all processes together: a control group where one is writable, else a watcher
            in the sandbox's init (every 5 to 20 ms while busy); also the private memory of one process
            (`RLIMIT_DATA`), which fails there with `MemoryError` first.
        processes: processes and threads together (`RLIMIT_NPROC` in the sandbox's user namespace).
        open_files: descriptors per process (`RLIMIT_NOFILE`).
        file_bytes: size of one file (`RLIMIT_FSIZE`).
        disk_bytes: everything written, in the work folder, `/tmp` and `/dev/shm` together (tmpfs quota).
        inodes: files and folders (tmpfs quota).
        output_bytes: bytes kept of standard output and of standard error, each; the rest is counted and
            dropped, and a flood of 64 times as much ends the session.

    Raises:
        SandboxOptionError: a value that makes no sense.
    """

    wall_s: float = 10.0
    cpu_s: int = 600
    memory_bytes: int = 512 * _MIB
    processes: int = 64
    open_files: int = 256
    file_bytes: int = 64 * _MIB
    disk_bytes: int = 64 * _MIB
    inodes: int = 8192
    output_bytes: int = _MIB

    def __post_init__(self) -> None:
        least = {
            "memory_bytes": 32 * _MIB,
            "processes": 4,
            "open_files": 128,
            "inodes": 16,
            "disk_bytes": _MIB,
        }
        for item in fields(self):
            value: Any = getattr(self, item.name)
            minimum = least.get(item.name, 0)
            kinds = (int, float) if item.name == "wall_s" else int
            if isinstance(value, bool) or not isinstance(value, kinds) or value < minimum or value <= 0:
                wanted = f"a number of at least {minimum}" if minimum else "a number above 0"
                raise SandboxOptionError(
                    f"limits.{item.name}: expected {wanted}, got {value!r}", option=item.name
                )


@dataclass(frozen=True)
class NetworkPolicy:
    """Whom a sandbox may talk to; make one with `none` or `loopback`.

    Attributes:
        kind: `none` (no internet socket can be opened) or `loopback` (an own interface, no route).
    """

    kind: str = "none"

    def __post_init__(self) -> None:
        if self.kind not in ("none", "loopback"):
            raise SandboxOptionError(
                f"network: expected 'none' or 'loopback', got {self.kind!r}", option="network"
            )

    @classmethod
    def none(cls) -> NetworkPolicy:
        """No sockets but local ones."""
        return cls("none")

    @classmethod
    def loopback(cls) -> NetworkPolicy:
        """Sockets among the sandbox's own processes."""
        return cls("loopback")


@dataclass(frozen=True)
class Packages:
    """Python packages that code inside may import; chosen by the operator, read-only inside.

    Attributes:
        venv: a virtual environment of the same Python version, None for the standard library alone.
        preload: modules imported before the first sandbox, so that importing them inside costs nothing.
    """

    venv: str | None = None
    preload: tuple[str, ...] = ()
