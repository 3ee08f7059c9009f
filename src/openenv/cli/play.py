"""`openenv play`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from openenv.cli._output import note, paint, say, say_json
from openenv.cli._targets import Target, Token
from openenv.cli.exit_codes import ExitCode


def command(
    target: Target,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of the first episode.", show_default=False)
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", help="Deadline of every call, in seconds.", min=0.001, show_default=False),
    ] = None,
    token: Token = None,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Print every result as one JSON object per line instead of text.")
    ] = False,
) -> None:
    """Step through an environment by hand.

    In a terminal every field of the action is asked for.

    Otherwise stdin is read line by line: {"guess": 50} is an action, and so is 50 where it has one field,
    or NAME VALUE where there are several actions or tools; :reset, :state and :quit are commands. Exits
    with 1 if a line could not be carried out.
    """
    from openenv.cli._play.game import Game
    from openenv.cli._play.tools import form_schema
    from openenv.cli._remote import open_env

    interactive = sys.stdin.isatty()
    with open_env(target, token=token, timeout_s=timeout) as env:
        game = Game(
            env,
            form_schema(env, env.action_space.schema),
            read=_ask if interactive else _read_line,
            show=(lambda line: None) if jsonl else say,
            record=(lambda event: say_json(event, indent=None)) if jsonl else None,
            forms=interactive,
        )
        if interactive:
            note(paint(f"{target}. Answer the questions, or:", "dim", stream=sys.stderr))
            game.explain()
            _edit_lines()
        game.play(seed)
    if game.failures and not interactive:
        raise typer.Exit(ExitCode.FAILED)


def _ask(prompt: str) -> str:
    try:
        return input(prompt)
    except EOFError:
        say()
        raise


def _read_line(prompt: str) -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")


def _edit_lines() -> None:
    """Arrow keys and history at the prompt, where Python was built with readline."""
    try:
        import readline  # noqa: F401
    except ImportError:
        note("(no line editing: this Python has no readline)")
