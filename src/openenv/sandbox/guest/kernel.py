"""System calls that Python does not offer: namespaces, mounts, capabilities, process control."""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import socket
import struct

from . import syscalls

libc = ctypes.CDLL(None, use_errno=True)
_syscall = libc.syscall
_syscall.restype = ctypes.c_long

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
NAMESPACE_FLAGS = NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_NOEXEC = 1, 2, 4, 8
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
CAP_SYS_ADMIN = 21
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE, _CLOEXEC = -100, 0x1000, 0x8000, 0x80000
_MNT_DETACH = 2
_CAPABILITY_VERSION_3 = 0x20080522
_SIOCSIFFLAGS, _IFF_UP, _IFF_RUNNING = 0x8914, 0x1, 0x40

NUMBERS: dict[str, int] = syscalls.numbers() if platform.machine() in syscalls.ARCHITECTURES else {}


def _failed(what: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{what}: {os.strerror(code)}")


def syscall(name: str, *arguments: int | bytes | None) -> int:
    """Call the kernel by name; integers are passed as longs, bytes as pointers.

    Raises:
        OSError: the kernel refused.
    """
    converted = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result: int = _syscall(ctypes.c_long(NUMBERS[name]), *converted)
    if result < 0:
        raise _failed(name)
    return result


def prctl(option: int, value: int = 0) -> None:
    """`prctl(2)` with one argument."""
    zero = ctypes.c_ulong(0)
    if libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero) < 0:
        raise _failed(f"prctl({option})")


def no_new_privileges() -> None:
    """No later exec gains a privilege, for this process and all its children."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def die_with_parent(signal_number: int = 9) -> None:
    """Be killed when the parent ends (the parent must have one thread)."""
    prctl(PR_SET_PDEATHSIG, signal_number)


def mount(source: str, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    """`mount(2)`."""
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, data)]
    if libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]) != 0:
        raise _failed(f"mount {kind or source} on {target}")


def unmount(target: str) -> None:
    """Detach what is mounted at `target`."""
    if libc.umount2(os.fsencode(target), _MNT_DETACH) != 0:
        raise _failed(f"unmount {target}")


def unshare(flags: int) -> None:
    """Enter new namespaces."""
    if libc.unshare(ctypes.c_int(flags)) != 0:
        raise _failed(f"unshare({flags:#x})")


def setns(descriptor: int, flags: int) -> None:
    """Enter the namespace behind `descriptor`."""
    if libc.setns(descriptor, ctypes.c_int(flags)) != 0:
        raise _failed("setns")


def pivot_to_current_folder() -> None:
    """Make the current folder the root and let go of the old one (stacked, then detached)."""
    syscall("pivot_root", b".", b".")
    unmount(".")
    os.chdir("/")


def clone_tree(path: str) -> int:
    """A detached copy of the mount tree below `path`, as a descriptor."""
    return syscall("open_tree", _AT_FDCWD, os.fsencode(path), 1 | _AT_RECURSIVE | _CLOEXEC)


def set_mount_attributes(descriptor: int, attributes: int, *, recursive: bool = True) -> None:
    """Restrict a mount (tree) given by descriptor; the kernel does it all or nothing."""
    packed = struct.pack("QQQQ", attributes, 0, 0, 0)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    syscall("mount_setattr", descriptor, b"", flags, packed, len(packed))


def attach_tree(descriptor: int, target: str) -> None:
    """Put a detached mount tree at `target`."""
    syscall("move_mount", descriptor, b"", _AT_FDCWD, os.fsencode(target), 4)


def map_ids(inside: int, outside_uid: int, outside_gid: int, folder: int) -> None:
    """Map one user and one group of a fresh user namespace.

    Args:
        inside: id that the user and the group have inside.
        outside_uid: the user, as the parent namespace knows it.
        outside_gid: the group.
        folder: descriptor of the process's own folder in a `/proc` that is still visible.
    """
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{inside} {outside_uid} 1"),
        ("gid_map", f"{inside} {outside_gid} 1"),
    ):
        descriptor = os.open(name, os.O_WRONLY, dir_fd=folder)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def drop_capabilities() -> None:
    """Give up every capability."""
    if libc.capset(struct.pack("Ii", _CAPABILITY_VERSION_3, 0), bytes(24)) != 0:
        raise _failed("capset")


def has_capability(number: int) -> bool:
    """Whether this process has a capability in force."""
    with open("/proc/self/status") as status:
        mask = next((line for line in status if line.startswith("CapEff:")), "CapEff: 0")
    return bool(int(mask.split()[1], 16) >> number & 1)


def loopback_up() -> None:
    """Bring up `lo` in the current network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sh14x", b"lo", _IFF_UP | _IFF_RUNNING)
        fcntl.ioctl(probe, _SIOCSIFFLAGS, request)


def set_hostname(name: str) -> None:
    """Name the machine of the current uts namespace."""
    raw = name.encode()
    if libc.sethostname(raw, len(raw)) != 0:
        raise _failed("sethostname")
