"""The trusted init of one sandbox: process 1, parent of everything inside. It runs no code that was sent.

It reaps and reports wait statuses, starts commands and sessions, reads and writes files, and watches the
tree's memory where no control group does. It ends when the supervisor goes away, and the kernel ends
everything below it.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import time
from dataclasses import dataclass
from typing import Any

from . import confine, files, kernel, root, session, wire
from .tree import Tree, parents

_NEAR_MS, _BUSY_MS, _IDLE_MS = 5, 20, 500
"""How often memory is looked at: near the limit, while there is something to watch, and otherwise."""
_NOT_STARTED = 127
_POLITE = 5


Shown = tuple[list[str], list[str]]
NOTHING: Shown = ([], [])
Answer = tuple[dict[str, Any], bytes, list[int]]
"""What an operation answers: facts, raw bytes, descriptors."""


@dataclass(frozen=True)
class Facts:
    """What the warm parent found out once for all sandboxes.

    Attributes:
        shown: what may be read, and what may be listed, where the file tree is not private.
        base: bytes of anonymous memory that every fork of the parent shares.
        visible: `/proc` shows processes.
    """

    shown: Shown
    base: int
    visible: bool


class Init:
    """One sandbox.

    Args:
        control: the supervisor's channel.
        order: what the sandbox shall be.
        facts: what the parent found out once.
        private: there are namespaces; otherwise only Landlock and the filter, put up per child.
        confined: put up the fences at all.
    """

    def __init__(
        self,
        control: socket.socket,
        order: confine.Order,
        facts: Facts,
        *,
        private: bool,
        confined: bool,
    ) -> None:
        self._control = control
        self._order = order
        self._private = private
        self._shown = facts.shown
        self._confined = confined
        self._own_files = private or (confined and facts.shown == NOTHING)
        self._session: int | None = None
        self._children: dict[int, str] = {}
        self._visible = facts.visible
        self._tree = Tree(private=private, base=facts.base)
        self._watching = self._visible and not order.counted and "memory watch" not in order.without
        self._wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def serve(self) -> None:
        """Work until the supervisor goes away; never returns."""
        gc.enable()
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        waiting, watched = _IDLE_MS, time.monotonic()
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(waiting if self._watching else None)}
            if self._watching and time.monotonic() - watched >= min(waiting, _BUSY_MS) / 1000:
                waiting, watched = self._watch(), time.monotonic()
            if self._control.fileno() in ready:
                frame = wire.receive(self._control)
                if frame is None or frame.message["op"] == "end":
                    self._end()
                    return
                self._answer(frame)
            if self._wake in ready:
                os.read(self._wake, 4096)
            self._reap()

    def _end(self) -> None:
        if not self._private:
            self._tree.sweep()
        os._exit(0)

    def _answer(self, frame: wire.Frame) -> None:
        message = frame.message
        answer: dict[str, Any] = {"re": message.get("re")}
        payload, descriptors = b"", []
        try:
            operation = getattr(self, f"_do_{message['op']}")
            facts, payload, descriptors = operation(message, frame)
            answer |= facts
        except (OSError, files.FileRefused, ValueError, RecursionError, MemoryError) as error:
            answer |= {"failed": type(error).__name__, "text": str(error)}
        frame.close()
        if message.get("re") is not None:
            wire.send(self._control, answer, payload, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)

    def _do_tick(self, message: dict[str, Any], frame: wire.Frame) -> Answer:
        return {}, b"", []

    def _do_session(self, message: dict[str, Any], frame: wire.Frame) -> Answer:
        """A fresh session; everything that ran and every file is gone first."""
        self._children.clear()
        self._tree.kill_all()
        for folder in root.WRITABLE if self._own_files else (self._order.folder,):
            files.empty(folder)
        pid, watch = self.start_session(frame.descriptors)
        return {"pid": pid}, b"", [watch]

    def start_session(self, streams: list[int]) -> tuple[int, int]:
        """Fork a session that talks over `streams`; its number in here, and a descriptor of it."""
        pid = os.fork()
        if pid == 0:
            self._become_child()
            session.main(*streams)
        self._children[pid] = "session"
        self._session = pid
        return pid, os.pidfd_open(pid)

    def _do_spawn(self, message: dict[str, Any], frame: wire.Frame) -> Answer:
        pid = os.fork()
        if pid == 0:
            self._execute(message, frame.descriptors)
        self._children[pid] = "command"
        return {"pid": pid}, b"", []

    def _execute(self, message: dict[str, Any], descriptors: list[int]) -> None:
        """In the child: become the command; never returns."""
        try:
            self._become_child()
            kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            session.settle(dict(enumerate(descriptors)))
            os.closerange(3, 1024)
            os.setsid()
            os.chdir(message["cwd"])
            environment = {**os.environ, **message["environment"]}
            os.execvpe(message["argv"][0], message["argv"], environment)  # noqa: S606 - the purpose
        except BaseException as error:  # nobody above this child could report it
            os.write(2, f"{message['argv'][0]}: {error}\n".encode(errors="replace"))
            os._exit(_NOT_STARTED)

    def _become_child(self) -> None:
        signal.set_wakeup_fd(-1)
        if self._watching:
            os.nice(_POLITE)  # the watcher must get its turn among many that fill memory
        for number in (signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        if not self._private:
            kernel.die_with_parent()
            if self._own_files:
                confine.fence_private_tree(self._order)
                confine.filter_calls(self._order, private_tree=True)
            elif self._confined:
                confine.fence_shared_tree(self._order, *self._shown, trusted=False)
                confine.filter_calls(self._order, private_tree=False)

    def _do_signal(self, message: dict[str, Any], frame: wire.Frame) -> Answer:
        os.kill(message["pid"], message["signal"])
        return {}, b"", []

    def _do_stop(self, message: dict[str, Any], frame: wire.Frame) -> Answer:
        """End a command with everything it started, whatever has since lost its parent included."""
        for target in (-message["pid"], message["pid"]):
            try:
                os.kill(target, signal.SIGKILL)
            except OSError:
                continue
        if self._visible:
            keep = [pid for pid in self._children if pid != message["pid"]]
            self._sweep_beside(keep)
        return {}, b"", []

    def _sweep_beside(self, keep: list[int]) -> None:
        for pid in set(self._tree.pids()).difference(*[self._kept(pid) for pid in keep]):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue

    def _kept(self, pid: int) -> set[int]:
        return {pid} | self._tree.below(pid, parents())

    def _do_usage(self, message: dict[str, Any], frame: wire.Frame) -> Answer:
        memory, processes = self._tree.memory(self._session, 0) if self._visible else (0, 0)
        disk = os.statvfs(self._order.folder)
        used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize if self._private else 0
        return {"memory": memory, "processes": processes, "disk": used}, b"", []

    def _do_read(self, message: dict[str, Any], frame: wire.Frame) -> Answer:
        return *files.read(message["path"], message["max"]), []

    def _do_write(self, message: dict[str, Any], frame: wire.Frame) -> Answer:
        files.write(message["path"], frame.payload, message["mode"])
        return {}, b"", []

    def _do_list(self, message: dict[str, Any], frame: wire.Frame) -> Answer:
        return {"entries": files.entries(message["path"], recursive=message["recursive"])}, b"", []

    def _do_collect(self, message: dict[str, Any], frame: wire.Frame) -> Answer:
        entries, content = files.collect(message["path"], message["max"])
        return {"entries": entries}, content, []

    def _watch(self) -> int:
        """Check the tree's memory; milliseconds until it should be done again."""
        memory, processes = self._tree.memory(self._session, self._order.memory)
        crowded = not self._private and processes > self._order.processes
        if memory > self._order.memory or crowded:
            for pid in self._tree.pids():
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    continue
            reason = "processes" if crowded else "memory"
            wire.send(self._control, {"event": "limit", "limit": reason, "memory": memory})
        if memory > self._order.memory // 2:
            return _NEAR_MS
        return _BUSY_MS if processes > 1 or memory > self._order.memory // 4 else _IDLE_MS

    def _reap(self) -> None:
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            kind = self._children.pop(pid, None)
            if kind is None:
                continue
            if pid == self._session:
                self._session = None
            wire.send(
                self._control,
                {
                    "event": "exit",
                    "pid": pid,
                    "kind": kind,
                    "status": status,
                    "cpu": used.ru_utime + used.ru_stime,
                    "memory": used.ru_maxrss * 1024,
                },
            )
