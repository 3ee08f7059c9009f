"""`openenv sandbox`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openenv.cli._output import paint, printable, say, say_json, table
from openenv.cli._targets import AsJson
from openenv.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from openenv.sandbox import Report

_COLOURS = {"verified": "green", "weak": "yellow", "missing": "red"}


class What(StrEnum):
    """What to do."""

    DOCTOR = "doctor"


def command(
    what: Annotated[What, typer.Argument(help="doctor: try to get out of a sandbox, layer by layer.")],
    backend: Annotated[
        str, typer.Option("--backend", help="Only this one; by default the strongest that works.")
    ] = "auto",
    as_json: AsJson = False,
) -> None:
    """Say what isolates untrusted code on this machine, by trying to get out of a fresh sandbox.

    Each layer is verified, weak or missing. Exits with 1 if tier A is not reached.
    """
    from openenv.errors import SandboxError
    from openenv.sandbox import Tier, backends

    reports: list[Report] = []
    problems: dict[str, str] = {}
    for name in backends.order(backend):
        try:
            reports.append(backends.examined(name))
        except SandboxError as error:
            problems[name] = str(error)
            continue
        if reports[-1].tier.at_least(Tier.A):
            break
    backends.close_all()
    best = max((report.tier for report in reports), key=lambda tier: tier.rank, default=Tier.NONE)
    if as_json:
        say_json(
            {"tier": best.value, "reports": [_document(report) for report in reports], "failed": problems}
        )
    else:
        _show(reports, problems, best.value)
    if not best.at_least(Tier.A):
        raise typer.Exit(ExitCode.FAILED)


def _document(report: Report) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        **report.to_dict(),
        "create_ms": report.create_ms,
        "layers": [asdict(one) for one in report.layers],
    }


def _show(reports: list[Report], problems: dict[str, str], best: str) -> None:
    for name, problem in problems.items():
        say(f"{paint(name, 'bold')}: cannot make a sandbox here: {printable(problem)}\n")
    for report in reports:
        say(f"{paint(report.backend, 'bold')}: tier {report.tier.value}, made in {report.create_ms:.1f} ms")
        rows = [
            [
                paint(layer.standing.value, _COLOURS[layer.standing.value]),
                layer.name,
                printable(layer.evidence),
            ]
            for layer in report.layers
        ]
        say(table(["STANDING", "LAYER", "EVIDENCE"], rows))
        for layer in report.layers:
            if layer.fix:
                say(f"  {layer.name}: stops {layer.meaning}. To get it: {layer.fix}.")
        say()
    say(f"tier {best}")
