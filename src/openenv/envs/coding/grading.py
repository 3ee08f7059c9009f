"""Judging a submission: its code answers in a sandbox of its own, and the answers are compared here.

The expected answers never enter that sandbox. Nothing there can read them, and a forged answer is only worth
something if it is right. What ends a test is what the supervisor saw: exit status, deadline, output bound.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from openenv.envs.coding.driver import DRIVER
from openenv.envs.coding.tasks import CallCase, Problem, RunCase
from openenv.envs.coding.workspace import Confinement
from openenv.errors import SandboxFileError, SandboxGoneError
from openenv.sandbox import RunResult, Sandbox, Snapshot, Status

_MAX_TIMEOUTS = 2
"""Tests that may time out before the rest counts as timed out too."""
_MAX_TOLERANCE = 1e-6
_MOST_TIME = 6
"""Times the limit of one test that all together may take: meanwhile the session's thread is held."""


class Finding(StrEnum):
    """What became of one test."""

    PASSED = "passed"
    WRONG = "wrong"
    """Another answer than expected."""
    RAISED = "raised"
    """The call raised, the function is missing, or its value has no JSON form."""
    CRASHED = "crashed"
    """The process ended early, or with another exit code than expected."""
    TIMEOUT = "timeout"
    OUTPUT = "output"
    """It wrote more than is kept."""
    BUILD = "build"
    """The submission could not be built, or is no set of plain files."""
    TAMPERED = "tampered"
    """Something on the report channel that was not asked for; no test of the submission counts."""


@dataclass(frozen=True)
class Verdict:
    """What a submission is worth.

    Attributes:
        findings: one for each test, in order.
        detail: one sentence about a failed build; it holds output of the submission.
    """

    findings: tuple[Finding, ...]
    detail: str = ""

    @property
    def passed(self) -> int:
        """Number of tests passed."""
        return self.findings.count(Finding.PASSED)

    @property
    def fraction(self) -> float:
        """Tests passed, of all."""
        return self.passed / len(self.findings)

    @property
    def all_passed(self) -> bool:
        """Whether every test passed."""
        return self.passed == len(self.findings)

    @property
    def timed_out(self) -> bool:
        """Whether a test ran out of time."""
        return Finding.TIMEOUT in self.findings

    def summary(self) -> dict[str, int]:
        """Number of tests by finding."""
        return dict(Counter(str(finding) for finding in self.findings))


def grade(problem: Problem, submission: Snapshot, confinement: Confinement | None = None) -> Verdict:
    """Judge a submission in a fresh sandbox that holds a copy of its files and nothing else.

    Args:
        problem: what was asked.
        submission: the files handed in.
        confinement: how to make the sandbox.

    Raises:
        SandboxError: the sandbox could not be made; the submission is not judged.
    """
    sandbox = (confinement or Confinement()).make()
    with sandbox:
        try:
            sandbox.restore(submission)
            failed = _build(sandbox, problem)
            if failed is not None:
                return _all(problem, Finding.BUILD, failed)
            findings = _Judge(sandbox, problem).findings()
        except SandboxFileError as error:
            return _all(problem, Finding.BUILD, error.message)
        except SandboxGoneError:
            # The code that ran ended the sandbox it ran in: its doing, and worth nothing.
            return _all(problem, Finding.CRASHED, "the sandbox died")
    if Finding.TAMPERED in findings:
        return _all(problem, Finding.TAMPERED, "")
    return Verdict(tuple(findings))


def unfit(problem: Problem, detail: str) -> Verdict:
    """Return the verdict about files that cannot be handed in."""
    return _all(problem, Finding.BUILD, detail)


def _all(problem: Problem, finding: Finding, detail: str) -> Verdict:
    return Verdict((finding,) * len(problem.cases), detail)


def _build(sandbox: Sandbox, problem: Problem) -> str | None:
    """Build the submission; what the compiler said if that failed."""
    if not problem.build:
        return None
    built = sandbox.run(problem.build, timeout_s=max(30.0, problem.time_limit_s))
    said = (built.stderr or built.stdout).decode("utf-8", "replace")[-2000:]
    return None if built.ok else f"{built.status}: {said}"


class _Judge:
    """One judgement."""

    def __init__(self, sandbox: Sandbox, problem: Problem) -> None:
        self._sandbox = sandbox
        self._problem = problem
        self._timeouts = 0
        self._deadline = time.monotonic() + _MOST_TIME * problem.time_limit_s

    def findings(self) -> list[Finding]:
        """A finding for each test; calls in a row share a process until one ends it."""
        found: list[Finding] = []
        cases = self._problem.cases
        while len(found) < len(cases):
            rest = cases[len(found) :]
            first = rest[0]
            if self._timeouts >= _MAX_TIMEOUTS or time.monotonic() >= self._deadline:
                return found + [Finding.TIMEOUT] * len(rest)
            if isinstance(first, RunCase):
                found.append(self._run(first))
            else:
                found.extend(self._call(_leading_calls(rest)))
            if Finding.TAMPERED in found:
                return found
        return found

    def _limited(self, argv: Sequence[str], stdin: bytes) -> RunResult:
        left = max(0.1, min(self._problem.time_limit_s, self._deadline - time.monotonic()))
        result = self._sandbox.run(argv, stdin=stdin, timeout_s=left)
        self._timeouts += result.status is Status.TIMEOUT
        return result

    def _run(self, case: RunCase) -> Finding:
        result = self._limited(case.argv, case.stdin.encode())
        ended = _ended_early(result)
        if ended is not None:
            return ended
        if result.exit_code != case.exit_code:
            return Finding.CRASHED
        said = result.stdout.decode("utf-8", "replace")
        return Finding.PASSED if _lines(said) == _lines(case.stdout) else Finding.WRONG

    def _call(self, cases: list[CallCase]) -> list[Finding]:
        """Findings of the first of these cases: all of them, or up to the one that ended the process."""
        word = secrets.token_hex(16)
        asked = [[case.target, list(case.args)] for case in cases]
        stdin = f"{word}\n{json.dumps(asked)}".encode()
        result = self._limited(["python3", "-I", "-c", DRIVER], stdin)
        replies = _replies(result.stdout, word, len(cases), whole=result.dropped_bytes == 0)
        if replies is None:
            return [Finding.TAMPERED]
        found = [_judged(reply, case) for reply, case in zip(replies, cases, strict=False)]
        if len(found) < len(cases):
            found.append(_ended_early(result) or Finding.CRASHED)
        elif not result.ok:
            found[-1] = _ended_early(result) or Finding.CRASHED
        return found


def _leading_calls(cases: Sequence[CallCase | RunCase]) -> list[CallCase]:
    calls: list[CallCase] = []
    for case in cases:
        if not isinstance(case, CallCase):
            break
        calls.append(case)
    return calls


def _ended_early(result: RunResult) -> Finding | None:
    if result.status is Status.TIMEOUT:
        return Finding.TIMEOUT
    if result.dropped_bytes or result.status is Status.OUTPUT:
        return Finding.OUTPUT
    return None if result.status in (Status.OK, Status.ERROR) else Finding.CRASHED


def _replies(raw: bytes, word: str, count: int, *, whole: bool) -> list[Any] | None:
    """What the driver reported, in order; None if anything else is on the channel."""
    lines = raw.split(b"\n")
    last = lines.pop()
    if last and whole and not f"{word} ".encode().startswith(last[: len(word) + 1]):
        return None
    replies: list[Any] = []
    for place, line in enumerate(lines):
        head, _, text = line.partition(b" ")
        if head != word.encode() or place >= count:
            return None
        try:
            reply = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(reply, list) or len(reply) != 2 or reply[0] != place:
            return None
        replies.append(reply[1])
    return replies


def _judged(reply: Any, case: CallCase) -> Finding:
    match reply:
        case {"value": value}:
            try:
                return Finding.PASSED if same(value, case.expected) else Finding.WRONG
            except RecursionError:
                return Finding.WRONG
        case _:
            return Finding.RAISED


def same(said: Any, expected: Any) -> bool:
    """Whether a value from JSON is the expected one: types count, but 2 is 2.0; floats may differ by 1e-6."""
    if isinstance(expected, bool) or isinstance(said, bool) or expected is None or said is None:
        return said is expected
    if isinstance(expected, int) and isinstance(said, int):
        return said == expected
    if isinstance(expected, int | float) and isinstance(said, int | float):
        return _close(said, expected)
    if isinstance(expected, list | tuple):
        return (
            isinstance(said, list)
            and len(said) == len(expected)
            and all(same(one, other) for one, other in zip(said, expected, strict=True))
        )
    if isinstance(expected, dict):
        return (
            isinstance(said, dict)
            and said.keys() == expected.keys()
            and all(same(said[key], value) for key, value in expected.items())
        )
    return type(said) is type(expected) and bool(said == expected)


def _close(said: float, expected: float) -> bool:
    try:
        a, b = float(said), float(expected)
    except OverflowError:
        return False
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return math.isclose(a, b, rel_tol=_MAX_TOLERANCE, abs_tol=_MAX_TOLERANCE)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]
