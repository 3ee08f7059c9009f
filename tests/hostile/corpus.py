"""The cheating corpus: snippets as text, one after the other, with what is expected of them.

A section begins with ``### name | seconds | option``. Cells of a snippet are separated by ``#%%``. Options:

* ``next``: a fresh sandbox, and the same one after a reset, must not notice it.
* ``forge``: the last cell prints TRUE-RESULT; nothing else may be believed to be its result.
* ``settle``: look for late effects.
* ``sysv``: nothing may be left in the machine's System V tables.
* ``exit=N``, ``fails``: it is run as a command, and this is what the kernel must have reported.

Expected of every one: contained, on every tier from C up. ``@NAME@`` stands for something outside.
The numbers of system calls in it are those of x86_64.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"


@dataclass(frozen=True)
class Snippet:
    """One attempt to cheat."""

    name: str
    category: str
    seconds: float
    option: str
    cells: tuple[str, ...]

    @property
    def is_command(self) -> bool:
        return self.option == "fails" or self.option.startswith("exit=")


def load() -> list[Snippet]:
    """Every snippet, by category and in order."""
    found = []
    for path in sorted(FOLDER.glob("*.txt")):
        for section in path.read_text().split("### ")[1:]:
            head, _, body = section.partition("\n")
            name, seconds, option = ([*map(str.strip, head.split("|")), ""])[:3]
            found.append(Snippet(name, path.stem, float(seconds), option, tuple(body.split("#%%\n"))))
    return found
