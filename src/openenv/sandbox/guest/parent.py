"""The warm parent: an interpreter with everything imported, from which sandboxes are forked.

Three processes start one after the other, all from one program: the guard, which only waits for the
server's death and then ends and cleans up everything; the stage, which enters the namespaces; and the
parent, process 1 in there. The parent holds no secret: it starts with an empty environment and sees nothing
of the server.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
import threading
from dataclasses import dataclass, field
from typing import Any

from . import confine, files, kernel, landlock, root, wire
from .cells import Interpreter
from .init import NOTHING, Facts, Init, Shown
from .tree import Tree, anonymous

_SHUTDOWN_S = 2.0
_REHEARSALS = 64


@dataclass
class Settings:
    """How the server wants its sandboxes.

    Attributes:
        mode: `namespaces`; `confined` (Landlock and filter over the machine's file tree); `inner` (the same
            in namespaces and a file tree that another program has made); `plain` (nothing).
        modules: what to import before the first sandbox.
        packages: folders to put on the module path.
        read_only: further folders to show, as (where it is, where it is seen).
        hidden: folders never to show.
        uid: the user to become where this starts as root.
        folders: folders to remove with their content's control groups or files when the server dies.
    """

    mode: str
    modules: list[str] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)
    read_only: list[tuple[str, str]] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    uid: int = 65534
    folders: list[str] = field(default_factory=list)


def main(control: int) -> None:
    """Start; never returns. The first frame on the channel holds the `Settings`.

    Args:
        control: descriptor of the server's channel.
    """
    channel = socket.socket(fileno=control)
    first = wire.receive(channel)
    if first is None:
        os._exit(0)
    wanted = Settings(**first.message)
    server = os.pidfd_open(os.getppid() or os.getpid())
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    tree = Tree(private=False)
    stage = os.fork()
    if stage:
        channel.close()
        _guard(server, stage, tree, wanted)
    os.close(server)
    kernel.die_with_parent()
    try:
        _become_parent(wanted)
        serve(channel, wanted)
    except BaseException as error:  # the server must hear of it
        wire.send(channel, {"failed": type(error).__name__, "text": str(error), "errno": _number(error)})
        os._exit(1)


def _number(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _guard(server: int, stage: int, tree: Tree, wanted: Settings) -> None:
    """Wait for the stage or the server to end; then nothing may be left. Never returns."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    poll = select.poll()
    staged = os.pidfd_open(stage)
    poll.register(server, select.POLLIN)
    poll.register(staged, select.POLLIN)
    ended = {ready for ready, _ in poll.poll()}
    if staged not in ended:
        # In the confined mode the inits end their sandboxes when the server's channels close.
        poll.unregister(server)
        poll.poll(100 if wanted.mode == "namespaces" else int(_SHUTDOWN_S * 500))
    tree.sweep(_SHUTDOWN_S)
    for folder in wanted.folders:
        _remove(folder)
    os._exit(0)


def _remove(folder: str) -> None:
    import time

    if not os.path.isdir(folder):
        return
    if not os.path.exists(os.path.join(folder, "cgroup.procs")):
        files.remove(folder)
        return
    for _ in range(100):
        for name in (*os.listdir(folder), ""):
            path = os.path.join(folder, name)
            if os.path.isdir(path):
                try:
                    os.rmdir(path)
                except OSError:
                    continue
        if not os.path.isdir(folder):
            return
        time.sleep(0.01)


def _become_parent(wanted: Settings) -> None:
    if wanted.mode == "namespaces":
        _enter_namespaces(wanted)
    elif wanted.mode == "confined" and os.geteuid() == 0:
        _become_user(wanted.uid)
    sys.path += wanted.packages
    for name in wanted.modules:
        importlib.import_module(name)
    if threading.active_count() > 1 or _kernel_threads() > 1:
        raise RuntimeError("an imported module started a thread; sandboxes cannot be forked from here")
    sys.dont_write_bytecode = True
    for internet in ("none", "loopback"):
        for counted in (False, True):
            order = confine.Order(0, 0, 0, 0, 0, 0, 0, network=internet, counted=counted)
            confine.PROGRAMS.get(confine.policy_for(order, private_tree=wanted.mode != "confined"))
    confine.own_data()
    _rehearse()
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection in a fresh child would touch, and so copy, every page


def _rehearse() -> None:
    """Run cells here until the interpreter has adapted its code to them.

    Sessions share what it wrote; otherwise each would write, and so copy, the same pages in its first cells.
    """
    names = ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__")
    streams = {name: getattr(sys, name) for name in names}
    main, handler = sys.modules["__main__"], signal.getsignal(signal.SIGINT)
    asking, answering = socket.socketpair()
    with asking, answering:
        interpreter = Interpreter()
        for _ in range(_REHEARSALS):
            wire.send(asking, {"op": "exec", "nonce": "0", "code": 8}, b"_x = 1\n1")
            frame = wire.receive(answering)
            if frame is not None:
                reply, images = interpreter.run(frame.payload.decode(), b"")
                wire.send(answering, reply, images)
                wire.receive(asking)
        interpreter.forget()
    sys.modules["__main__"] = main
    signal.signal(signal.SIGINT, handler)
    for name, stream in streams.items():
        setattr(sys, name, stream)


def _kernel_threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:  # an outer container masks /proc
        return 1


def _become_user(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    kernel.die_with_parent()


def _enter_namespaces(wanted: Settings) -> None:
    """Namespaces of the parent's own, then the private root; root gives up its user first."""
    inner = kernel.NEWUSER | kernel.NEWNS | kernel.NEWIPC | kernel.NEWUTS | kernel.NEWNET | kernel.NEWPID
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0 and kernel.has_capability(kernel.CAP_SYS_ADMIN):
        kernel.unshare(kernel.NEWNS)
        root.build(wanted.read_only, wanted.hidden)
        uid = gid = wanted.uid
        _become_user(uid)
        _own_namespaces(inner, uid, gid)
    else:
        if uid == 0:
            uid = gid = wanted.uid
            _become_user(uid)
        _own_namespaces(inner, uid, gid)
        root.build(wanted.read_only, wanted.hidden)
    child = os.fork()
    if child:
        os.closerange(3, 256)
        os.waitpid(child, 0)
        os._exit(0)
    kernel.die_with_parent()
    try:
        kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    except OSError:
        return  # an outer container masks /proc; the doctor reports what that costs


def _own_namespaces(flags: int, uid: int, gid: int) -> None:
    own = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        kernel.unshare(flags)
        kernel.map_ids(0, uid, gid, own)
    finally:
        os.close(own)


def serve(channel: socket.socket, wanted: Settings) -> None:
    """Fork sandboxes on request until the server goes away; never returns."""
    private = wanted.mode == "namespaces"
    shown = _shown(wanted) if wanted.mode == "confined" else NOTHING
    home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC) if private else -1
    wire.send(channel, {"ready": os.getpid(), "abi": landlock.abi(), "spaces": _spaces()})
    base, visible = anonymous(os.getpid()), bool(os.listdir("/proc"))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        frame = wire.receive(channel)
        if frame is None:
            os._exit(0)
        if private:
            kernel.unshare(kernel.NEWPID)
        pid = os.fork()
        if pid == 0:
            channel.close()
            if private:
                os.close(home)
            _become_init(frame, wanted, Facts(shown, base, visible))
        if private:
            kernel.setns(home, kernel.NEWPID)
        watch = os.pidfd_open(pid)
        wire.send(channel, {"pid": pid}, b"", [watch])
        os.close(watch)
        frame.close()


def _spaces() -> dict[str, str]:
    """Identity of the parent's own namespaces: a sandbox's must differ from them too."""
    found = {}
    for name in ("mnt", "pid", "net", "ipc", "uts", "user"):
        try:
            found[name] = os.readlink(f"/proc/self/ns/{name}")
        except OSError:
            continue
    return found


def _become_init(frame: wire.Frame, wanted: Settings, facts: Facts) -> None:
    """In the child: put up the layers, then serve as the sandbox's init; never returns."""
    control, *streams = frame.descriptors[:4]
    groups = frame.descriptors[4:]
    channel = socket.socket(fileno=control)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        for group in groups:
            os.write(group, b"0")
            os.close(group)
        os.setsid()
        kernel.die_with_parent()
        order = confine.Order.parse(frame.message)
        extra = _confine(order, wanted, facts.shown)
        confined = wanted.mode != "plain"
        init = Init(channel, order, facts, private=wanted.mode == "namespaces", confined=confined)
        pid, watch = init.start_session(streams)
        for descriptor in streams:
            os.close(descriptor)
        wire.send(channel, {"event": "ready", "pid": pid}, b"", [watch, *extra])
        for descriptor in (watch, *extra):
            os.close(descriptor)
        init.serve()
    except BaseException as error:  # the server must hear of it
        failure: dict[str, Any] = {"event": "failed", "failed": type(error).__name__, "text": str(error)}
        wire.send(channel, failure)
    finally:
        os._exit(1)


def _confine(order: confine.Order, wanted: Settings, shown: Shown) -> list[int]:
    if wanted.mode == "namespaces":
        extra = confine.enter_namespaces(order)
        confine.limit(order)
        confine.fence_private_tree(order)
        confine.filter_calls(order, private_tree=True)
        confine.clean_environment(order)
        return extra
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    os.umask(0o077)
    os.chdir(order.folder)
    if wanted.mode in ("confined", "inner"):
        kernel.no_new_privileges()
        confine.limit(order, processes=_processes_of_user() + order.processes)
    if wanted.mode == "confined":
        confine.fence_shared_tree(order, *shown, trusted=True)
    confine.clean_environment(order)
    return []


def _shown(wanted: Settings) -> Shown:
    """What sandboxes may read, and what they may list, where they see the machine's own file tree."""
    bound = root.system_folders()
    read_only = [
        *root.uncovered(bound, wanted.hidden),
        *root.shared_paths(),
        *wanted.packages,
        *(source for source, _ in wanted.read_only),
    ]
    return read_only, bound


def _processes_of_user() -> int:
    """Processes and threads of this user anywhere: without a user namespace the limit counts them all."""
    total, own = 0, os.getuid()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}").st_uid == own:
                    total += len(os.listdir(f"/proc/{name}/task"))
            except OSError:
                continue
    return total
