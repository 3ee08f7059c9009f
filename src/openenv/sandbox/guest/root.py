"""The private root: an empty in-memory file system with read-only pieces of the real one.

It is built once, in the warm parent; every sandbox gets a copy of the mount table. Package folders of the
bound trees are covered: the packages of whoever runs the server (this one among them, with the answers of
its tasks) are nobody's business inside.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from . import kernel

BASE = "/tmp"  # noqa: S108 - covered by the private root before anything is read from it
SCRATCH = "/run/scratch"
WORK, TEMPORARY, SHARED = "/work", "/tmp", "/dev/shm"  # noqa: S108 - names inside the sandbox
WRITABLE = (WORK, TEMPORARY, SHARED)
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
INSIDE_ID = 1000
_LINKED = ("/bin", "/sbin", "/lib", "/lib64", "/lib32")
_SETTINGS = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/alternatives",
    "/etc/ssl/certs",
    "/etc/mime.types",
    "/etc/terminfo",
)
_TEXTS = {
    "/etc/passwd": "root:x:0:0::/root:/bin/sh\nagent:x:1000:1000::/work:/bin/sh\n"
    "nobody:x:65534:65534::/:/bin/false\n",
    "/etc/group": "root:x:0:\nagent:x:1000:\nnogroup:x:65534:\n",
    "/etc/hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "/etc/resolv.conf": "",
}
_DEVICE_LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
}


@dataclass(frozen=True)
class Tree:
    """A detached mount and the place it goes to."""

    path: str
    descriptor: int
    folder: bool


def system_folders() -> list[str]:
    """What a program needs to run: the system's files and this interpreter's."""
    found = ["/usr"]
    for prefix in (sys.base_prefix, sys.prefix):
        if not _below(prefix, found):
            found.append(prefix)
    return found


def links() -> list[str]:
    """Top-level names that are links into `/usr`."""
    return [path for path in _LINKED if os.path.islink(path)]


def settings() -> list[str]:
    """Files of `/etc` that programs need and that say nothing about the machine's users."""
    return _present(_SETTINGS)


def shared_paths() -> list[str]:
    """What a program needs besides the folders, where the machine's own tree is used."""
    own = [path for path in _LINKED if not os.path.islink(path)]  # a link would show what is covered
    return [*own, *_SETTINGS, "/etc/passwd", "/etc/group", "/etc/nsswitch.conf"]


def uncovered(bound: Iterable[str], hidden: Iterable[str]) -> list[str]:
    """The parts of the bound trees that hold none of the covered folders, as few as say it."""
    bound = list(bound)
    covered = [*covered_folders(bound), *hidden]
    found: list[str] = []
    pending = list(bound)
    while pending:
        path = pending.pop()
        if _below(path, covered):
            continue
        if any(_below(folder, [path]) for folder in covered):
            pending += [entry.path for entry in os.scandir(path) if not entry.is_symlink()]
        else:
            found.append(path)
    return found


def covered_folders(bound: Iterable[str]) -> list[str]:
    """Package folders and other people's software below the bound trees."""
    patterns = ["local/src", "src"]
    patterns += [
        f"{place}lib/python3*/{kind}-packages" for place in ("", "local/") for kind in ("site", "dist")
    ]
    return sorted({path for base in bound for pattern in patterns for path in glob.glob(f"{base}/{pattern}")})


def build(read_only: Iterable[Sequence[str]], hidden: Iterable[str]) -> None:
    """Make a private root of the system's folders and `read_only`, and pivot into it.

    Args:
        read_only: further folders to show, as (where it is, where it is seen).
        hidden: folders to cover with an empty one, where they would be visible.
    """
    bound = system_folders()
    covered = [*covered_folders(bound), *(path for path in hidden if _below(path, bound))]
    for source, target in read_only:
        covered += [target + path[len(source) :] for path in hidden if _below(path, [source])]
    misplaced = [path for path in bound if _below(path, WRITABLE)]
    if misplaced:
        raise ValueError(
            f"the interpreter lies in {misplaced[0]}, which a sandbox covers with its own folder"
        )
    trees = [_detach(path) for path in _present(bound)]
    trees += [_detach(path) for path in _present(_LINKED) if not os.path.islink(path)]
    trees += [_detach(path) for path in _present(_SETTINGS)]
    trees += [_detach(source, seen_at=target) for source, target in read_only]
    devices = [_detach(path, kernel.ATTR_NOSUID | kernel.ATTR_NOEXEC) for path in DEVICES]
    links = {path: os.readlink(path) for path in _LINKED if os.path.islink(path)}
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount(
        "tmpfs", BASE, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755,size=8m,nr_inodes=8192"
    )
    for path in ("/proc", SCRATCH, "/run/empty", *WRITABLE, "/etc", "/home", "/root", "/var/empty"):
        os.makedirs(BASE + path, exist_ok=True)
    for path, target in (links | _DEVICE_LINKS).items():
        os.symlink(target, BASE + path)
    for path, text in _TEXTS.items():
        with open(BASE + path, "w") as file:
            file.write(text)
    for tree in (*trees, *devices):
        _attach(tree)
    for path in covered:
        if os.path.isdir(BASE + path):
            _attach(_detach(BASE + "/run/empty", seen_at=path))
    kernel.mount("/proc", BASE + "/proc", None, kernel.MS_BIND | kernel.MS_REC)
    os.chdir(BASE)
    kernel.pivot_to_current_folder()
    seal()


def seal() -> None:
    """Make the root itself read-only."""
    descriptor = os.open("/", os.O_PATH)
    try:
        kernel.set_mount_attributes(descriptor, kernel.ATTR_RDONLY, recursive=False)
    finally:
        os.close(descriptor)


def mount_scratch(disk_bytes: int, inodes: int) -> None:
    """One quota for everything writable, seen as the work folder, `/tmp` and `/dev/shm`."""
    flags = kernel.MS_NOSUID | kernel.MS_NODEV
    kernel.mount("tmpfs", SCRATCH, "tmpfs", flags, f"mode=755,size={disk_bytes},nr_inodes={inodes}")
    for place, path in enumerate(WRITABLE):
        source = f"{SCRATCH}/{place}"
        os.mkdir(source)
        os.chmod(source, 0o755 if path == WORK else 0o1777)
        kernel.mount(source, path, None, kernel.MS_BIND)
    kernel.unmount(SCRATCH)


def _below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in folders)


def _present(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if os.path.exists(path)]


def _detach(path: str, attributes: int = 0, *, seen_at: str = "") -> Tree:
    descriptor = kernel.clone_tree(os.path.realpath(path))
    read_only = kernel.ATTR_RDONLY | kernel.ATTR_NOSUID | kernel.ATTR_NODEV
    kernel.set_mount_attributes(descriptor, attributes or read_only)
    return Tree(seen_at or path, descriptor, os.path.isdir(path))


def _attach(tree: Tree) -> None:
    target = BASE + tree.path
    if tree.folder:
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w"):
            pass
    kernel.attach_tree(tree.descriptor, target)
    os.close(tree.descriptor)
