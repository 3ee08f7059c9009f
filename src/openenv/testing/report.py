"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """The contract is broken: training on this environment, or serving it, will go wrong."""
    WARNING = "warning"
    """Probably a mistake; the author decides."""
    NOTE = "note"
    """Worth knowing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        id: which check found it; see `openenv.testing.checks`.
        severity: how bad it is.
        message: what was seen, in one or two sentences.
        location: ``file:line`` of the code concerned, or the dotted name of the class.
        fix: what to do about it.
    """

    id: str
    severity: Severity
    message: str
    location: str = ""
    fix: str = ""

    def __str__(self) -> str:
        lines = [f"{self.severity} {self.id}: {self.message}"]
        lines += [f"  at {self.location}"] if self.location else []
        lines += [f"  fix: {self.fix}"] if self.fix else []
        return "\n".join(lines)


@dataclass(slots=True)
class Report:
    """The outcome of `check_env`.

    Attributes:
        target: what was checked.
        findings: what was found, in the order of the checks.
        checks: ids of the checks that ran to their end.
        skipped: why a check did not run, by id.
    """

    target: str
    findings: list[Finding] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing is an error."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)

    def __str__(self) -> str:
        verdict = "keeps the contract" if self.ok else "does not keep the contract"
        return "\n".join([*map(str, self.findings), f"{self.target} {verdict} ({len(self.checks)} checks)"])

    def raise_on_failure(self) -> None:
        """Raise `CheckFailedError` if there is an error among the findings."""
        if not self.ok:
            raise CheckFailedError(self)


class CheckFailedError(AssertionError):
    """An environment does not keep the contract.

    Attributes:
        report: all that was found.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(f"\n{report}")
        self.report = report
