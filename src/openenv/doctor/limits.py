"""Limits of the machine that a server meets: open files, the default port, processors, memory."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from openenv.doctor.findings import Finding, Status

ENOUGH_FILES = 4096
"""Open files below which a server with its default number of sessions may run out: one socket each."""

DEFAULT_PORT = 8000


def limits() -> list[Finding]:
    """One finding per limit."""
    return [open_files(), default_port(), processors()]


def open_files() -> Finding:
    """How many files and sockets a process may open."""
    try:
        import resource
    except ImportError:
        return Finding("limits", "open files", Status.OK, "not limited by this platform")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    detail = f"{_number(soft)} (may be raised to {_number(hard)}); a session takes one"
    if soft == resource.RLIM_INFINITY or soft >= ENOUGH_FILES:
        return Finding("limits", "open files", Status.OK, detail)
    wanted = hard if hard != resource.RLIM_INFINITY else 65536
    return Finding("limits", "open files", Status.WARNING, detail, f"ulimit -n {wanted}")


def default_port(port: int = DEFAULT_PORT) -> Finding:
    """Whether `openenv serve` can have its default port."""
    name = f"port {port}"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            why = "in use" if error.errno == errno.EADDRINUSE else error.strerror
            fix = "openenv serve TARGET --port 0   (takes a free one)"
            return Finding("limits", name, Status.WARNING, f"{why}", fix)
    return Finding("limits", name, Status.OK, "free on 127.0.0.1")


def processors() -> Finding:
    """Processors and memory this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    detail = f"{usable} usable"
    memory = _available_memory()
    if memory:
        detail += f", {memory / 2**30:.1f} GiB memory available"
    return Finding("limits", "processors", Status.OK, detail)


def _available_memory() -> int | None:
    """Bytes, as the kernel estimates them; None where it does not say."""
    file = Path("/proc/meminfo")
    if not file.exists():
        return None
    for line in file.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _number(limit: int) -> str:
    return "unlimited" if limit < 0 else str(limit)
