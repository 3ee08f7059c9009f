"""The diagnosis as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from itertools import groupby

from openenv.doctor.findings import Diagnosis, Finding, Status

_MARKS = {Status.OK: "✓", Status.ABSENT: "-", Status.WARNING: "!", Status.PROBLEM: "✗"}
_PLAIN_MARKS = {Status.OK: "ok", Status.ABSENT: "--", Status.WARNING: "!!", Status.PROBLEM: "XX"}
_STYLES = {Status.OK: "green", Status.ABSENT: "dim", Status.WARNING: "yellow", Status.PROBLEM: "red"}

Paint = Callable[..., str]


def _no_paint(text: str, *styles: str) -> str:
    return text


def render(diagnosis: Diagnosis, *, width: int = 100, paint: Paint = _no_paint, unicode: bool = True) -> str:
    """Everything, area by area.

    Args:
        diagnosis: what was found.
        width: columns of the terminal.
        paint: `paint(text, *styles)` colours a text; default plain.
        unicode: whether marks outside ASCII can be shown.
    """
    head = f"openenv {diagnosis.version}"
    lines = [
        paint(head, "bold") + f"   Python {diagnosis.python}   {diagnosis.platform}",
        paint(diagnosis.executable, "dim"),
    ]
    marks = _MARKS if unicode else _PLAIN_MARKS
    column = min(26, max((len(finding.name) for finding in diagnosis.findings), default=0))
    for area, findings in groupby(diagnosis.findings, key=lambda finding: finding.area):
        lines += ["", paint(area.capitalize(), "bold")]
        for finding in findings:
            lines += _finding(
                finding, paint(marks[finding.status], _STYLES[finding.status]), column, width, paint
            )
    return "\n".join([*lines, "", _verdict(diagnosis, paint)])


def _finding(finding: Finding, mark: str, column: int, width: int, paint: Paint) -> list[str]:
    indent = " " * (column + 6)
    first, *rest = textwrap.wrap(finding.detail, max(30, width - len(indent))) or [""]
    name = finding.name
    lines = [] if len(name) <= column else [f"  {mark} {name}"]
    lines.append(f"  {mark} {name:<{column}}  {first}" if not lines else f"{indent}{first}")
    lines += [indent + line for line in rest]
    if finding.fix:
        lines.append(f"{indent}{paint('fix:', 'dim')} {finding.fix}")
    return lines


def _verdict(diagnosis: Diagnosis, paint: Paint) -> str:
    problems = sum(finding.status is Status.PROBLEM for finding in diagnosis.findings)
    warnings = sum(finding.status is Status.WARNING for finding in diagnosis.findings)
    if problems:
        return paint(f"{problems} problem{'s' * (problems != 1)}: see the fix lines above.", "red")
    if warnings:
        return paint(f"Works, with {warnings} warning{'s' * (warnings != 1)}.", "yellow")
    return paint("Everything needed is in place.", "green")
