"""`openenv list`."""

from __future__ import annotations

from dataclasses import asdict

from openenv.cli._output import paint, printable, say, say_json, table
from openenv.cli._targets import AsJson


def command(as_json: AsJson = False) -> None:
    """List the environments that ship with openenv and the environment packages that are installed.

    Each name is a TARGET.
    """
    from openenv.catalog.shipped import shipped
    from openenv.cli._installed import installed_environments

    ours, theirs = shipped(), installed_environments()
    if as_json:
        say_json({"shipped": [asdict(item) for item in ours], "installed": [asdict(item) for item in theirs]})
        return
    rows = [[paint(item.name, "cyan"), "shipped", printable(item.description)] for item in ours]
    rows += [
        [paint(item.name, "cyan"), f"{item.distribution} {item.version}", printable(item.description)]
        for item in theirs
    ]
    say(table(["TARGET", "FROM", "DESCRIPTION"], rows))
