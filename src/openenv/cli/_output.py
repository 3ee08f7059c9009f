"""Everything commands print: results on stdout, everything else on stderr.

Colour follows the stream: on for a terminal, off otherwise; `NO_COLOR` turns it off and `FORCE_COLOR`
turns it on, in that order. JSON output is one object with `schema_version`, never coloured.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any, Protocol

SCHEMA_VERSION = 1
"""Version of every JSON object that a command prints; raised when a field changes or goes."""

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def coloured(stream: IO[str]) -> bool:
    """Whether `stream` gets colour."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, *styles: str, stream: IO[str] | None = None) -> str:
    """`text` in the named styles if the stream (default stdout) shows colour."""
    if not styles or not text or not coloured(stream or sys.stdout):
        return text
    return f"\x1b[{';'.join(_STYLES[style] for style in styles)}m{text}\x1b[0m"


def printable(text: str) -> str:
    """`text` with control characters made visible: an environment must not steer the terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", text.replace("\r\n", "\n"))


def say(text: str = "") -> None:
    """Print a result."""
    print(text, file=sys.stdout, flush=True)  # noqa: T201


def note(text: str = "") -> None:
    """Print something that is not the result: advice, progress, a warning."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def say_json(payload: Mapping[str, Any], *, indent: int | None = 2) -> None:
    """Print one JSON object; `schema_version` comes first."""
    from openenv.protocol.jsonvalue import to_jsonable

    document = {"schema_version": SCHEMA_VERSION, **to_jsonable(dict(payload))}
    say(json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False))


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Rows in columns under dimmed headers.

    Args:
        headers: one per column.
        rows: cells, already as text; cells may carry colour.
        right: numbers of the columns that are aligned to the right.
    """
    widths = [max(_width(cell) for cell in column) for column in zip(headers, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            _pad(cell, width, number in right)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    return "\n".join([line([paint(header, "dim") for header in headers]), *(line(row) for row in rows)])


def _pad(cell: str, width: int, right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if right else cell + space


def _width(cell: str) -> int:
    return len(re.sub(r"\x1b\[[0-9;]*m", "", cell))


class Progress(Protocol):
    """What a long command tells about how far it is."""

    def advance(self, description: str = "") -> None:
        """One more unit is done; `description` is shown beside the bar."""


class _Silent:
    def advance(self, description: str = "") -> None:
        """Show nothing."""


class _Bar:
    def __init__(self, bar: Any, task: Any) -> None:
        self._bar = bar
        self._task = task

    def advance(self, description: str = "") -> None:
        """Move the bar by one."""
        self._bar.update(self._task, advance=1, note=description)


@contextmanager
def progress(title: str, total: int) -> Iterator[Progress]:
    """A progress bar on stderr while the block runs; nothing at all where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield _Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Bar(bar, bar.add_task(title, total=total, note=""))
