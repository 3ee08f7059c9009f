"""Descriptions out of docstrings: what a method does, and what each parameter means.

Google style (``Args:``) and Sphinx style (``:param name:``) are understood, and a Google section may
start in the middle of a line: ``Guess. Args: guess: your number.``
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_SECTION = re.compile(
    r"^(Args|Arguments|Parameters|Params|Returns|Return|Yields|Raises|Examples?|Notes?|Attributes|See Also"
    r"|Warnings?|Todo|References)\s*:\s*$"
)
_ARGS = frozenset({"Args", "Arguments", "Parameters", "Params"})
_INLINE = re.compile(r"\s*\b(?:Args|Arguments):\s+(?=\S)")
_SPHINX = re.compile(r"^\s*:param\s+(?:[^:\s]+\s+)?(\w+)\s*:\s*(.*)$")
_SPHINX_OTHER = re.compile(r"^\s*:(?:returns?|rtype|raises?|type)\b[^:]*:")


@dataclass(frozen=True, slots=True)
class Docstring:
    """A docstring taken apart.

    Attributes:
        description: the text before the first section.
        parameters: description per parameter.
    """

    description: str = ""
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The first paragraph, on one line."""
        return " ".join(self.description.split("\n\n", 1)[0].split())


def parse_docstring(target: Any, names: Sequence[str] = ()) -> Docstring:
    """Take the docstring of `target` apart.

    Args:
        target: a class, a function or a method; its own docstring is read, never an inherited one of a base.
        names: the parameters that may be described; anything else in a section is ignored.

    Returns:
        Description and parameters. Where no parameter is described, the whole text is the description.
    """
    text = inspect.cleandoc(getattr(target, "__doc__", None) or "")
    if not text:
        return Docstring()
    known = frozenset(names)
    sections = _sections(text)
    parameters = _parameters(sections, known) or _sphinx(text, known)
    if parameters:
        return Docstring(_without_sphinx(sections[0][1]), parameters)
    inline = _INLINE.search(text)
    if inline:
        parameters = _inline(text[inline.end() :], names)
        if parameters:
            return Docstring(text[: inline.start()].strip(), parameters)
    return Docstring(text)


def _sections(text: str) -> list[tuple[str, str]]:
    """Split at section headings that stand on a line of their own."""
    found: list[tuple[str, list[str]]] = [("", [])]
    for line in text.splitlines():
        heading = _SECTION.match(line)
        if heading:
            found.append((heading.group(1), []))
        else:
            found[-1][1].append(line)
    return [(name, "\n".join(lines).strip("\n").rstrip()) for name, lines in found]


def _parameters(sections: list[tuple[str, str]], known: frozenset[str]) -> dict[str, str]:
    parameters: dict[str, list[str]] = {}
    for name, body in sections:
        if name not in _ARGS:
            continue
        current: list[str] | None = None
        indent = _indent(body)
        for line in body.splitlines():
            entry = _entry(line) if _indent(line) <= indent else None
            if entry:
                current = parameters.setdefault(entry[0], []) if entry[0] in known else None
                line = entry[1]
            if current is not None and line.strip():
                current.append(line.strip())
    return {name: " ".join(lines) for name, lines in parameters.items() if lines}


def _entry(line: str) -> tuple[str, str] | None:
    match = re.match(r"\s*\*{0,2}`?(\w+)`?\s*(?:\([^)]*\))?\s*:\s*(.*)$", line)
    return (match.group(1), match.group(2)) if match else None


def _indent(text: str) -> int:
    first = next((line for line in text.splitlines() if line.strip()), "")
    return len(first) - len(first.lstrip())


def _sphinx(text: str, known: frozenset[str]) -> dict[str, str]:
    found = (_SPHINX.match(line) for line in text.splitlines())
    return {m.group(1): m.group(2).strip() for m in found if m and m.group(1) in known and m.group(2).strip()}


def _without_sphinx(text: str) -> str:
    lines = [ln for ln in text.splitlines() if not (_SPHINX.match(ln) or _SPHINX_OTHER.match(ln))]
    return "\n".join(lines).strip()


def _inline(text: str, names: Sequence[str]) -> dict[str, str]:
    """Read a section written on one line, as in ``a: first. b: second.``."""
    if not names:
        return {}
    starts = list(re.finditer(r"(?:^|[\s,;.])(" + "|".join(map(re.escape, names)) + r"):\s+", text))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    parts = {m.group(1): text[m.end() : end].strip() for m, end in zip(starts, ends, strict=True)}
    return {name: part.split("\n\n", 1)[0].strip() for name, part in parts.items() if part}
