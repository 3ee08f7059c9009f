"""Attempts to get out, sent as a cell into a fresh sandbox by `openenv.sandbox.verification`."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any


def attempt(action: Callable[[], object]) -> str:
    """What the action returns as text, `done` for nothing; or the name of the error."""
    try:
        return str(action() or "done")
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    except (MemoryError, ValueError) as error:
        return type(error).__name__


def read_canary(path: str) -> str:
    """Read a file of the server."""
    with open(path) as file:
        return "read" if file.read() else "empty"


def write(path: str, data: str = "") -> None:
    """Write a file."""
    with open(path, "w") as file:
        file.write(data)


def space(name: str) -> str | None:
    """Identity of a namespace."""
    try:
        return os.readlink(f"/proc/self/ns/{name}")
    except OSError:
        return None


def reach(name: str) -> str:
    """Connect to an abstract socket of the server."""
    with socket.socket(socket.AF_UNIX) as door:
        door.connect("\0" + name)
        return "reached"


def signal_process(pid: int) -> str:
    """Send signal 0."""
    os.kill(pid, 0)
    return "sent"


def internet() -> str:
    """Open an internet socket."""
    with socket.socket(socket.AF_INET):
        return "opened"


def status() -> dict[str, str]:
    """What the kernel says about this process."""
    try:
        with open("/proc/self/status") as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    except OSError:
        return {}


def refused_calls() -> list[str]:
    """Names of the calls that got through although they should not."""
    libc = ctypes.CDLL(None, use_errno=True)
    space = ctypes.create_string_buffer(256)
    x86 = os.uname().machine == "x86_64"

    def number(one: int, other: int) -> int:
        return one if x86 else other

    calls: dict[str, tuple[Any, ...]] = {
        "unshare": (number(272, 97), 0x10000000),
        "keyctl": (number(250, 219), 0, -3, 0),
        "io_uring_setup": (425, 1, space),
        "ptrace": (number(101, 117), 0),
        "bpf": (number(321, 280), 0, space, 64),
        "memfd_secret": (447, 0),
        "process_vm_readv": (number(310, 270), os.getpid(), space, 0, space, 0, 0),
    }
    through = []
    for name, arguments in calls.items():
        child = os.fork()
        if child == 0:
            ctypes.set_errno(0)
            result = libc.syscall(
                *[ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
            )
            os._exit(0 if result < 0 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS) else 1)
        if os.waitpid(child, 0)[1]:
            through.append(name)
    return through


def bombs(limits: dict[str, int]) -> list[str]:
    """Names of the limits that did not hold."""
    passed = []
    children = []
    try:
        for _ in range(limits["processes"] + 4):
            child = os.fork()
            if child == 0:
                signal.pause()
            children.append(child)
        passed.append("processes")
    except BlockingIOError:
        pass
    for child in children:
        os.kill(child, 9)
        os.waitpid(child, 0)
    if attempt(lambda: write("big", "x" * (limits["file"] + 1))) == "done":
        passed.append("file size")
    attempt(lambda: os.unlink("big"))
    # Mapped, not touched: what a limit on private memory refuses, and no watcher sees.
    if attempt(lambda: mmap.mmap(-1, 4 * limits["memory"], mmap.MAP_PRIVATE).close()) == "done":
        passed.append("memory of a process")
    held: list[int] = []
    try:
        while len(held) <= limits["files"]:
            held += [os.open("/dev/null", os.O_RDONLY)]
        passed.append("descriptors")
    except OSError:
        pass
    for descriptor in held:
        os.close(descriptor)
    return passed


def memory_of_all(bytes_each: int) -> str:
    """Fill memory in three children at once: "killed" if the kernel ended one of them."""
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            held = bytearray(b"x" * bytes_each)
            signal.pause()
            os._exit(len(held) and 0)
        children.append(child)
    deadline = time.monotonic() + 5
    ended = 0
    while not ended and time.monotonic() < deadline:
        ended, status = os.waitpid(-1, os.WNOHANG)
        time.sleep(0.002)
    for child in set(children) - {ended}:
        os.kill(child, 9)
        os.waitpid(child, 0)
    return "killed" if ended and os.waitstatus_to_exitcode(status) == -9 else "filled"


def descriptors() -> list[str]:
    """Open descriptors that an interpreter does not open itself."""
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return []
    return [name for name in names if int(name) > 4 and os.path.lexists(f"/proc/self/fd/{name}")]


def told(asked: dict[str, Any]) -> dict[str, Any]:
    """Everything that was tried, and what came of it."""
    facts = status()
    try:
        visible = len([name for name in os.listdir("/proc") if name.isdigit()])
    except OSError:
        visible = 0
    return {
        "canary": attempt(lambda: read_canary(asked["canary"])),
        "write /usr": attempt(lambda: write("/usr/openenv-probe")),
        "spaces": {name: space(name) for name in ("mnt", "pid", "net", "ipc", "uts", "user")},
        "signal server": attempt(lambda: signal_process(asked["server"])),
        "processes": visible,
        "internet": attempt(internet),
        "abstract": attempt(lambda: reach(asked["socket"])),
        "uid": os.getuid(),
        "capabilities": facts.get("CapEff", "0"),
        "no new privileges": facts.get("NoNewPrivs", "1"),
        "filter mode": facts.get("Seccomp", "2"),
        "landlock": attempt(lambda: write("/proc/self/comm", "probe")),
        "calls": refused_calls(),
        "memory": memory_of_all(asked["limits"]["memory"] // 2) if asked["counted"] else "",
        "limits": bombs(asked["limits"]),
        "variables": sorted(set(os.environ) - {"PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "LC_CTYPE"}),
        "descriptors": descriptors(),
    }
