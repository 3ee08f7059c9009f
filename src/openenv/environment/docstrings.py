"""Descriptions out of docstrings: what a method does, and what each parameter means.

Google (``Args:``), NumPy (``Parameters`` underlined) and Sphinx (``:param name:``) styles are understood,
and a Google section may stand in the middle of a line: ``Guess. Args: guess: your number.``
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

_GOOGLE_SECTION = re.compile(
    r"^(Args|Arguments|Params|Parameters|Keyword Args|Returns?|Yields?|Raises|Examples?|Notes?|Attributes"
    r"|See Also|Warnings?|Todo|References)\s*:\s*$"
)
_GOOGLE_ENTRY = re.compile(r"^\*{0,2}`?(\w+)`?\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_GOOGLE_INLINE = re.compile(r"\s*\b(?:Args|Arguments):\s+(?=\S)")
_PARAMETER_SECTIONS = frozenset({"Args", "Arguments", "Params", "Parameters", "Keyword Args"})
_NUMPY_RULE = re.compile(r"^-{3,}\s*$")
_NUMPY_ENTRY = re.compile(r"^(\w+)\s*(?::.*)?$")
_SPHINX_FIELD = re.compile(r"^:(\w+)([^:\n]*):(.*)$")


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
        target: a class, a function or a method; its own docstring is read, never one it inherits.
        names: the parameters that may be described; anything else in a section is ignored.

    Returns:
        Description and parameters. Where no parameter is described, the whole text is the description.
    """
    text = inspect.cleandoc(getattr(target, "__doc__", None) or "")
    for style in (_google, _numpy, _sphinx, _inline):
        description, found = style(text, names)
        if found:
            return Docstring(description.strip(), found)
    return Docstring(text)


def _google(text: str, names: Sequence[str]) -> tuple[str, dict[str, str]]:
    sections: list[tuple[str, list[str]]] = [("", [])]
    for line in text.splitlines():
        heading = _GOOGLE_SECTION.match(line)
        if heading:
            sections.append((heading.group(1), []))
        else:
            sections[-1][1].append(line)
    lines = (line for name, body in sections if name in _PARAMETER_SECTIONS for line in _dedented(body))
    return "\n".join(sections[0][1]), _entries(lines, _GOOGLE_ENTRY, names)


def _numpy(text: str, names: Sequence[str]) -> tuple[str, dict[str, str]]:
    lines = text.splitlines()
    rules = [at for at, line in enumerate(lines) if at and _NUMPY_RULE.match(line)]
    if not rules:
        return text, {}
    body: list[str] = []
    for rule, end in zip(rules, [*(at - 1 for at in rules[1:]), len(lines)], strict=True):
        if lines[rule - 1].strip() == "Parameters":
            body += _dedented(lines[rule + 1 : end])
    return "\n".join(lines[: rules[0] - 1]), _entries(body, _NUMPY_ENTRY, names)


def _sphinx(text: str, names: Sequence[str]) -> tuple[str, dict[str, str]]:
    lines = text.splitlines()
    start = next((at for at, line in enumerate(lines) if _SPHINX_FIELD.match(line)), len(lines))
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in lines[start:]:
        entry = _SPHINX_FIELD.match(line)
        if entry:
            name = (entry.group(2).split() or [""])[-1]
            wanted = entry.group(1) == "param" and name in names
            current = found.setdefault(name, []) if wanted else None
            line = entry.group(3)
        if current is not None:
            current.append(line.strip())
    return "\n".join(lines[:start]), _joined(found)


def _inline(text: str, names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Read a section written on one line, as in ``a: first. b: second.``."""
    inline = _GOOGLE_INLINE.search(text)
    if inline is None or not names:
        return text, {}
    body = text[inline.end() :].split("\n\n", 1)[0]
    starts = list(re.finditer(r"(?:^|[\s,;.])(" + "|".join(map(re.escape, names)) + r"):\s+", body))
    ends = [match.start() for match in starts[1:]] + [len(body)]
    found = {m.group(1): [body[m.end() : end].strip()] for m, end in zip(starts, ends, strict=True)}
    return text[: inline.start()], _joined(found)


def _dedented(lines: list[str]) -> list[str]:
    return inspect.cleandoc("\n" + "\n".join(lines)).splitlines()


def _entries(lines: Iterable[str], entry: re.Pattern[str], names: Sequence[str]) -> dict[str, str]:
    """Collect entries whose first line is not indented and whose further lines are."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in lines:
        match = entry.match(line)
        if match:
            current = found.setdefault(match.group(1), []) if match.group(1) in names else None
            line = match.group(2) if entry.groups > 1 else ""
        if current is not None:
            current.append(line.strip())
    return _joined(found)


def _joined(found: dict[str, list[str]]) -> dict[str, str]:
    texts = ((name, "\n".join(lines).strip()) for name, lines in found.items())
    return {name: text for name, text in texts if text}
