"""The server's side of a warm parent: starts it, asks it for sandboxes, ends it."""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from openenv.errors import SandboxError, SandboxOptionError

from .cgroups import Group, Groups
from .guest import files, wire
from .guest.parent import Settings
from .limits import Packages

GUEST = Path(__file__).resolve().parent / "guest"
PACKAGE = Path(__file__).resolve().parents[1]
START_S = 60.0
"""How long a warm parent may take to import its modules."""
MODULES = """
abc argparse array ast asyncio base64 bisect collections contextlib copy csv dataclasses datetime
decimal enum fractions functools glob hashlib heapq inspect io itertools json math operator pathlib
pprint random re shutil signal socket statistics string subprocess tempfile textwrap threading time
traceback typing unittest uuid _sitebuiltins
""".split()
_PROGRAM = """
import sys
from importlib.util import module_from_spec, spec_from_file_location as spec
folder = sys.argv[1]
found = spec("_openenv_guest", folder + "/__init__.py", submodule_search_locations=[folder])
package = sys.modules["_openenv_guest"] = module_from_spec(found)
found.loader.exec_module(package)
from _openenv_guest import parent
parent.main(int(sys.argv[2]))
"""
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    # Threads that a numeric library starts at import would forbid forking and new user namespaces.
    **dict.fromkeys(
        ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
    ),
    "MPLBACKEND": "Agg",
}
_VENV = "/opt/venv"
"""Where a virtual environment is seen inside: at home it may lie below a folder that is covered there."""
_FIRST_UID, _UIDS = 0x70000000, 0x0F000000


@dataclass
class Made:
    """A sandbox that a warm parent made.

    Attributes:
        control: channel to its init.
        watch: descriptor of the init's process.
        group: its control group, if there is one.
        folder: the work folder, as code inside names it.
        extra: further descriptors that the order asked for.
        pid: number of the session's process inside.
        session: descriptor of the session's process, owned by the receiver.
    """

    control: socket.socket
    watch: int
    group: Group | None
    folder: str
    extra: list[int]
    pid: int = 0
    session: int = -1


@dataclass(frozen=True)
class Outside:
    """What another program puts around a warm parent.

    Attributes:
        words: that program's command line, which the interpreter's follows.
        python: the interpreter, as seen inside.
        guest: the folder of `openenv.sandbox.guest`, as seen inside.
        identity: arguments of `subprocess.Popen` that give up the server's user.
    """

    words: list[str]
    python: str
    guest: str
    identity: dict[str, Any] | None = None


class WarmParent:
    """One warm parent process.

    Args:
        mode: `namespaces`, `confined`, `inner` or `plain`; see `guest.parent.Settings`.
        packages: what code inside may import.
        groups: count in control groups where this user may.
        outside: what another program has made around it, for the mode `inner`.

    Raises:
        SandboxError: it could not be started; the text says why.
    """

    def __init__(
        self,
        mode: str,
        packages: Packages,
        *,
        groups: bool = True,
        outside: Outside | None = None,
    ) -> None:
        self.mode = mode
        self.owner = os.getpid()
        self._lock = threading.Lock()
        name = f"openenv-{os.getpid()}-{secrets.token_hex(4)}"
        self.uid = _FIRST_UID + secrets.randbelow(_UIDS)
        self.groups = self._own_groups(name) if groups else None
        self._private = mode == "namespaces"
        self._folder: str | None = None
        self._outside = outside
        if not self._private and outside is None:
            self._folder = tempfile.mkdtemp(prefix="openenv-")
            os.chmod(self._folder, 0o711)  # noqa: S103 - another user passes through
        self._made = 0
        shown: list[tuple[str, str]] = []
        self.site: list[str] = []
        if packages.venv is not None:
            site = _site_of(packages.venv)
            source = os.path.realpath(packages.venv)
            shown = [(source, _VENV if self._private else source)]
            self.site = [str(site).replace(source, shown[0][1], 1)]
        settings = Settings(
            mode=mode,
            modules=[*MODULES, *packages.preload],
            packages=self.site,
            read_only=shown,
            hidden=[str(PACKAGE)],
            uid=self.uid,
            folders=[
                *(str(folder) for folder in (self.groups.bases if self.groups else ())),
                *([self._folder] if self._folder else []),
            ],
        )
        try:
            self._start(settings)
        except BaseException:
            self.close()
            raise
        atexit.register(self.close)

    def _own_groups(self, name: str) -> Groups | None:
        try:
            return Groups(name)
        except OSError:
            return None

    def _start(self, settings: Settings) -> None:
        ours, theirs = socket.socketpair()
        self._channel = ours
        with theirs:
            outside = self._outside or Outside([], interpreter(self.mode), str(GUEST))
            start = [outside.python, "-I", "-S", "-B", "-c", _PROGRAM, outside.guest, str(theirs.fileno())]
            command = [*outside.words, *start]
            self.process = subprocess.Popen(  # noqa: S603 - our own program
                command,
                pass_fds=[theirs.fileno()],
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
                **(outside.identity or {}),
            )
        wire.send(ours, asdict(settings))
        ours.settimeout(START_S)
        try:
            frame = wire.receive(ours)
        except (OSError, wire.WireError) as error:
            raise SandboxError(f"the warm parent did not start: {error}") from error
        ours.settimeout(None)
        if frame is None:
            raise SandboxError("the warm parent ended while it started; its standard error says why")
        if "failed" in frame.message:
            raise SandboxError(
                f"the warm parent could not start: {frame.message['failed']}: {frame.message['text']}",
                data={"errno": frame.message.get("errno")},
            )
        self.landlock_abi: int = frame.message["abi"]
        # A parent of one sandbox shares its namespaces with it.
        self.spaces: dict[str, str] = {} if self._outside else frame.message["spaces"]

    def make(self, order: dict[str, Any], streams: Sequence[int]) -> Made:
        """Fork a sandbox with a session.

        Args:
            order: fields of `guest.confine.Order` without `counted` and `folder`.
            streams: the session's ends of its channel, its standard output and its standard error.

        Raises:
            SandboxError: it could not be set up.
        """
        folder = "/work" if self._private else self._new_folder()
        group = self.groups.take(order["memory"], order["processes"]) if self.groups else None
        ours, theirs = socket.socketpair()
        doors = group.doors if group else []
        request = {**order, "counted": group is not None, "folder": folder}
        try:
            with theirs, self._lock:
                wire.send(self._channel, request, b"", [theirs.fileno(), *streams, *doors])
                answer = wire.receive(self._channel)
        except (OSError, wire.WireError) as error:
            ours.close()
            raise SandboxError(f"the warm parent is gone: {error}") from error
        if answer is None:
            ours.close()
            raise SandboxError("the warm parent is gone")
        (watch,) = answer.descriptors
        made = Made(ours, watch, group, folder, [])
        try:
            first = wire.receive(ours)
        except (OSError, wire.WireError) as error:
            self.release(made)
            raise SandboxError(f"the sandbox died while it was set up: {error}") from error
        if first is None or first.message.get("event") != "ready":
            self.release(made)
            text = f"{first.message['failed']}: {first.message['text']}" if first else "it died"
            raise SandboxError(f"the sandbox could not be set up: {text}")
        made.pid = first.message["pid"]
        made.session, *made.extra = first.descriptors
        return made

    def release(self, made: Made) -> None:
        """End a sandbox: its init dies, and the kernel (or a sweep) everything below it."""
        if not self._private:
            with contextlib.suppress(OSError):
                wire.send(made.control, {"op": "end"})
            _wait(made.watch, 6.0)
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(made.watch, signal.SIGKILL)
        _wait(made.watch, 10.0)
        os.close(made.watch)
        made.control.close()
        for descriptor in made.extra:
            os.close(descriptor)
        if made.group and self.groups:
            self.groups.give_back(made.group)
        if self._folder:
            files.remove(made.folder)

    def _new_folder(self) -> str:
        if self._folder is None:
            return "/work"
        with self._lock:
            self._made += 1
            path = os.path.join(self._folder, str(self._made))
        os.mkdir(path, 0o700)
        if os.geteuid() == 0 and self.mode == "confined":
            os.chown(path, self.uid, self.uid)
        return path

    @property
    def alive(self) -> bool:
        """Whether it still answers."""
        return self.owner == os.getpid() and self.process.poll() is None

    def close(self) -> None:
        """End it, and with it every sandbox that it made."""
        atexit.unregister(self.close)
        if self.owner != os.getpid():
            return
        channel = getattr(self, "_channel", None)
        if channel is not None:
            channel.close()
        process = getattr(self, "process", None)
        if process is not None:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.groups:
            self.groups.close()
        if self._folder:
            files.remove(self._folder)


def interpreter(mode: str) -> str:
    """The interpreter itself, not a virtual environment's link to it: packages are chosen one by one.

    Where root gives up its user and the file tree is the machine's own, it must be one that any user reaches.

    Raises:
        SandboxError: there is none.
    """
    own = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    if mode != "confined" or os.geteuid() != 0:
        return own
    names = (f"python3.{minor}" for minor in (sys.version_info.minor, 13, 12, 11, 14))
    for path in (own, *(f"{folder}/{name}" for name in names for folder in ("/usr/local/bin", "/usr/bin"))):
        if os.path.exists(path) and _anyone_reaches(os.path.realpath(path)):
            return os.path.realpath(path)
    raise SandboxError(
        f"no Python that an ordinary user can run: {own} lies in a folder closed to others, and "
        "there is no Python 3.11 or later in /usr/bin or /usr/local/bin"
    )


def _anyone_reaches(path: str) -> bool:
    return all(os.stat(folder).st_mode & 0o001 for folder in (path, *map(str, Path(path).parents)))


def _wait(watch: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(watch, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _site_of(venv: str) -> Path:
    """Package folder of a virtual environment.

    Raises:
        SandboxOptionError: there is none for this Python version.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = Path(os.path.realpath(venv)) / "lib" / version / "site-packages"
    if not folder.is_dir():
        raise SandboxOptionError(
            f"packages.venv: expected a virtual environment of {version}, found no {folder}", option="venv"
        )
    return folder
