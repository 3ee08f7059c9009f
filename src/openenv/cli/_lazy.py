"""A Typer group whose commands are imported only when one is called.

The group holds a table `name -> (module, help line)`. Help and shell completion of command names are
answered from the table; `openenv serve` imports `openenv.cli.serve` and nothing of the other commands.
It is also the boundary where an exception of a command becomes a message and an exit code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command


class CommandEntry(NamedTuple):
    """One line of the command table."""

    module: str
    """Module that defines the function `command`."""
    help: str
    """The line shown by `openenv --help`."""


class LazyGroup(TyperGroup):
    """Commands by table; subclasses set `table`."""

    table: ClassVar[Mapping[str, CommandEntry]] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._listing = False
        # Typer suggests close matches from the keys of `commands`.
        self.commands = {name: self._stub(name) for name in self.table}

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command itself; while help or completion lists the names, only its help line."""
        if cmd_name not in self.table:
            return None
        return self.commands[cmd_name] if self._listing else self._load(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Help without importing a command."""
        with self._names_only():
            super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Completion of command names without importing a command."""
        with self._names_only():
            return list(super().shell_complete(ctx, incomplete))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; `--debug` is understood after the command's name too."""
        from openenv.cli import _errors

        head, separator, tail = _split_at_double_dash(args)
        if "--debug" in head[1:]:
            _errors.enable_debug()
            head = [*head[:1], *(word for word in head[1:] if word != "--debug")]
        return super().resolve_command(ctx, [*head, *separator, *tail])

    def invoke(self, ctx: Any) -> Any:
        """Run; the boundary where exceptions become a message on stderr and an exit code."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, EOFError) as error:
            raise typer.Exit(_report(error)) from error
        except Exception as error:
            if _belongs_to_typer(error):
                raise
            raise typer.Exit(_report(error)) from error

    @contextmanager
    def _names_only(self) -> Iterator[None]:
        self._listing = True
        try:
            yield
        finally:
            self._listing = False

    def _stub(self, name: str) -> TyperCommand:
        return TyperCommand(name=name, help=self.table[name].help)

    def _load(self, name: str) -> Any:
        application = typer.Typer(
            add_completion=False, context_settings={"help_option_names": ["-h", "--help"]}
        )
        function = import_module(self.table[name].module).command
        application.command(name, help=_paragraphs(function))(function)
        return get_command(application)


def _paragraphs(function: Callable[..., Any]) -> str:
    """The docstring with one line per paragraph: help wraps lines and keeps line breaks."""
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _split_at_double_dash(args: list[str]) -> tuple[list[str], list[str], list[str]]:
    if "--" not in args:
        return args, [], []
    at = args.index("--")
    return args[:at], ["--"], args[at + 1 :]


def _belongs_to_typer(error: BaseException) -> bool:
    """Usage errors, Exit, Abort and a closed pipe: Typer prints and exits for these itself."""
    return hasattr(error, "exit_code") or isinstance(error, (typer.Abort, BrokenPipeError))


def _report(error: BaseException) -> int:
    from openenv.cli import _errors

    return _errors.report(error)
