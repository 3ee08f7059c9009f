"""Listening sockets, bound before a server starts: a port in use is an answer and not a log line."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

from openenv.errors import UsageError

BACKLOG = 2048
_LISTEN = "0A"
_LAST_PORT = 65535


def listen_tcp(host: str, port: int) -> socket.socket:
    """A listening TCP socket.

    Args:
        host: name or address to bind; of a name's addresses the first is taken, IPv4 before IPv6.
        port: port to bind; 0 takes a free one.

    Raises:
        UsageError: the port is in use, may not be bound, or the host is not this machine's.
    """
    if not 0 <= port <= _LAST_PORT:
        raise UsageError(f"There is no port {port}: ports go from 0 to {_LAST_PORT}.")
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise UsageError(f"Cannot listen on {host!r}: this name has no address here.") from None
    family, kind, protocol, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    sock = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        # Listening here and not later: of two servers that bound one port, the second must hear of it.
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise UsageError(_complaint(host, port, error)) from None
    return sock


def _complaint(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        pid = listening_process(port)
        by = f" by process {pid} ({_command(pid)})" if pid is not None else ""
        return f"Port {port} on {host} is in use{by}. Choose another with --port; --port 0 takes a free one."
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"Port {port} on {host} may not be bound: {error.strerror}. --port 0 takes a free one."
    return f"Cannot listen on {host}:{port}: {error.strerror or error}."


def listen_unix(path: str) -> socket.socket:
    """A listening Unix socket that only this user may connect to.

    A socket file that a dead server left behind is replaced.

    Raises:
        UsageError: a live server listens there, something else is in the way, or the path cannot be bound.
    """
    _remove_dead_socket(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(path)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise UsageError(f"Cannot listen on the Unix socket {path}: {error.strerror or error}.") from None
    finally:
        os.umask(before)
    return sock


def inherited(fd: int) -> socket.socket:
    """The listening socket that the parent process left open under a descriptor.

    Raises:
        UsageError: there is none.
    """
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise UsageError(f"Descriptor {fd} is no socket to listen on: {error.strerror or error}.") from None
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.detach()
        raise UsageError(f"Descriptor {fd} is a socket that does not listen.")
    return sock


def _remove_dead_socket(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise UsageError(f"Cannot listen on {path}: a file that is no socket is in the way.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError as error:
            raise UsageError(f"Cannot listen on the Unix socket {path}: {error.strerror}.") from None
        else:
            raise UsageError(f"A server listens on the Unix socket {path} already.")


def url_of(sock: socket.socket, scheme: str = "http") -> str:
    """The URL under which a listening socket is reached from this machine."""
    if sock.family == getattr(socket, "AF_UNIX", None):
        return f"unix:{sock.getsockname()}"
    address, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - read, not bound
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def listening_process(port: int) -> int | None:
    """Id of the process that listens on a TCP port of this machine, where `/proc` tells us; else None."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not inodes:
        return None
    for folder in Path("/proc").glob("[0-9]*/fd"):
        try:
            if any(os.readlink(entry) in inodes for entry in folder.iterdir()):
                return int(folder.parent.name)
        except OSError:  # Another user's process, or one that just ended.
            continue
    return None


def _listening_inodes(port: int) -> set[str]:
    found: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "?"
