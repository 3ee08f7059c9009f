"""Tries each isolation layer of the Linux kernel and prints what it really did, as one JSON object.

Run as a script in a process of its own (`python -I -S kernel_probe.py`): each layer is tried in a forked
child, so nothing sticks to the caller. The effect is tested, not the system call: on some systems
`unshare` succeeds and every mount is then refused. Numbers are those of the kernel's headers.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import signal
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

_CHILD_SECONDS = 5

# linux/sched.h
_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
# linux/mount.h
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
# linux/prctl.h, linux/seccomp.h
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 22, 2, 38
_SECCOMP_RET_ERRNO, _SECCOMP_RET_ALLOW = 0x00050000, 0x7FFF0000
# linux/landlock.h; the three system calls have the same numbers on every architecture
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT, _LANDLOCK_VERSION_FLAG = 444, 446, 1
_LANDLOCK_WRITE_FILE, _LANDLOCK_MAKE_REG = 1 << 1, 1 << 8
_GETPPID = {"x86_64": 110, "aarch64": 173, "riscv64": 173}


def main() -> None:
    """Print `{layer: [works, detail]}`."""
    layers: dict[str, Callable[[], str]] = {
        "user namespaces": _namespaces,
        "Landlock": _landlock,
        "seccomp": _seccomp,
        "cgroups": _cgroups,
    }
    result = {name: _in_child(probe) for name, probe in layers.items()}
    sys.stdout.write(json.dumps(result))


def _in_child(probe: Callable[[], str]) -> tuple[bool, str]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        signal.alarm(_CHILD_SECONDS)
        try:
            answer = [True, probe()]
        except Exception as error:  # the boundary of a probe: any failure is its answer
            answer = [False, str(error)]
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        raw = pipe.read()
    os.waitpid(child, 0)
    if not raw:
        return False, "the probe was killed"
    works, detail = json.loads(raw)
    return works, detail


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


class _Refused(Exception):
    """A layer that is absent, or there and does not hold."""


def _must(result: int, call: str) -> None:
    if result < 0:
        raise _Refused(f"{call}: {os.strerror(ctypes.get_errno())}")


def _namespaces() -> str:
    """New user, mount, pid, network, ipc and uts namespaces, and a tmpfs mounted inside them."""
    libc, uid, gid = _libc(), os.getuid(), os.getgid()
    flags = _NEWUSER | _NEWNS | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS
    _must(libc.unshare(flags), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    _must(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "mount private")
    folder = tempfile.gettempdir().encode()
    _must(libc.mount(b"probe", folder, b"tmpfs", 0, b"size=64k"), "mount tmpfs")
    if os.listdir(folder):
        raise _Refused("a mounted tmpfs is not visible")
    return "user, mount, pid, network, ipc, uts; tmpfs mounts"


def _landlock() -> str:
    """A rule set that forbids writing, and a write."""
    libc, file = _libc(), Path(tempfile.gettempdir()) / f"openenv-probe-{os.getpid()}"
    abi = libc.syscall(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION_FLAG)
    if abi < 1:
        raise _Refused("the kernel has no Landlock, or it is switched off")
    rights = ctypes.create_string_buffer(struct.pack("Q", _LANDLOCK_WRITE_FILE | _LANDLOCK_MAKE_REG), 8)
    rules = libc.syscall(_LANDLOCK_CREATE, rights, 8, 0)
    _must(rules, "landlock_create_ruleset")
    _must(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _must(libc.syscall(_LANDLOCK_RESTRICT, rules, 0), "landlock_restrict_self")
    try:
        file.touch()
    except PermissionError:
        return f"ABI {abi}"
    file.unlink()
    raise _Refused(f"ABI {abi}, but a forbidden write went through")


def _seccomp() -> str:
    """A filter that refuses one system call, and that call."""
    number = _GETPPID.get(platform.machine())
    if number is None:
        raise _Refused(f"not probed on {platform.machine()}")
    # ld [nr]; jeq number ? refuse : allow
    filters = b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in (
            (0x20, 0, 0, 0),
            (0x15, 0, 1, number),
            (0x06, 0, 0, _SECCOMP_RET_ERRNO | errno.EPERM),
            (0x06, 0, 0, _SECCOMP_RET_ALLOW),
        )
    )
    code = ctypes.create_string_buffer(filters, len(filters))
    program = ctypes.create_string_buffer(struct.pack("HP", 4, ctypes.addressof(code)), 16)
    libc = _libc()
    _must(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _must(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0), "seccomp")
    if libc.syscall(number) != -1:
        raise _Refused("a filter was accepted and does not filter")
    return "system call filters"


def _cgroups() -> str:
    """A child of the own control group, with a memory limit in it."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        unified = controllers == ""
        if not unified and "memory" not in controllers.split(","):
            continue
        root = "/sys/fs/cgroup" if unified else "/sys/fs/cgroup/memory"
        limit = "memory.max" if unified else "memory.limit_in_bytes"
        child = Path(root + path) / f"openenv-probe-{os.getpid()}"
        try:
            child.mkdir()
        except OSError:
            continue
        try:
            if (child / limit).exists():
                return f"v{2 if unified else 1}, memory limits, in {child.parent}"
        finally:
            child.rmdir()
    raise _Refused("no control group of ours may be divided (needs root, or delegation by systemd)")


if __name__ == "__main__":
    main()
