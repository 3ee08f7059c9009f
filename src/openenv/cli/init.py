"""`openenv init`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from openenv.cli._output import paint, say


def command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="lower_case name, for instance my_env.", show_default=False)
    ],
    package: Annotated[
        bool, typer.Option("--package", help="Write a package in the layout of published environments.")
    ] = False,
    output_dir: Annotated[
        Path, typer.Option("--output-dir", "-o", help="Folder to write into.", show_default="this folder")
    ] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
) -> None:
    """Write a new environment that works as it is: NAME.py and test_NAME.py.

    With --package: the folder NAME/ with models, server, client, tests, manifest and Dockerfile, as other
    tools of the ecosystem expect it.
    """
    from openenv.scaffold import check_name, write_one_file, write_package

    checked = check_name(name)
    written = (write_package if package else write_one_file)(checked, output_dir, force=force)
    for path in written:
        say(f"{paint('wrote', 'green')} {os.path.relpath(path)}")
    target = os.path.relpath(output_dir / (checked.module if package else f"{checked.module}.py"))
    tests = target if package else os.path.relpath(output_dir / f"test_{checked.module}.py")
    shown = f"./{target}" if package and os.sep not in target else target
    say()
    say(paint("Next:", "bold"))
    for line, what in (
        (f"openenv play {shown}", "step through it by hand"),
        (f"openenv check {shown}", "does it keep the contract?"),
        (f"openenv serve {shown}", "serve it to agents and trainers"),
        (f"pytest {tests}", "run its tests"),
    ):
        say(f"  {line:<{len(shown) + 16}}  {paint(what, 'dim')}")
