"""The layers around one sandbox, put up by its init before any untrusted code exists."""

from __future__ import annotations

import functools
import os
import resource
import sys
from dataclasses import dataclass, field
from typing import Any

from . import kernel, landlock, root, seccomp

PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Order:
    """What the supervisor asks a sandbox to be.

    Attributes:
        memory: bytes of the whole tree; also the private memory of one process.
        processes: processes and threads.
        files: open descriptors per process.
        file_size: bytes of one file.
        disk: bytes of everything writable together.
        inodes: files and folders.
        cpu: CPU seconds of one process.
        network: `none`, `loopback` or `proxy`.
        counted: a control group counts memory and processes.
        environment: variables of the programs inside.
        folder: the work folder where there is no private file tree.
        without: layers left out, for the tests that show what each of them is for.
    """

    memory: int
    processes: int
    files: int
    file_size: int
    disk: int
    inodes: int
    cpu: int
    network: str = "none"
    counted: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = root.WORK
    without: tuple[str, ...] = ()

    @classmethod
    def parse(cls, message: dict[str, Any]) -> Order:
        """From the supervisor's request."""
        return cls(**{**message, "without": tuple(message.get("without", ()))})


class Programs:
    """Compiled filters, made in the warm parent so that no sandbox has to."""

    def __init__(self) -> None:
        self._made: dict[seccomp.Policy, bytes] = {}

    def get(self, policy: seccomp.Policy) -> bytes:
        """The program for a policy."""
        if policy not in self._made:
            self._made[policy] = seccomp.program(policy)
        return self._made[policy]


PROGRAMS = Programs()


def policy_for(order: Order, *, private_tree: bool) -> seccomp.Policy:
    """The filter that an order needs."""
    if not private_tree:
        # Without an ipc namespace System V memory would outlive the sandbox, whoever counts it.
        return seccomp.Policy(families=(), shared_memory=False, private_tree=False)
    internet = (seccomp.AF_INET, seccomp.AF_INET6) if order.network != "none" else ()
    return seccomp.Policy(families=(seccomp.AF_UNIX, *internet), shared_memory=order.counted)


def enter_namespaces(order: Order) -> list[int]:
    """Namespaces, private file tree, identity: the caller is already in a pid namespace of its own.

    Returns:
        Descriptors to hand to the supervisor: the proxy's listening socket, if the order asks for one.
    """
    own = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    wanted = {"ipc": kernel.NEWIPC, "uts": kernel.NEWUTS, "network": kernel.NEWNET}
    kernel.unshare(kernel.NEWNS + sum(flag for name, flag in wanted.items() if name not in order.without))
    _private_proc()
    root.mount_scratch(order.disk, order.inodes)
    listening: list[int] = []
    if order.network != "none":
        kernel.loopback_up()
    if order.network == "proxy":
        listening.append(_proxy_socket())
    if "uts" not in order.without:
        kernel.set_hostname("sandbox")
    if "user" not in order.without:
        kernel.unshare(kernel.NEWUSER)
        kernel.map_ids(root.INSIDE_ID, 0, 0, own)
    os.close(own)
    if "capabilities" not in order.without:
        kernel.drop_capabilities()
    kernel.no_new_privileges()
    os.umask(0o022)
    os.chdir(root.WORK)
    return listening


def limit(order: Order, *, processes: int | None = None) -> None:
    """Resource limits of this process and its children; `NPROC` counts in the user namespace just entered."""
    if "limits" in order.without:
        return
    stack = 8 << 20
    wanted = {
        resource.RLIMIT_NPROC: order.processes if processes is None else processes,
        resource.RLIMIT_DATA: order.memory + own_data(),
        resource.RLIMIT_AS: 2 * order.memory + (2 << 30),
        resource.RLIMIT_FSIZE: order.file_size,
        resource.RLIMIT_NOFILE: order.files,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 1 << 20,
        resource.RLIMIT_CPU: order.cpu,
        resource.RLIMIT_STACK: stack,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_SIGPENDING: 256,
    }
    for name, value in wanted.items():
        try:
            resource.setrlimit(name, (value, value))
        except ValueError:  # the machine allows less
            _, hard = resource.getrlimit(name)
            resource.setrlimit(name, (hard, hard))


def fence_private_tree(order: Order) -> landlock.Enforced:
    """Landlock over the private tree: what is mounted read-only may not even be tried."""
    if "landlock" in order.without:
        return landlock.Enforced(0)
    return landlock.restrict(read_only=["/"], writable=root.WRITABLE, devices=root.DEVICES)


def fence_shared_tree(
    order: Order, shown: list[str], listable: list[str], *, trusted: bool
) -> landlock.Enforced:
    """Landlock over the machine's own tree: the only thing between the sandbox and other people's files.

    Args:
        order: what the sandbox shall be.
        shown: folders and files that may be read.
        listable: folders whose names may be seen.
        trusted: for the init, which reads `/proc` and signals what it started.
    """
    if "landlock" in order.without:
        return landlock.Enforced(0)
    return landlock.restrict(
        read_only=[*shown, *(["/proc"] if trusted else [])],
        listable=listable,
        writable=[order.folder],
        devices=root.DEVICES,
        deny_tcp=True,
        scope=not trusted,
    )


def filter_calls(order: Order, *, private_tree: bool) -> None:
    """The last layer: from here on only listed system calls."""
    if "seccomp" not in order.without:
        seccomp.install(PROGRAMS.get(policy_for(order, private_tree=private_tree)))


def clean_environment(order: Order) -> None:
    """Nothing of the server's environment, only what the order names."""
    own = os.path.dirname(sys.executable)
    path = PATH if own in PATH.split(":") else f"{own}:{PATH}"
    os.environ.clear()
    temporary = root.TEMPORARY if order.folder == root.WORK else order.folder
    os.environ.update(
        {"PATH": path, "HOME": order.folder, "LANG": "C.UTF-8", "TMPDIR": temporary, **order.environment}
    )


def _private_proc() -> None:
    """A `/proc` of the own pid namespace; an empty one where an outer container masks `/proc`."""
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    try:
        kernel.mount("proc", "/proc", "proc", flags, "subset=pid")
    except OSError:
        kernel.mount("tmpfs", "/proc", "tmpfs", flags, "size=4k,mode=555")


def _proxy_socket() -> int:
    import socket

    listener = socket.socket()
    listener.bind(("127.0.0.1", 3128))
    listener.listen(64)
    return listener.detach()


@functools.cache
def own_data() -> int:
    """Private memory that this process has before any untrusted code runs, rounded up."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[5]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 64 << 20
