"""`openenv doctor`."""

from __future__ import annotations

import shutil
import sys

import typer

from openenv.cli._output import paint, say, say_json
from openenv.cli._targets import AsJson
from openenv.cli.exit_codes import ExitCode


def command(as_json: AsJson = False) -> None:
    """Say what is installed, what isolates here, what is missing and how to get it.

    Exits with 1 if something is broken; optional parts that are absent do not count. If another
    distribution has overwritten this command, `python -m openenv.doctor` still works.
    """
    from openenv.doctor import diagnose
    from openenv.doctor.report import render

    diagnosis = diagnose()
    if as_json:
        say_json(diagnosis.to_dict())
    else:
        width = shutil.get_terminal_size((100, 24)).columns
        unicode = (sys.stdout.encoding or "").lower().startswith("utf")
        say(render(diagnosis, width=width, paint=paint, unicode=unicode))
    if not diagnosis.ok:
        raise typer.Exit(ExitCode.FAILED)
