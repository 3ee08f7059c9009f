"""Files of a sandbox, handled by its init: confined as the session is, so a planted link leads nowhere."""

from __future__ import annotations

import os
import stat
from typing import Any

MAX_ENTRIES = 20000
_MAX_DEPTH = 128


class FileRefused(Exception):
    """A file operation that cannot be done; the text says why."""


def read(path: str, max_bytes: int) -> tuple[dict[str, Any], bytes]:
    """Content of a plain file.

    Raises:
        FileRefused: it is no plain file, or larger than `max_bytes`.
        OSError: the kernel refused.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise FileRefused(f"{path} is not a plain file")
        data = _upto(descriptor, max_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > max_bytes:
        raise FileRefused(f"{path} is larger than {max_bytes} bytes")
    return {"mode": stat.S_IMODE(facts.st_mode)}, data


def write(path: str, data: bytes, mode: int) -> None:
    """Make a plain file of `data`, with its folders.

    Raises:
        FileRefused: something that is no plain file is in the way.
        OSError: the kernel refused, for example because the disk quota is used up.
    """
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, mode)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileRefused(f"{path} is not a plain file")
        os.fchmod(descriptor, mode)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


def entries(path: str, *, recursive: bool) -> list[list[Any]]:
    """Name, kind (file, folder, link, other) and size of everything in a folder, sorted.

    Raises:
        FileRefused: more than `MAX_ENTRIES` of them.
        OSError: the kernel refused.
    """
    found: list[list[Any]] = []
    pending = [("", path, 0)]
    while pending:
        prefix, folder, depth = pending.pop()
        with os.scandir(folder) as listing:
            for entry in listing:
                facts = entry.stat(follow_symlinks=False)
                kind = _kind(facts.st_mode)
                found.append([prefix + entry.name, kind, facts.st_size, stat.S_IMODE(facts.st_mode)])
                if len(found) > MAX_ENTRIES:
                    raise FileRefused(f"{path} holds more than {MAX_ENTRIES} entries")
                if recursive and kind == "folder" and depth < _MAX_DEPTH:
                    pending.append((f"{prefix}{entry.name}/", entry.path, depth + 1))
    return sorted(found)


def collect(path: str, max_bytes: int) -> tuple[list[list[Any]], bytes]:
    """Every plain file below a folder: name, mode and size, and the contents one after the other.

    Raises:
        FileRefused: together they are larger than `max_bytes`.
        OSError: the kernel refused.
    """
    listed: list[list[Any]] = []
    content = bytearray()
    for name, kind, _, mode in entries(path, recursive=True):
        if kind != "file":
            continue
        _, data = read(os.path.join(path, name), max_bytes)
        content += data
        listed.append([name, mode, len(data)])
        if len(content) > max_bytes:
            raise FileRefused(f"the files below {path} are larger than {max_bytes} bytes together")
    return listed, bytes(content)


def empty(folder: str) -> None:
    """Remove everything in a folder that untrusted code, now dead, has filled.

    Folders may be nested deeper than a path can name or a recursion can follow: each is moved to the top
    before it is emptied.

    Raises:
        OSError: the kernel refused.
    """
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        prefix = os.urandom(8).hex()
        waiting: list[str] = []
        _flatten(top, top, prefix, waiting)
        while waiting:
            name = waiting.pop()
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
            try:
                _flatten(inner, top, prefix, waiting)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)


def _flatten(folder: int, top: int, prefix: str, waiting: list[str]) -> None:
    """Unlink the files of a folder and move its folders to the top."""
    for name in os.listdir(folder):
        if not stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
            os.unlink(name, dir_fd=folder)
            continue
        if os.geteuid() != 0:  # root needs no permission, and never touches one for a name it did not make
            os.chmod(name, 0o700, dir_fd=folder)
        moved = f"{prefix}.{len(waiting)}.{os.urandom(4).hex()}"
        os.rename(name, moved, src_dir_fd=folder, dst_dir_fd=top)
        waiting.append(moved)


def remove(folder: str) -> None:
    """Remove a folder and everything in it; what cannot be removed stays."""
    try:
        empty(folder)
        os.rmdir(folder)
    except OSError:
        return


def _upto(descriptor: int, wanted: int) -> bytes:
    parts = bytearray()
    while len(parts) < wanted:
        data = os.read(descriptor, min(1 << 20, wanted - len(parts)))
        if not data:
            break
        parts += data
    return bytes(parts)


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"
