"""What a default container's filter does: no namespaces, no mounts. Forces tier C on any machine."""

from __future__ import annotations

import errno

from openenv.sandbox.guest import kernel, seccomp

_DENIED = "unshare mount umount2 setns pivot_root open_tree move_mount mount_setattr fsopen".split()


def install() -> None:
    """Deny namespaces and mounts to this process and its children, for ever."""
    out = seccomp._Assembler()
    out.load(0)
    for name in _DENIED:
        out.when(0x15, kernel.NUMBERS[name], "denied")
    out.when(0x15, kernel.NUMBERS["clone"], "clone")
    out.when(0x15, kernel.NUMBERS["clone3"], "unknown")  # C libraries fall back to clone
    out.finish(seccomp.ALLOW)
    out.label("clone")
    out.load_argument(0)
    out.when(0x45, kernel.NAMESPACE_FLAGS, "denied")
    out.finish(seccomp.ALLOW)
    out.label("unknown")
    out.finish(seccomp.ERRNO | errno.ENOSYS)
    out.label("denied")
    out.finish(seccomp.ERRNO | errno.EPERM)
    seccomp.install(out.build())
