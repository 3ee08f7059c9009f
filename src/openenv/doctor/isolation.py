"""What this machine can isolate with: kernel layers, bubblewrap, containers.

The layers of the kernel are tried in a child process (`kernel_probe`); a container engine counts when its
daemon answers, not when its command is installed.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from openenv.doctor.findings import Finding, Status

_PROBE = Path(__file__).with_name("kernel_probe.py")
_PROBE_SECONDS = 25.0

_LAYER_FIXES = {
    "user namespaces": "sudo sysctl -w kernel.unprivileged_userns_clone=1, and on Ubuntu "
    "kernel.apparmor_restrict_unprivileged_userns=0; in a container, a seccomp profile that permits them",
    "Landlock": "boot a kernel of 5.13 or later with lsm=landlock,...",
    "seccomp": "boot a kernel with CONFIG_SECCOMP_FILTER",
    "cgroups": "systemd-run --user --scope -p Delegate=yes openenv serve TARGET",
}


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that isolates, with the command that proves it works.

    Attributes:
        name: the program.
        proof: arguments of a command that succeeds only if it works; its output names the version.
        says: what the first line of the output means.
        install: how to get the program.
        start: how to make it work when it is installed and fails.
        seconds: how long the proof may take.
    """

    name: str
    proof: tuple[str, ...]
    says: str
    install: str
    start: str
    seconds: float = 4.0


TOOLS = (
    Tool(
        "bwrap",
        ("--unshare-all", "--ro-bind", "/", "/", "/bin/sh", "-c", "echo sandboxes start"),
        "",
        "sudo apt-get install bubblewrap",
        "user namespaces must be permitted, see above",
    ),
    Tool(
        "docker",
        ("version", "--format", "{{.Server.Version}}"),
        "daemon ",
        "https://docs.docker.com/engine/install",
        "sudo systemctl start docker   (and be in the group docker, or use rootless docker)",
    ),
    Tool(
        "podman",
        ("info", "--format", "{{.Version.Version}}"),
        "version ",
        "sudo apt-get install podman",
        "podman info   (says what it is missing)",
    ),
)


def layers() -> list[Finding]:
    """One finding per layer and tool."""
    with ThreadPoolExecutor(max_workers=1 + len(TOOLS)) as workers:
        kernel = workers.submit(kernel_layers)
        tools = [workers.submit(try_tool, tool) for tool in TOOLS]
        return kernel.result() + [tool.result() for tool in tools]


def kernel_layers() -> list[Finding]:
    """Findings about the kernel of this machine, by effect."""
    if platform.system() != "Linux":
        detail = f"{platform.system()} has none of the Linux layers"
        return [Finding("isolation", "kernel", Status.ABSENT, detail, "use a container, or a Linux machine")]
    command = [sys.executable, "-I", "-S", str(_PROBE)]
    try:
        answer = subprocess.run(command, capture_output=True, timeout=_PROBE_SECONDS, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        return [
            Finding("isolation", "kernel", Status.WARNING, f"the probe failed: {error}", " ".join(command))
        ]
    return [
        Finding("isolation", name, Status.OK, detail)
        if works
        else Finding("isolation", name, Status.ABSENT, detail, _LAYER_FIXES[name])
        for name, (works, detail) in json.loads(answer.stdout).items()
    ]


def try_tool(tool: Tool) -> Finding:
    """Run the proof of `tool`."""
    program = shutil.which(tool.name)
    if program is None:
        return Finding("isolation", tool.name, Status.ABSENT, "not installed", tool.install)
    try:
        run = subprocess.run(  # noqa: S603
            [program, *tool.proof],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=tool.seconds,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        detail = f"installed, no answer within {tool.seconds:g} s"
        return Finding("isolation", tool.name, Status.ABSENT, detail, tool.start)
    except OSError as error:
        return Finding(
            "isolation", tool.name, Status.ABSENT, f"installed, does not start: {error}", tool.install
        )
    said = (run.stdout if run.returncode == 0 else run.stderr or run.stdout).strip().splitlines() or [""]
    if run.returncode == 0:
        return Finding("isolation", tool.name, Status.OK, f"{tool.says}{said[0]}")
    return Finding(
        "isolation", tool.name, Status.ABSENT, f"installed, does not work: {said[-1][:200]}", tool.start
    )
