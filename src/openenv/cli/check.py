"""`openenv check`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openenv.cli._output import paint, printable, say, say_json
from openenv.cli._targets import AsJson, Target
from openenv.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from openenv.testing import Report

_STYLES = {"error": "red", "warning": "yellow"}


def command(
    target: Target,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the episodes that are tried.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Check that an environment keeps the contract: seeds, order, invalid actions, hidden state, leaks.

    Exits with 1 if it does not. The same checks in a test: openenv.testing.assert_env(TARGET).
    """
    from openenv.testing import check_env

    report = check_env(target, seed=seed)
    if as_json:
        say_json({"target": target, "ok": report.ok, "findings": [_facts(item) for item in report.findings]})
    else:
        _show(target, report)
    if not report.ok:
        raise typer.Exit(ExitCode.FAILED)


def _facts(finding: Any) -> dict[str, Any]:
    return asdict(finding)


def _show(target: str, report: Report) -> None:
    for finding in report.findings:
        severity = str(finding.severity)
        say(f"{paint(severity, 'bold', _STYLES.get(severity, 'dim'))} {paint(finding.id, 'bold')}")
        for label, text in (("", finding.message), ("at ", finding.location), ("fix: ", finding.fix)):
            if text:
                say(
                    "\n".join(
                        f"  {line}" for line in (paint(label, "dim") + printable(str(text))).splitlines()
                    )
                )
    count = len(report.findings)
    verdict = "keeps the contract" if report.ok else "does not keep the contract"
    notes = f" ({count} finding{'s' * (count != 1)})" if count else ""
    say(paint(f"{target} {verdict}{notes}", "green" if report.ok else "red"))
