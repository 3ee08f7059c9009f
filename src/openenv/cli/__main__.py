"""The `openenv` command.

`app` is the Typer application, `main` the console entry point; `python -m openenv.cli` is the same.
"""

from __future__ import annotations

from typing import Annotated

import typer

from openenv.cli._lazy import CommandEntry, LazyGroup


class Commands(LazyGroup):
    """The commands of `openenv`."""

    table = {
        "init": CommandEntry(
            "openenv.cli.init", "Write a new environment: one file and its test, or a package."
        ),
        "serve": CommandEntry("openenv.cli.serve", "Serve an environment over WebSocket and HTTP."),
        "play": CommandEntry("openenv.cli.play", "Step through an environment by hand."),
        "run": CommandEntry("openenv.cli.run", "Run episodes of random valid actions and sum them up."),
        "check": CommandEntry("openenv.cli.check", "Check that an environment keeps the contract."),
        "sessions": CommandEntry("openenv.cli.sessions", "List, inspect or end the sessions of a server."),
        "list": CommandEntry("openenv.cli.list", "List the environments that are shipped or installed."),
        "sandbox": CommandEntry(
            "openenv.cli.sandbox", "Say what isolates untrusted code here, by trying it."
        ),
        "doctor": CommandEntry(
            "openenv.cli.doctor", "Say what is installed, what isolates, and what is missing."
        ),
    }


app = typer.Typer(
    name="openenv",
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    epilog="Start with: openenv init my_env. Try a shipped one with: openenv play echo",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from openenv.cli._output import say
        from openenv.doctor.distributions import running_version

        say(f"openenv {running_version()}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", help="Show the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks. Also OPENENV_DEBUG=1, and after any command.")
    ] = False,
) -> None:
    """Create, serve, try and check environments for agents.

    A TARGET names an environment: game.py[:Class], module[:Class],
    a shipped name, a package folder, or the URL of a server.
    """
    if debug:
        from openenv.cli import _errors

        _errors.enable_debug()
    if context.invoked_subcommand is None:
        from openenv.cli._output import say

        say(context.get_help())


def main() -> None:
    """Run the command line and exit with one of `openenv.cli.exit_codes`."""
    app(prog_name="openenv")


if __name__ == "__main__":
    main()
