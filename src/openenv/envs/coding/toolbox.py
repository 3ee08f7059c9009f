"""The tools of the coding environment, over one workspace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from openenv.environment import Environment, tool
from openenv.envs.coding.workspace import Ran, Workspace
from openenv.errors import SandboxFileError, SandboxGoneError
from openenv.types import Action, Observation, Outcome, State

MAX_TEXT = 1 << 20
"""Bytes of a file that `read_file` and `write_file` move."""


class Toolbox(Environment[Action, Observation, State], name="coding_tools"):
    """The tools; the coding environment holds one and hands it tool calls.

    Args:
        workspace: where they work.
        submit: judges the work folder; the tool `submit` ends the episode with what it returns.
    """

    def __init__(self, workspace: Workspace, submit: Any) -> None:
        super().__init__()
        self.workspace = workspace
        self.hand_in = submit
        self._ran: Ran | None = None

    @tool
    def run_python(self, code: str, timeout_s: float | None = None) -> dict[str, Any]:
        """Run Python in the session; names, imports and files stay for the next call.

        Args:
            code: any Python; the value of a last bare expression is shown in stdout.
            timeout_s: seconds after which it is stopped.
        """
        return self._told(self.workspace.run_python(code, timeout_s))

    @tool
    def run_shell(self, command: str, timeout_s: float | None = None) -> dict[str, Any]:
        """Run a shell command in the work folder.

        Args:
            command: for `sh -c`.
            timeout_s: seconds after which it is stopped.
        """
        return self._told(self.workspace.run_shell(command, timeout_s))

    @tool
    def write_file(self, path: str, content: str) -> dict[str, Any]:
        """Write a text file, with its folders; one that exists is replaced.

        Args:
            path: below the work folder.
            content: the whole text.
        """
        data = content.encode()
        if len(data) > MAX_TEXT:
            raise ValueError(f"content: expected at most {MAX_TEXT} bytes, got {len(data)}")
        with _told_apart():
            self.workspace.sandbox.write(path, data)
        return {"path": path, "bytes": len(data)}

    @tool
    def read_file(self, path: str) -> str:
        """Read a text file.

        Args:
            path: below the work folder.
        """
        with _told_apart():
            data = self.workspace.sandbox.read(path, max_bytes=MAX_TEXT)
        return data.decode("utf-8", "replace")

    @tool
    def list_files(self, path: str = "") -> list[dict[str, Any]]:
        """List a folder and everything below it.

        Args:
            path: below the work folder, which is meant by the empty path.
        """
        with _told_apart():
            entries = self.workspace.sandbox.list(path, recursive=True)
        return [{"path": entry.name, "kind": entry.kind, "bytes": entry.size} for entry in entries]

    @tool
    def submit(self, code: str | None = None) -> Outcome[dict[str, Any]]:
        """Hand in the work folder as the solution of the task; ends the episode.

        Args:
            code: if given, first written to the file that the task asks for.
        """
        outcome: Outcome[dict[str, Any]] = self.hand_in(code)
        return outcome

    def take(self) -> Ran | None:
        """Return what the last call ran, once; None if it ran nothing."""
        ran, self._ran = self._ran, None
        return ran

    def _told(self, ran: Ran) -> dict[str, Any]:
        self._ran = ran
        told: dict[str, Any] = {"stdout": ran.stdout, "stderr": ran.stderr, "exit_code": ran.exit_code}
        return {**told, "restarted": True} if ran.restarted else told


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    """What an agent's own call or files brought about is a failed tool, not failed machinery."""
    try:
        yield
    except (SandboxFileError, SandboxGoneError) as error:
        raise ValueError(error.message) from error


__all__ = ["MAX_TEXT", "Toolbox"]
