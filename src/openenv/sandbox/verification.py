"""Tries to get out of a fresh sandbox, layer by layer, and says which layers held.

The attempts run inside, in a sandbox that holds nothing else; what they saw is compared here with what is
true outside. A layer counts as verified only if the attempt that it alone would stop has failed.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from openenv.errors import SandboxError

from .limits import Limits
from .tiers import Layer, Report, Standing, Tier
from .warm import WarmParent

_ATTEMPTS = (Path(__file__).parent / "guest" / "attempts.py").read_text()
LIMITS = Limits(processes=12, file_bytes=1 << 20, disk_bytes=4 << 20, memory_bytes=96 << 20, open_files=128)
_SPACES = ("mnt", "pid", "net", "ipc", "uts", "user")
_USERNS_FIX = "allow unprivileged user namespaces on this machine"
_KERNEL_FIX = "use a kernel with Landlock (5.13 or later, 'landlock' in the lsm= list)"


def examine(parent: WarmParent, backend: str, *, without: Sequence[str] = ()) -> Report:
    """Make a sandbox, try to get out of it, end it.

    Args:
        parent: where to make it.
        backend: name for the report.
        without: layers to leave out, for tests.

    Raises:
        SandboxError: it could not be made, or the attempts did not run.
    """
    from .sandbox import Sandbox

    if parent.mode == "plain":
        return _nothing(backend)
    secret = secrets.token_hex(8)
    with (
        tempfile.TemporaryDirectory(prefix="openenv-canary-") as folder,
        socket.socket(socket.AF_UNIX) as door,
    ):
        os.chmod(folder, 0o755)  # noqa: S103 - whoever gets here shall be able to read it
        canary = Path(folder, "canary")
        canary.write_text(secret)
        canary.chmod(0o644)
        door.bind(f"\0openenv-{secret}")
        door.listen(8)
        asked = {
            "canary": str(canary),
            "server": os.getpid(),
            "socket": f"openenv-{secret}",
            "limits": _limits(),
            "counted": parent.groups is not None,
        }
        started = time.monotonic()
        sandbox = Sandbox(parent, None, LIMITS, without=without)
        taken = time.monotonic() - started
        try:
            result = sandbox.exec(
                f"{_ATTEMPTS}\nimport json\nprint(json.dumps(told({asked!r})))\nTrue", timeout_s=60
            )
        finally:
            sandbox.kill()
    if result.value is None:
        raise SandboxError(f"the attempts did not run ({result.status.value}): {result.stderr[-500:]}")
    seen: dict[str, Any] = json.loads(result.stdout)
    layers = _judge(
        seen,
        parent.spaces,
        private=parent.mode == "namespaces",
        counted=parent.groups is not None,
        watched="memory watch" not in without,
    )
    return Report(backend, _tier(layers), layers, taken * 1000)


def _nothing(backend: str) -> Report:
    """A plain child process: there is no layer to try."""
    names = (*(f"{name} namespace" for name in ("mount", "pid", "network", "ipc", "uts", "user")), "landlock")
    layers = tuple(
        Layer(name, Standing.MISSING, "", "a plain child process", "use another backend")
        for name in ("files", *names, "seccomp", "limits")
    )
    return Report(backend, Tier.NONE, layers, 0.0)


def _limits() -> dict[str, int]:
    return {
        "processes": LIMITS.processes,
        "file": LIMITS.file_bytes,
        "disk": LIMITS.disk_bytes,
        "memory": LIMITS.memory_bytes,
        "files": LIMITS.open_files,
    }


def _judge(
    seen: dict[str, Any], parents: dict[str, str], *, private: bool, counted: bool, watched: bool
) -> tuple[Layer, ...]:
    layers = [
        *_space_layers(seen, parents),
        _layer(
            "capabilities",
            int(seen["capabilities"], 16) == 0 and seen["no new privileges"] == "1",
            "no privilege, and none from setuid programs",
            f"effective {seen['capabilities']}, no_new_privs {seen['no new privileges']}",
            "",
        ),
        _layer(
            "landlock",
            seen["landlock"] != "done" if private else seen["canary"] != "read",
            "second barrier for files, signals, sockets and tracing; the only one without namespaces",
            f"writing to its own /proc entry: {seen['landlock']}",
            _KERNEL_FIX,
        ),
        _layer(
            "seccomp",
            seen["filter mode"] == "2" and not seen["calls"],
            "kernel interfaces that ordinary programs do not use",
            f"got through: {', '.join(seen['calls']) or 'none of the refused calls'}",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        ),
        _layer(
            "limits",
            not seen["limits"],
            "process, file, descriptor and memory bombs of one process",
            f"passed: {', '.join(seen['limits']) or 'none'}",
            "",
        ),
        _layer(
            "environment",
            not seen["variables"] and not seen["descriptors"],
            "variables and descriptors of the server",
            f"variables {seen['variables']}, descriptors {seen['descriptors']}",
            "",
        ),
        _memory_layer(counted and seen["memory"] == "killed", watched and not counted),
    ]
    return tuple(layers)


def _space_layers(seen: dict[str, Any], parents: dict[str, str]) -> tuple[Layer, ...]:
    """What the sandbox has of its own: its files and its namespaces."""
    outside = {name: os.readlink(f"/proc/self/ns/{name}") for name in _SPACES}

    def own(name: str) -> bool:
        return seen["spaces"].get(name) not in (None, outside[name], parents.get(name))

    return (
        _layer(
            "files",
            seen["canary"] != "read" and seen["write /usr"] != "done",
            "files of the machine and of the server",
            f"reading a file of the server: {seen['canary']}; writing to /usr: {seen['write /usr']}",
            _USERNS_FIX,
        ),
        _layer(
            "mount namespace",
            own("mnt") and seen["canary"] != "read",
            "sees its own file tree only",
            f"namespace {seen['spaces'].get('mnt')}, outside {outside['mnt']}",
            _USERNS_FIX,
        ),
        _layer(
            "pid namespace",
            own("pid") and seen["signal server"] != "sent",
            "sees and signals its own processes only; the kernel ends all of them with the init",
            f"signalling the server: {seen['signal server']}; {seen['processes']} processes visible",
            _USERNS_FIX,
        ),
        _layer(
            "network namespace",
            own("net"),
            "has no interface, no route, no abstract socket of the machine",
            f"opening an internet socket: {seen['internet']}; the server's own: {seen['abstract']}",
            _USERNS_FIX,
        ),
        _layer(
            "ipc namespace",
            own("ipc"),
            "no System V or POSIX queues of others",
            "own" if own("ipc") else "shared",
            _USERNS_FIX,
        ),
        _layer(
            "uts namespace",
            own("uts"),
            "does not learn or set the machine's name",
            "own" if own("uts") else "shared",
            _USERNS_FIX,
        ),
        _layer(
            "user namespace",
            own("user"),
            "its user owns nothing outside; process limits count per sandbox",
            f"user {seen['uid']}, namespace {seen['spaces'].get('user')}",
            _USERNS_FIX,
        ),
    )


def _layer(name: str, held: bool, meaning: str, evidence: str, fix: str) -> Layer:
    standing = Standing.VERIFIED if held else Standing.MISSING
    return Layer(name, standing, meaning, evidence, "" if held else fix)


def _memory_layer(counted: bool, watched: bool) -> Layer:
    meaning = "memory of all processes together"
    if counted:
        return Layer(
            "memory",
            Standing.VERIFIED,
            meaning,
            "a control group ended a child when three together passed the limit",
        )
    if watched:
        return Layer(
            "memory",
            Standing.WEAK,
            meaning,
            "the init sums it every 5 to 20 ms while busy: it may overshoot; socket buffers are free",
            "run as root, or delegate a control group with memory and pids to this user",
        )
    return Layer(
        "memory", Standing.MISSING, meaning, "nobody looks", "run as root, or delegate a control group"
    )


def _tier(layers: Sequence[Layer]) -> Tier:
    held = {layer.name for layer in layers if layer.standing is not Standing.MISSING}
    spaces = {f"{name} namespace" for name in ("mount", "pid", "network", "ipc", "uts", "user")}
    basic = {"seccomp", "limits", "capabilities", "environment"}
    strong: Callable[[set[str]], bool] = held.issuperset
    if strong(spaces | basic | {"files", "landlock", "memory"}):
        return Tier.A
    if strong(spaces | basic | {"files"}):
        return Tier.B
    if strong(basic | {"files", "landlock"}):
        return Tier.C
    return Tier.D if strong(basic) else Tier.NONE
