"""Find the fenced blocks of a Markdown page and what is to be done with each.

A fence's first word says what it is:

* ``python`` is executed, all blocks of a page in one namespace; with ``title="NAME"`` it is written to that
  file instead. An ``output`` fence after it is what it must print.
* ``console`` is a transcript: ``$ command``, then what it prints. Without output lines only the exit status
  counts. A command that ends in ``&`` keeps running until the page ends; what it shows is how its output
  begins.
* ``wire`` and ``http`` are exchanges with a server; see `exchanges.py`.
* anything else is for reading.

``...`` in expected output stands for anything. A comment before the fence gives a directive::

    <!-- snippet: skip: WHY -->
    <!-- snippet: exit 2 -->
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`]*)$")
_DIRECTIVE = re.compile(r"<!-- snippet: (?P<text>.*?) -->")
_ATTRIBUTE = re.compile(r'(\w+)=(?:"([^"]*)"|(\S+))')


@dataclass(frozen=True)
class Snippet:
    """One fenced block.

    Attributes:
        kind: first word of the info string.
        text: what stands between the fences, without their indentation.
        line: line of the page on which the text begins, from 1.
        attributes: ``key=value`` pairs of the info string.
        skip: why it is not executed, if it is not.
        exit_status: what a console block's last command ends with.
    """

    kind: str
    text: str
    line: int
    attributes: dict[str, str] = field(default_factory=dict)
    skip: str | None = None
    exit_status: int = 0


def pages() -> list[Path]:
    """Every page whose snippets are executed."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def snippets(markdown: str) -> list[Snippet]:
    """Extract the fenced blocks of a page.

    Raises:
        ValueError: if a fence is never closed or a directive is unknown.
    """
    found: list[Snippet] = []
    directive = ""
    lines = iter(enumerate(markdown.splitlines(), start=1))
    for number, line in lines:
        if comment := _DIRECTIVE.search(line):
            directive = comment["text"]
        elif opening := _FENCE.match(line):
            text = _body(lines, len(opening["indent"]), number)
            found.append(_snippet(opening["info"].strip(), text, number + 1, directive))
            directive = ""
        elif line.strip():
            directive = ""
    return found


def _body(lines: Iterator[tuple[int, str]], indent: int, opened: int) -> str:
    kept: list[str] = []
    for _, line in lines:
        if line.strip() == "```":
            return "\n".join(kept) + "\n"
        kept.append(line[indent:] if line[:indent].isspace() else line)
    raise ValueError(f"the fence of line {opened} is never closed")


def _snippet(info: str, text: str, line: int, directive: str) -> Snippet:
    kind, _, rest = info.partition(" ")
    attributes = {key: quoted or bare for key, quoted, bare in _ATTRIBUTE.findall(rest)}
    skip, status = None, 0
    if directive.startswith("skip:"):
        skip = directive.removeprefix("skip:").strip()
    elif directive.startswith("exit "):
        status = int(directive.removeprefix("exit "))
    elif directive:
        raise ValueError(f"line {line}: unknown directive {directive!r}")
    return Snippet(kind, text, line, attributes, skip, status)


def matches(expected: str, actual: str) -> bool:
    """Whether `actual` is `expected`, with ``...`` for anything and trailing blanks ignored."""
    pattern = re.escape(_tidy(expected)).replace(r"\.\.\.", ".*?")
    return re.fullmatch(pattern, _tidy(actual), re.DOTALL) is not None


def _tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
