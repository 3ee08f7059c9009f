"""The TARGET argument: its help text and its shell completion."""

from __future__ import annotations

import os
from pathlib import Path
from pkgutil import iter_modules
from typing import Annotated, Any

import typer


def shipped_names() -> list[str]:
    """Names of the environments that ship with the package, without importing them."""
    import openenv

    folders = [str(Path(folder) / "envs") for folder in openenv.__path__]
    return sorted(module.name for module in iter_modules(folders) if not module.name.startswith("_"))


def complete_target(incomplete: str) -> list[tuple[str, str]]:
    """What a shell offers for a TARGET: shipped names, then Python files and folders."""
    names = [(name, "shipped environment") for name in shipped_names() if name.startswith(incomplete)]
    folder, start = os.path.split(incomplete)
    try:
        entries = sorted(os.scandir(folder or "."), key=lambda entry: entry.name)
    except OSError:  # a folder that cannot be listed completes to nothing
        return names
    for entry in entries:
        if not entry.name.startswith(start) or entry.name.startswith((".", "__")):
            continue
        path = os.path.join(folder, entry.name)
        if entry.is_dir():
            kind = "environment package" if (Path(path) / "openenv.yaml").exists() else "folder"
            names.append((path + "/", kind))
        elif entry.name.endswith(".py"):
            names.append((path, "file"))
    return names


def _argument(what: str) -> Any:
    return typer.Argument(metavar="TARGET", help=what, autocompletion=complete_target, show_default=False)


_HERE = "game.py[:Class], module[:Class], a shipped name, a package folder"

Target = Annotated[str, _argument(f"{_HERE}, or the URL of a server.")]
"""An environment here or on a server."""

LocalTarget = Annotated[str, _argument(f"{_HERE}.")]
"""An environment that can be imported here."""

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]

Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="OPENENV_TOKEN",
        help="Bearer token of the server.",
        show_default=False,
        metavar="TOKEN",
    ),
]
