"""One sandbox: commands, files, a Python session, and its end.

States: *running* from `create` until `kill`, or until its init is found dead; then every operation raises
`SandboxGoneError`. The session inside has a life of its own: it may die and be reset while the sandbox runs.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from openenv.errors import SandboxError, SandboxFileError, SandboxGoneError

from . import backends
from .commands import run_command
from .control import Control
from .limits import Limits, NetworkPolicy, Packages
from .outputs import Output
from .python_session import PythonSession
from .results import Entry, ExecResult, RunResult, Snapshot, Usage
from .tiers import Report, Tier
from .warm import WarmParent

_MAX_TREE = 64 << 20


class Sandbox:
    """A confined place to run code that nobody trusts; make one with `create`.

    Calls on one sandbox are carried out one after the other; `kill` interrupts them from any thread.

    Attributes:
        limits: what it may use.
        network: whom it may talk to.
        report: what isolates it, as verified when its backend was first used.
        session: the Python session.
        work: the work folder, as code inside names it; relative paths start there.
    """

    @classmethod
    def create(
        cls,
        *,
        limits: Limits | None = None,
        network: NetworkPolicy | None = None,
        packages: Packages | None = None,
        backend: str = "auto",
        min_tier: Tier | str = Tier.A,
        degrade_to: Tier | str | None = None,
        environment: Mapping[str, str] | None = None,
        snapshot: Snapshot | None = None,
    ) -> Self:
        """Make a sandbox.

        Args:
            limits: what it may use.
            network: whom it may talk to; by default nobody.
            packages: Python packages that code inside may import.
            backend: `auto` takes the strongest embedded one; others by name, see `backends.names`.
                `subprocess` isolates nothing and is taken only when it is named.
            min_tier: how strongly it must isolate.
            degrade_to: the weakest tier that you accept where `min_tier` cannot be had.
            environment: variables of the programs inside; nothing else is inherited.
            snapshot: files to start with.

        Raises:
            IsolationError: this machine cannot isolate that strongly; nothing was started.
            SandboxOptionError: an option makes no sense.
            SandboxError: it could not be made.
        """
        chosen = backends.choose(backend, packages or Packages(), min_tier, degrade_to, limits)
        made = cls(chosen.parent, chosen.report, limits, network, environment, owns_parent=chosen.single)
        if snapshot is not None:
            try:
                made.restore(snapshot)
            except BaseException:
                made.kill()
                raise
        return made

    def __init__(
        self,
        parent: WarmParent,
        report: Report | None,
        limits: Limits | None = None,
        network: NetworkPolicy | None = None,
        environment: Mapping[str, str] | None = None,
        *,
        owns_parent: bool = False,
        without: Sequence[str] = (),
    ) -> None:
        """Make a sandbox from a warm parent; `create` chooses the parent.

        Args:
            parent: where to fork it from.
            report: what is known about its isolation.
            limits: what it may use.
            network: whom it may talk to.
            environment: variables of the programs inside.
            owns_parent: the parent ends with this sandbox.
            without: layers to leave out; for the tests that show what each is for.
        """
        self.limits = limits or Limits()
        self.network = network or NetworkPolicy()
        self._report = report
        self._parent = parent
        self._owns_parent = owns_parent
        self.lock = threading.RLock()
        self._end = threading.Lock()
        self._running = True
        self.branches: list[PythonSession] = []
        self.fenced = parent.landlock_abi > 0 and parent.mode != "plain" and "landlock" not in without
        ours, theirs = socket.socketpair()
        output = Output(self.limits.output_bytes)
        try:
            with theirs:
                streams = [theirs.fileno(), output.theirs_out, output.theirs_err]
                self._made = parent.make(self._order(environment or {}, without), streams)
        except BaseException:
            ours.close()
            output.close()
            raise
        finally:
            output.give_away()
        self.work = self._made.folder
        self.control = Control(self._made.control)
        self._kills = self._made.group.kills() if self._made.group else 0
        self.session = PythonSession(self)
        self.session.attach(ours, output, self._made.pid, self._made.session)

    def _order(self, environment: Mapping[str, str], without: Sequence[str]) -> dict[str, Any]:
        limits = self.limits
        paths = {"PYTHONPATH": ":".join(self._parent.site)} if self._parent.site else {}
        return {
            "memory": limits.memory_bytes,
            "processes": limits.processes,
            "files": limits.open_files,
            "file_size": limits.file_bytes,
            "disk": limits.disk_bytes,
            "inodes": limits.inodes,
            "cpu": limits.cpu_s,
            "network": self.network.kind,
            "environment": {**paths, **environment},
            "without": list(without),
        }

    # ------------------------------------------------------------------ code

    def exec(self, code: str, *, stdin: str | bytes = b"", timeout_s: float | None = None) -> ExecResult:
        """Run one cell in the session; see `PythonSession.exec`."""
        return self.session.exec(code, stdin=stdin, timeout_s=timeout_s)

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        cwd: str = "",
        environment: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> RunResult:
        """Run a command to its end, beside the session and out of its reach as far as reporting goes.

        Args:
            argv: program and arguments; no shell is involved.
            stdin: what it reads.
            cwd: folder to start in, below the work folder.
            environment: further variables.
            timeout_s: seconds of wall time, by default the sandbox's `Limits.wall_s`; then it is killed with
                everything that it started.

        Raises:
            SandboxGoneError: the sandbox is dead.
        """
        with self.lock:
            self._need()
            seconds = self.limits.wall_s if timeout_s is None else timeout_s
            facts = {"argv": list(argv), "cwd": self._path(cwd), "environment": dict(environment or {})}
            return run_command(self, facts, stdin, seconds)

    def fork(self, count: int = 1) -> list[PythonSession]:
        """Branches of the session; see `PythonSession.fork`."""
        return self.session.fork(count)

    def reset(self) -> None:
        """Kill everything inside, remove every file, start a fresh session: in about a millisecond.

        Raises:
            SandboxGoneError: the sandbox is dead, or could not be emptied and was killed.
        """
        with self.lock:
            self._need()
            for branch in self.branches:
                branch.discard()
            self.branches.clear()
            try:
                self._restart()
            except SandboxError as error:
                self.kill()
                raise SandboxGoneError(f"the sandbox could not be reset and was killed: {error}") from error

    def _restart(self) -> None:
        ours, theirs = socket.socketpair()
        output = Output(self.limits.output_bytes)
        try:
            with theirs:
                passed = [theirs.fileno(), output.theirs_out, output.theirs_err]
                answer = self.control.ask("session", descriptors=passed)
        except BaseException:
            ours.close()
            output.close()
            raise
        finally:
            output.give_away()
        (watch,) = answer.descriptors
        self.control.limit = None
        self.session.attach(ours, output, answer.message["pid"], watch)

    # ------------------------------------------------------------------ files

    def read(self, path: str, *, max_bytes: int = 16 << 20) -> bytes:
        """Content of a plain file.

        Raises:
            SandboxFileError: there is none, or it is larger than `max_bytes`.
        """
        data: bytes = self._ask_files("read", path, max=max_bytes).payload
        return data

    def write(self, path: str, data: bytes | str, *, mode: int = 0o644) -> None:
        """Make a plain file, with its folders.

        Raises:
            SandboxFileError: the disk quota is used up, or something is in the way.
        """
        raw = data.encode() if isinstance(data, str) else data
        self._ask_files("write", path, payload=raw, mode=mode)

    def list(self, path: str = "", *, recursive: bool = False) -> list[Entry]:
        """What is in a folder, sorted by name.

        Raises:
            SandboxFileError: there is no such folder.
        """
        answer = self._ask_files("list", path, recursive=recursive)
        return [Entry(name, kind, size) for name, kind, size, _ in answer.message["entries"]]

    def put(self, source: str | os.PathLike[str], path: str = "") -> None:
        """Copy a file, or the plain files of a folder, into the sandbox; links are left out.

        Raises:
            SandboxFileError: the disk quota is used up.
            OSError: `source` cannot be read.
        """
        origin = Path(source)
        if origin.is_file():
            self.write(path or origin.name, origin.read_bytes(), mode=origin.stat().st_mode & 0o777)
            return
        for folder, _, names in os.walk(origin):
            for name in sorted(names):
                file = Path(folder, name)
                if file.is_file() and not file.is_symlink():
                    inside = os.path.join(path, file.relative_to(origin))
                    self.write(inside, file.read_bytes(), mode=file.stat().st_mode & 0o777)

    def get(self, path: str, target: str | os.PathLike[str], *, max_bytes: int = _MAX_TREE) -> None:
        """Copy the plain files of a folder of the sandbox to `target`, which is made; links are left out.

        Raises:
            SandboxFileError: they are larger than `max_bytes` together, or a name leads out of the folder.
        """
        base = Path(target)
        for name, (data, mode) in self._collect(path, max_bytes).items():
            if name.startswith("/") or ".." in Path(name).parts:
                raise SandboxFileError(f"{name!r} leads out of the folder", path=name, reason="ValueError")
            file = base / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            file.chmod(mode & 0o777)
        base.mkdir(parents=True, exist_ok=True)

    def snapshot(self, *, max_bytes: int = _MAX_TREE) -> Snapshot:
        """The plain files of the work folder; objects in memory are copied by `fork`, not by this.

        Raises:
            SandboxFileError: they are larger than `max_bytes` together.
        """
        return Snapshot(self._collect("", max_bytes))

    def restore(self, snapshot: Snapshot) -> None:
        """Write the files of a snapshot; files that are there and not in it stay."""
        for name, (data, mode) in snapshot.files.items():
            self.write(name, data, mode=mode)

    def _collect(self, path: str, max_bytes: int) -> dict[str, tuple[bytes, int]]:
        answer = self._ask_files("collect", path, max=min(max_bytes, _MAX_TREE))
        found = {}
        place = 0
        for name, mode, size in answer.message["entries"]:
            found[name] = (answer.payload[place : place + size], mode)
            place += size
        return found

    def _ask_files(self, operation: str, path: str, **facts: Any) -> Any:
        with self.lock:
            self._need()
            try:
                return self.control.ask(operation, path=self._path(path), **facts)
            except SandboxGoneError:
                raise
            except SandboxError as error:
                reason = error.data.get("failed", "TimeoutError")
                raise SandboxFileError(
                    f"{operation} {path or '.'}: {error}", path=path, reason=reason
                ) from error

    def _path(self, path: str) -> str:
        return os.path.normpath(os.path.join(self.work, path))

    # ------------------------------------------------------------------ facts and end

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._running and not self.control.gone

    @property
    def tier(self) -> Tier:
        """How strongly it isolates."""
        return self._report.tier if self._report else Tier.NONE

    @property
    def report(self) -> Report:
        """What isolates it.

        Raises:
            SandboxError: it was not examined.
        """
        if self._report is None:
            raise SandboxError("this sandbox was made without an examination")
        return self._report

    def statistics(self) -> Usage:
        """What it holds now.

        Raises:
            SandboxGoneError: it is dead.
        """
        with self.lock:
            self._need()
            facts = self.control.ask("usage").message
            return Usage(facts["memory"], facts["processes"], facts["disk"])

    def ran_out_of_memory(self) -> bool:
        """Whether the control group killed since this was last asked."""
        if self._made.group is None or not self._running:
            return False
        before, self._kills = self._kills, self._made.group.kills()
        return self._kills > before

    def kill(self) -> None:
        """End it: every process inside dies, every file is gone. Twice is once."""
        with self._end:
            if not self._running:
                return
            self._running = False
        self._parent.release(self._made)
        with self.lock:
            for session in (self.session, *self.branches):
                session.discard()
        self.control.gone = True
        if self._owns_parent:
            self._parent.close()

    def _need(self) -> None:
        if not self.alive:
            raise SandboxGoneError("the sandbox is dead")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    def __repr__(self) -> str:
        state = "running" if self.alive else "dead"
        return f"<Sandbox {self._parent.mode} tier {self.tier.value} {state} {asdict(self.limits)}>"
