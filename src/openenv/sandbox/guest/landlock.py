"""Landlock: which files a process may touch, and whom it may signal or connect to, for ever.

Rules are added to a rule set and the calling thread restricts itself; children inherit it and can only
restrict themselves further. What a kernel cannot enforce (by ABI version) is left out of the request; the
returned facts say what holds. Source of the constants: `linux/landlock.h`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from . import kernel

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
MAKE_CHAR, MAKE_BLOCK = 64, 2048
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
READ_ONLY = EXECUTE | READ_FILE | READ_DIR
ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_RIGHTS_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_ALL_RIGHTS = (1 << 16) - 1
_TCP_BIND_AND_CONNECT = 3
_SCOPE_ABSTRACT_UNIX_AND_SIGNALS = 3
_QUERY_VERSION = 1
_RULE_PATH_BENEATH = 1


@dataclass(frozen=True)
class Enforced:
    """What a call of `restrict` put in force.

    Attributes:
        abi: the kernel's Landlock version, 0 where it has none.
        tcp: TCP connect and bind are denied.
        scoped: signals and abstract sockets reach only processes under the same restriction (ABI 6).
    """

    abi: int
    tcp: bool = False
    scoped: bool = False


def abi() -> int:
    """The kernel's Landlock version, 0 if there is none."""
    try:
        return kernel.syscall("landlock_create_ruleset", None, 0, _QUERY_VERSION)
    except (OSError, KeyError):
        return 0


def restrict(
    *,
    read_only: Iterable[str] = (),
    listable: Iterable[str] = (),
    writable: Iterable[str] = (),
    devices: Iterable[str] = (),
    deny_tcp: bool = False,
    scope: bool = True,
) -> Enforced:
    """Restrict the calling thread.

    Args:
        read_only: folders and files that may be read and executed.
        listable: folders whose names may be seen, not what the files hold.
        writable: folders in which everything but making device nodes is allowed.
        devices: files that may be read and written, not executed.
        deny_tcp: deny TCP connect and bind where the kernel can.
        scope: confine signals and abstract sockets where the kernel can.

    Raises:
        OSError: the kernel refused although it has Landlock.
    """
    version = abi()
    if not version:
        return Enforced(0)
    rights = _RIGHTS_BY_ABI.get(version, _ALL_RIGHTS)
    tcp = _TCP_BIND_AND_CONNECT if deny_tcp and version >= 4 else 0
    scoped = _SCOPE_ABSTRACT_UNIX_AND_SIGNALS if scope and version >= 6 else 0
    words = (rights, tcp, scoped)[: 3 if version >= 6 else 2 if version >= 4 else 1]
    attributes = struct.pack(f"{len(words)}Q", *words)
    rules = kernel.syscall("landlock_create_ruleset", attributes, len(attributes), 0)
    try:
        everything = rights & ~(MAKE_CHAR | MAKE_BLOCK)
        on_devices = READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV
        groups = ((read_only, READ_ONLY), (listable, READ_DIR), (writable, everything), (devices, on_devices))
        for paths, allowed in groups:
            for path in paths:
                _allow(rules, path, allowed & rights)
        kernel.no_new_privileges()
        kernel.syscall("landlock_restrict_self", rules, 0)
    finally:
        os.close(rules)
    return Enforced(version, bool(tcp), bool(scoped))


def _allow(rules: int, path: str, allowed: int) -> None:
    try:
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not os.path.isdir(path):
            allowed &= ON_FILES
        if not allowed:
            return
        kernel.syscall("landlock_add_rule", rules, _RULE_PATH_BENEATH, struct.pack("=Qi", allowed, target), 0)
    finally:
        os.close(target)
