"""The result of an examination: findings in areas, each with its fix."""

from __future__ import annotations

import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import chain
from typing import Any


class Status(StrEnum):
    """How good a finding is."""

    OK = "ok"
    """There and working."""
    ABSENT = "absent"
    """Optional and not there."""
    WARNING = "warning"
    """Works, but something will surprise."""
    PROBLEM = "problem"
    """Broken until the fix is done."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: ``installation``, ``extras``, ``isolation`` or ``limits``.
        name: what was looked at; unique within its area.
        status: how good it is.
        detail: what was seen.
        fix: the command, or the sentence, that changes it; empty if nothing is to be done.
    """

    area: str
    name: str
    status: Status
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that was looked at, in the order it is shown."""

    version: str
    python: str
    executable: str
    platform: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is broken; warnings and absent options do not count."""
        return all(finding.status is not Status.PROBLEM for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able form."""
        return {
            "ok": self.ok,
            "version": self.version,
            "python": self.python,
            "executable": self.executable,
            "platform": self.platform,
            "findings": [{**asdict(finding), "status": finding.status.value} for finding in self.findings],
        }


def diagnose() -> Diagnosis:
    """Look at everything; takes about as long as the slowest probe, at most some ten seconds."""
    from openenv.doctor import distributions, isolation, limits

    with ThreadPoolExecutor(max_workers=4) as workers:
        parts = [
            workers.submit(look)
            for look in (distributions.installation, distributions.extras, isolation.layers)
        ]
        parts.append(workers.submit(limits.limits))
        findings = tuple(chain.from_iterable(part.result() for part in parts))
    return Diagnosis(
        version=distributions.running_version(),
        python=platform.python_version(),
        executable=sys.executable,
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        findings=findings,
    )
