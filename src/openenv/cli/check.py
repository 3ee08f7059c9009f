"""`openenv check`."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from openenv.cli._output import paint, printable, say, say_json
from openenv.cli._targets import AsJson, Target
from openenv.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from openenv.testing import Report

_STYLES = {"error": "red", "warning": "yellow", "note": "blue"}


def command(
    target: Target,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the episodes that are tried.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Check that an environment keeps the contract: seeds, order, invalid actions, hidden state, leaks.

    Exits with 1 if it does not. The same checks in a test: openenv.testing.assert_env(TARGET).
    """
    from openenv.testing import check_env

    with contextlib.redirect_stdout(sys.stderr):  # what the environment prints is not the answer
        report = check_env(target, seed=seed)
    if as_json:
        say_json({**asdict(report), "target": target, "ok": report.ok})
    else:
        _show(target, report)
    if not report.ok:
        raise typer.Exit(ExitCode.FAILED)


def _show(target: str, report: Report) -> None:
    for finding in report.findings:
        severity = finding.severity.value
        say(f"{paint(severity, 'bold', _STYLES[severity])} {paint(finding.id, 'bold')}")
        for label, text in (("", finding.message), ("at ", finding.location), ("fix: ", finding.fix)):
            if text:
                first, *rest = printable(text).splitlines()
                say(f"  {paint(label, 'dim')}{first}")
                for line in rest:
                    say(f"    {line}")
    for reason in dict.fromkeys(report.skipped.values()):
        names = [name for name, why in report.skipped.items() if why == reason]
        say(paint(f"skipped, {printable(reason)}: {', '.join(names)}", "dim"))
    severities = Counter(finding.severity for finding in report.findings)
    counts = [_count(len(report.checks), "check")]
    counts += [_count(number, severity.value) for severity, number in severities.items()]
    verdict = "keeps the contract" if report.ok else "does not keep the contract"
    say(paint(f"{target} {verdict}: {', '.join(counts)}", "green" if report.ok else "red"))


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
