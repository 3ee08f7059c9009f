"""Run an environment's image with Docker on this machine, through the `docker` command.

The container's port is published on the loopback interface only, processes are limited, and set-user-ID
programs gain nothing. It is removed when the provider is closed, and when this process ends.
"""

from __future__ import annotations

import atexit
import re
import secrets
import shutil
import subprocess
import warnings
from typing import Any

from openenv.errors import LaunchError, UsageError
from openenv.launch.providers import ContainerProvider
from openenv.launch.waiting import free_port, wait_until_healthy

_COMMAND_TIMEOUT_S = 60.0
_PULL_TIMEOUT_S = 1800.0
"""`docker run` pulls the image if it is not there."""
_CONTAINER_PORT = 8000
_LOG_LINES = "30"


class LocalDockerProvider(ContainerProvider):
    """Runs one container of an environment's image on this machine.

    Options of `start_container`: ``container_port`` (where the server listens in the container, 8000),
    ``host`` (interface to publish on, 127.0.0.1), ``memory`` (as in ``docker run --memory``), ``cpus``,
    ``pids_limit`` (4096), ``gpus``, ``network``, ``command`` (a list: replaces the image's command).

    Raises:
        LaunchError: there is no `docker` command, or its daemon does not answer.
    """

    def __init__(self) -> None:
        self._container_id: str | None = None
        if shutil.which("docker") is None:
            raise LaunchError(
                "Docker is not available: there is no `docker` command on PATH. Install Docker Engine, or "
                "run the environment in a process (`openenv serve FOLDER`, UVProvider)."
            )
        self._docker("version", "--format", "{{.Server.Version}}")

    @property
    def container_id(self) -> str | None:
        """Id of the running container, None if none runs."""
        return self._container_id

    def start_container(
        self, image: str, port: int | None = None, env_vars: dict[str, str] | None = None, **kwargs: Any
    ) -> str:
        """Start the image's server and give its base URL; see the class for options.

        Raises:
            UsageError: this provider runs a container already, or the image's name is not one.
            LaunchError: Docker refused.
        """
        if self._container_id is not None:
            raise UsageError(f"this provider already runs container {self._container_id}; stop it first")
        if not image or image.startswith("-"):
            raise UsageError(f"not the name of an image: {image!r}")
        port = port or free_port()
        command = list(kwargs.pop("command", None) or ())
        options = _run_options(image, port, env_vars or {}, kwargs)
        printed = self._docker("run", "--detach", *options, image, *command, timeout_s=_PULL_TIMEOUT_S)
        self._container_id = printed.strip().splitlines()[-1] if printed.strip() else None
        if self._container_id is None:
            raise LaunchError(f"`docker run {image}` printed no container id")
        atexit.register(self._remove)
        return f"http://127.0.0.1:{port}"

    def stop_container(self) -> None:
        """Ask the server to stop, then remove the container."""
        if self._container_id is None:
            return
        try:
            self._docker("stop", self._container_id)
        finally:
            self._remove()

    def wait_for_ready(self, base_url: str, timeout_s: float = 30.0) -> None:
        """Wait until the server in the container answers.

        Raises:
            LaunchTimeoutError: it did not within `timeout_s` seconds.
            LaunchError: the container exited; the message quotes the end of its log.
        """
        wait_until_healthy(base_url, timeout_s, self._check_running)

    def _check_running(self) -> None:
        if self._container_id is None:
            return
        state = self._docker("inspect", "--format", "{{.State.Status}}", self._container_id).strip()
        if state in ("exited", "dead"):
            log = self._docker("logs", "--tail", _LOG_LINES, self._container_id, errors_too=True).strip()
            raise LaunchError(f"the container exited before its server was ready. It printed:\n{log}")

    def _remove(self) -> None:
        if self._container_id is None:
            return
        container, self._container_id = self._container_id, None
        atexit.unregister(self._remove)
        self._docker("rm", "--force", "--volumes", container)

    @staticmethod
    def _docker(*arguments: str, timeout_s: float | None = None, errors_too: bool = False) -> str:
        """Run one `docker` command and give what it printed."""
        timeout_s = _COMMAND_TIMEOUT_S if timeout_s is None else timeout_s
        try:
            done = subprocess.run(  # noqa: S603  (a fixed program; arguments are a list, no shell)
                ["docker", *arguments],  # noqa: S607
                capture_output=True,
                text=True,
                timeout=timeout_s,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise LaunchError(f"`docker {arguments[0]}` did not finish within {timeout_s:g} s") from None
        if done.returncode != 0:
            raise LaunchError(f"`docker {arguments[0]}` failed: {done.stderr.strip() or done.returncode}")
        return done.stdout + (done.stderr if errors_too else "")


def _run_options(image: str, port: int, env_vars: dict[str, str], options: dict[str, Any]) -> list[str]:
    inside = options.pop("container_port", _CONTAINER_PORT)
    host = options.pop("host", "127.0.0.1")
    limits: dict[str, object] = {
        "memory": None,
        "cpus": None,
        "pids_limit": 4096,
        "gpus": None,
        "network": None,
    }
    limits |= {name: options.pop(name) for name in list(options) if name in limits}
    if options:
        warnings.warn(f"LocalDockerProvider ignores {', '.join(sorted(options))}", UserWarning, stacklevel=3)
    flags = ["--name", _container_name(image), "--label", "openenv", "--init"]
    flags += ["--security-opt", "no-new-privileges", "--publish", f"{host}:{port}:{inside}"]
    for name, value in limits.items():
        if value is not None:
            flags += [f"--{name.replace('_', '-')}", str(value)]
    for name, value in env_vars.items():
        flags += ["--env", f"{name}={value}"]
    return flags


def _container_name(image: str) -> str:
    base = re.sub(r"[^a-zA-Z0-9_.-]", "-", image.partition("@")[0].rpartition("/")[2].partition(":")[0])
    return f"{base or 'openenv'}-{secrets.token_hex(4)}"
