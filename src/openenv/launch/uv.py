"""Run a published environment project with `uv`, in an environment of its own, without a container."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from openenv.errors import LaunchError, UsageError
from openenv.launch.providers import RuntimeProvider
from openenv.launch.waiting import free_port, wait_until_healthy

_CLONE_TIMEOUT_S = 300.0
_STOP_TIMEOUT_S = 10.0
_LOG_CHARACTERS = 4000
_ANYWHERE = ("0.0.0.0", "::", "")  # noqa: S104  (addresses that a client cannot connect to as such)


class UVProvider(RuntimeProvider):
    """Runs the server of a project with ``uv run --isolated``.

    Args:
        project_path: folder with the project's `pyproject.toml`, or ``git+URL[@revision]`` to fetch first.
        app: the ASGI application, ``module:attribute``.
        host: interface to listen on.
        reload: restart when files change.
        env_vars: environment variables of the server.
        context_timeout_s: seconds that entering the context waits for the server.

    Raises:
        LaunchError: `uv` is not installed.
    """

    def __init__(
        self,
        *,
        project_path: str,
        app: str = "server.app:app",
        host: str = "127.0.0.1",
        reload: bool = False,
        env_vars: dict[str, str] | None = None,
        context_timeout_s: float = 60.0,
    ) -> None:
        self.project_path = project_path
        self.app = app
        self.host = host
        self.reload = reload
        self.env_vars = env_vars
        self.context_timeout_s = context_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._base_url: str | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        if shutil.which("uv") is None:
            raise LaunchError(
                "there is no `uv` command on PATH; install it from https://docs.astral.sh/uv, or serve the "
                "project from this interpreter: openenv serve FOLDER"
            )

    @property
    def base_url(self) -> str:
        """Address of the server.

        Raises:
            UsageError: it was not started.
        """
        if self._base_url is None:
            raise UsageError("UVProvider has not been started")
        return self._base_url

    def start(
        self,
        port: int | None = None,
        env_vars: dict[str, str] | None = None,
        workers: int = 1,
        **kwargs: Any,
    ) -> str:
        """Start the server and give its base URL.

        Args:
            port: port to listen on; None takes a free one.
            env_vars: environment variables, on top of the provider's.
            workers: server processes. Sessions are not shared between them.
            **kwargs: options of other providers; not used.

        Raises:
            UsageError: it runs already.
            LaunchError: there is no such project.
        """
        if self._process is not None:
            raise UsageError("UVProvider is already running")
        self._scratch = tempfile.TemporaryDirectory(prefix="openenv-uv-")
        try:
            project = self._project()
            port = port or free_port()
            command = ["uv", "run", "--isolated", "--project", project, "--", "uvicorn", self.app]
            command += ["--host", self.host, "--port", str(port)]
            command += ["--reload"] if self.reload else ["--workers", str(workers)]
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(  # noqa: S603  (arguments are a list, no shell)
                    command,
                    cwd=project,
                    env={**os.environ, **(self.env_vars or {}), **(env_vars or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except BaseException:
            self._clean_up()
            raise
        atexit.register(self.stop)
        self._base_url = f"http://{'127.0.0.1' if self.host in _ANYWHERE else self.host}:{port}"
        return self._base_url

    def stop(self) -> None:
        """Stop the server and everything it started."""
        atexit.unregister(self.stop)
        process, self._process, self._base_url = self._process, None, None
        if process is not None:
            _signal_group(process, signal.SIGTERM)
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                pass  # the signal below does not ask
            _signal_group(process, signal.SIGKILL)
            process.wait(_STOP_TIMEOUT_S)
        self._clean_up()

    def wait_for_ready(self, timeout_s: float | None = None) -> None:
        """Wait until the server answers.

        Args:
            timeout_s: seconds to wait; None waits `context_timeout_s`.

        Raises:
            LaunchTimeoutError: it did not in time.
            LaunchError: it ended; the message quotes the end of what it printed.
        """
        limit = self.context_timeout_s if timeout_s is None else timeout_s
        wait_until_healthy(self.base_url, limit, self._check_running)

    @property
    def _log(self) -> Path:
        if self._scratch is None:
            raise UsageError("UVProvider has not been started")
        return Path(self._scratch.name) / "server.log"

    def _check_running(self) -> None:
        if self._process is None or self._process.poll() is None:
            return
        printed = self._log.read_text(encoding="utf-8", errors="replace")[-_LOG_CHARACTERS:].strip()
        raise LaunchError(
            f"the server ended with exit code {self._process.returncode} before it was ready. "
            f"It printed:\n{printed}"
        )

    def _project(self) -> str:
        if not self.project_path.startswith("git+"):
            folder = Path(self.project_path).expanduser().resolve()
            if not folder.is_dir():
                raise LaunchError(f"there is no project folder {folder}")
            return str(folder)
        url = self.project_path.removeprefix("git+")
        host, slash, path = url.partition("://")[2].partition("/")
        path, at, revision = path.rpartition("@")  # an @ before the path belongs to the host
        if at:
            url = f"{url.partition('://')[0]}://{host}{slash}{path}"
        target = str(self._log.parent / "project")
        deadline = time.monotonic() + _CLONE_TIMEOUT_S
        _git(deadline, "init", "--quiet", target)
        _git(
            deadline, "-C", target, "fetch", "--quiet", "--depth", "1", "--", url, revision if at else "HEAD"
        )
        _git(deadline, "-C", target, "checkout", "--quiet", "FETCH_HEAD")
        return target

    def _clean_up(self) -> None:
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:  # the group is empty already
        return


def _git(deadline: float, *arguments: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603  (a fixed program; arguments are a list, no shell)
            ["git", *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=max(0.0, deadline - time.monotonic()),
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except FileNotFoundError:
        raise LaunchError("cloning a project needs `git` on PATH") from None
    except subprocess.TimeoutExpired:
        raise LaunchError(f"cloning did not finish within {_CLONE_TIMEOUT_S:g} s") from None
    if done.returncode != 0:
        raise LaunchError(f"`git {' '.join(arguments)}` failed: {done.stderr.strip()}")
