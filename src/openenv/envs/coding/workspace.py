"""The sandbox of one session: where the agent's code runs, and what is read off it as a submission.

A session's process may die of what it ran. It is then replaced within the call, in an emptied work folder,
and the result says so; an agent never needs to know how to recover.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from openenv.errors import SandboxGoneError
from openenv.sandbox import ExecResult, Limits, Packages, RunResult, Sandbox, Snapshot, Status, Tier

TIMEOUT_CODE, KILLED_CODE = 124, 137
MAX_SUBMISSION = 8 << 20
"""Bytes of all files of a submission together."""

_PLAIN = ("int", "float", "bool")
_AS_JSON = "__import__('sys').stdout.write(__import__('json').dumps(_)) and None"


@dataclass(frozen=True)
class Confinement:
    """How the sandboxes of an environment are made.

    Attributes:
        limits: what each may use.
        packages: what Python code inside may import.
        backend: see `Sandbox.create`.
        min_tier: see `Sandbox.create`.
        degrade_to: see `Sandbox.create`.
    """

    limits: Limits = field(default_factory=Limits)
    packages: Packages = field(default_factory=Packages)
    backend: str = "auto"
    min_tier: Tier | str = Tier.A
    degrade_to: Tier | str | None = None

    def make(self, snapshot: Snapshot | None = None) -> Sandbox:
        """Make a sandbox.

        Raises:
            IsolationError: this machine cannot isolate that strongly.
            SandboxError: it could not be made.
        """
        return Sandbox.create(
            limits=self.limits,
            packages=self.packages,
            backend=self.backend,
            min_tier=self.min_tier,
            degrade_to=self.degrade_to,
            snapshot=snapshot,
        )


@dataclass(frozen=True)
class Ran:
    """What running something came to, in the published words.

    Attributes:
        stdout: standard output, with the value of a last bare expression.
        stderr: standard error, and a sentence if it was stopped.
        exit_code: see `CodeObservation`.
        restarted: the session died and is a fresh one, in an empty folder.
    """

    stdout: str
    stderr: str
    exit_code: int
    restarted: bool = False


class Workspace:
    """One sandbox that is replaced when it dies.

    Args:
        confinement: how to make it.
    """

    def __init__(self, confinement: Confinement) -> None:
        self._confinement = confinement
        self._sandbox: Sandbox | None = None

    @property
    def sandbox(self) -> Sandbox:
        """The sandbox; made on first use."""
        if self._sandbox is None or not self._sandbox.alive:
            self._sandbox = self._confinement.make()
        return self._sandbox

    def begin(self, files: Mapping[str, str]) -> None:
        """Start over: nothing that ran goes on, no file stays but these."""
        try:
            self.sandbox.reset()
        except SandboxGoneError:
            self._sandbox = None
        for name, text in files.items():
            self.sandbox.write(name, text)

    def run_python(self, code: str, timeout_s: float | None = None) -> Ran:
        """Run code in the session.

        Args:
            code: any Python.
            timeout_s: seconds; the sandbox's limit at most.
        """
        try:
            result = self.sandbox.exec(code, timeout_s=self._seconds(timeout_s))
            stdout = result.stdout + self._shown(result)
        except SandboxGoneError as error:
            return self._replaced("", f"{error.message}\n")
        if result.alive:
            stderr = result.stderr + (f"{result.detail}\n" if result.detail else "")
            return Ran(stdout, stderr, _exit_code(result))
        return self._replaced(stdout, f"{result.stderr}{result.detail}\n", _exit_code(result))

    def run_shell(self, command: str, timeout_s: float | None = None) -> Ran:
        """Run a shell command in the work folder."""
        try:
            result = self.sandbox.run(["sh", "-c", command], timeout_s=self._seconds(timeout_s))
        except SandboxGoneError as error:
            return self._replaced("", f"{error.message}\n")
        detail = f"{result.detail}\n" if result.status not in (Status.OK, Status.ERROR) else ""
        stderr = result.stderr.decode("utf-8", "replace") + detail
        stdout = result.stdout.decode("utf-8", "replace")
        if self.sandbox.session.alive:
            return Ran(stdout, stderr, _command_code(result))
        return self._replaced(stdout, stderr, _command_code(result))

    def submission(self) -> Snapshot:
        """A copy of the files in the work folder.

        Raises:
            SandboxFileError: they are larger than `MAX_SUBMISSION` together.
        """
        return self.sandbox.snapshot(max_bytes=MAX_SUBMISSION)

    def close(self) -> None:
        """End the sandbox."""
        if self._sandbox is not None:
            self._sandbox.kill()
            self._sandbox = None

    def _seconds(self, wanted: float | None) -> float:
        most = self._confinement.limits.wall_s
        return most if wanted is None else max(0.001, min(wanted, most))

    def _replaced(self, stdout: str, stderr: str, exit_code: int = KILLED_CODE) -> Ran:
        self.begin({})
        return Ran(stdout, f"{stderr}The session was restarted in an empty folder.\n", exit_code, True)

    def _shown(self, result: ExecResult) -> str:
        """The value of a last bare expression as published servers append it to the output."""
        if not result.ok or result.value is None:
            return ""
        gap = "\n" if result.stdout else ""
        if result.value_type in _PLAIN and result.value[-1:] not in ("n", "f"):  # not nan, not inf
            return gap + (result.value.lower() if result.value_type == "bool" else result.value)
        # The session itself knows the value: what it says here is what the agent is shown, no more.
        said = self.sandbox.exec(_AS_JSON, timeout_s=self._confinement.limits.wall_s)
        if not said.alive:
            self.sandbox.reset()
        return gap + (said.stdout if said.ok else result.value)


def _exit_code(result: ExecResult) -> int:
    match result.status:
        case Status.OK:
            return 0
        case Status.ERROR:
            return 1
        case Status.EXIT:
            return result.exit_code or 0
        case Status.TIMEOUT:
            return TIMEOUT_CODE
        case _:
            return KILLED_CODE


def _command_code(result: RunResult) -> int:
    if result.status is Status.TIMEOUT:
        return TIMEOUT_CODE
    code = result.exit_code
    return KILLED_CODE if code is None else code if code >= 0 else 128 - code
