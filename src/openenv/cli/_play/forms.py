"""Filling in an action, field by field.

A `Form` asks through a function and says through another, so the same form serves a terminal and a test.
Any answer that starts with ``:`` is a command for the caller (`CommandTyped`); an answer that starts with
``{`` where an object is asked for is the whole object as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from openenv.cli._output import paint, printable
from openenv.cli._play.answers import NotUnderstoodError, parse
from openenv.cli._play.schema import (
    Field,
    Schema,
    branch_name,
    branches,
    constants,
    fields,
    filled_part,
    hint,
    kind_of,
    nullable,
    resolve,
)

_MULTILINE = '"""'
_OMITTED = object()


class CommandTyped(Exception):
    """A line that starts with ``:`` was typed instead of an answer.

    Attributes:
        line: it, without the colon.
    """

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.line = line


class WholeObject(Exception):
    """A JSON object was typed where its first field was asked for.

    Attributes:
        value: that object.
    """

    def __init__(self, value: dict[str, Any]) -> None:
        super().__init__()
        self.value = value


class Form:
    """Asks for one value of a schema.

    Args:
        schema: JSON Schema of the action.
        ask: shows a prompt and returns a line; raises EOFError at the end of input.
        say: shows a line.
    """

    def __init__(self, schema: Schema, ask: Callable[[str], str], say: Callable[[str], None]) -> None:
        self._root = schema
        self._ask = ask
        self._say = say
        self._explained: set[str] = set()

    def fill(self) -> Any:
        """Ask for an action.

        Returns:
            The action as JSON, without the fields that were left at their defaults.

        Raises:
            CommandTyped: the user typed a command instead.
            EOFError: the input ended.
        """
        try:
            return self._object_or_branch(resolve(self._root, self._root), "")
        except WholeObject as whole:
            return whole.value

    def from_line(self, line: str) -> Any:
        """The action that one line means.

        A JSON object is the action itself. Otherwise the line is the name of an alternative (a tool, the
        `type` of an action) and what fills it in, or only the latter where there is one alternative. What
        fills it in is a JSON object, or the plain value of the only field that must be given.

        Raises:
            NotUnderstoodError: it means none.
        """
        if line.lstrip().startswith("{"):
            return parse(line, {"type": "object"}, self._root)
        options = branches(resolve(self._root, self._root), self._root)
        word, _, rest = line.strip().partition(" ")
        for option in options:
            if word == branch_name(option, self._root):
                return self._from_text(option, rest)
        if len(options) == 1:
            return self._from_text(options[0], line)
        names = ", ".join(branch_name(option, self._root) for option in options)
        raise NotUnderstoodError(f"a JSON object is needed, or one of {names} and its value, or a :command")

    def _from_text(self, option: Schema, text: str) -> Any:
        key, part = filled_part(option, self._root)
        value = self._part_from_text(part, text)
        return {**constants(option, self._root), **({key: value} if key else value)}

    def _part_from_text(self, part: Schema, text: str) -> dict[str, Any]:
        inner = fields(part, self._root)
        if text.lstrip().startswith("{"):
            return dict(parse(text, {"type": "object"}, self._root))
        if not text and not any(field.required for field in inner):
            return {}
        open_fields = [field for field in inner if field.required] or inner
        if len(open_fields) != 1:
            names = ", ".join(field.name for field in open_fields) or "no value"
            raise NotUnderstoodError(f"a JSON object is needed, with {names}")
        field = open_fields[0]
        return {field.name: parse(text, branches(field.schema, self._root)[0], self._root)}

    def _object_or_branch(self, schema: Schema, path: str) -> Any:
        options = branches(schema, self._root)
        chosen = options[0] if len(options) == 1 else self._choose(options, path or "action")
        if kind_of(chosen) != "object":
            return self._value(Field(path or "value", chosen, True, ""), path)
        return self._object(chosen, path)

    def _object(self, schema: Schema, path: str) -> dict[str, Any]:
        key, part = filled_part(schema, self._root)
        if key:
            return {**constants(schema, self._root), key: self._object(part, "")}
        inner = fields(schema, self._root)
        value = constants(schema, self._root)
        if not inner and not value and path:
            return dict(self._answer(f"{path} (JSON object)", lambda text: parse(text, schema, self._root)))
        for number, field in enumerate(inner):
            place = f"{path}.{field.name}" if path else field.name
            answer = self._value(field, place, first_of_action=not path and number == 0)
            if answer is not _OMITTED:
                value[field.name] = answer
        return value

    def _value(self, field: Field, path: str, *, first_of_action: bool = False) -> Any:
        self._explain(field, path)
        options = branches(field.schema, self._root)
        may_skip = field.has_default or not field.required
        if len(options) > 1 and any(kind_of(option) == "object" for option in options):
            return self._object_or_branch(field.schema, path)
        schema = options[0] if len(options) == 1 else {}
        if kind_of(schema) == "object" and schema.get("properties") and not may_skip:
            return self._object(schema, path)
        prompt = f"{path} ({self._takes(field, schema, options)})"

        def understand(text: str) -> Any:
            if text == "" and may_skip:
                return _OMITTED
            if text == "" and nullable(field.schema, self._root):
                return None
            if text == "" and kind_of(schema) != "string":
                raise NotUnderstoodError("a value is needed")
            return self._read(text, schema, options, first_of_action)

        return self._answer(prompt, understand)

    def _read(self, text: str, schema: Schema, options: list[Schema], first_of_action: bool) -> Any:
        if first_of_action and text.lstrip().startswith("{"):
            try:
                raise WholeObject(parse(text, {"type": "object"}, self._root))
            except NotUnderstoodError:
                if kind_of(schema) != "string":
                    raise
        if text == _MULTILINE:
            text = self._multiline()
        if len(options) > 1:
            return self._any_of(text, options)
        return parse(text, schema, self._root)

    def _any_of(self, text: str, options: list[Schema]) -> Any:
        """The first alternative that understands `text`, text itself being the last resort."""
        problems = []
        for option in sorted(options, key=lambda option: kind_of(option) == "string"):
            try:
                return parse(text, option, self._root)
            except NotUnderstoodError as problem:
                problems.append(str(problem))
        raise NotUnderstoodError(", or ".join(problems))

    def _choose(self, options: list[Schema], what: str) -> Schema:
        names = [branch_name(option, self._root) for option in options]
        if what not in self._explained:
            self._explained.add(what)
            for number, (name, option) in enumerate(zip(names, options, strict=True), start=1):
                summary = (option.get("description") or "").strip().split("\n")[0]
                self._say(f"  {number} {paint(name, 'cyan')}  {paint(printable(summary), 'dim')}".rstrip())

        def understand(text: str) -> Schema:
            word = text.strip()
            if word.startswith("{") and what == "action":
                raise WholeObject(parse(word, {"type": "object"}, self._root))
            if word.isdecimal() and 1 <= int(word) <= len(options):
                return options[int(word) - 1]
            starting = [number for number, name in enumerate(names) if word and name.startswith(word)]
            exact = [number for number, name in enumerate(names) if name == word]
            if len(exact or starting) != 1:
                raise NotUnderstoodError(f"a number from 1 to {len(options)}, or one of {', '.join(names)}")
            return options[(exact or starting)[0]]

        chosen: Schema = self._answer(f"{what} (1 to {len(options)}, or its name)", understand)
        return chosen

    def _answer(self, prompt: str, understand: Callable[[str], Any]) -> Any:
        while True:
            line = self._ask(f"{prompt}: ")
            if line.startswith(":"):
                raise CommandTyped(line[1:].strip())
            try:
                return understand(line[1:] if line.startswith("\\:") else line)
            except NotUnderstoodError as problem:
                self._say(paint(f"  {problem}", "yellow"))

    def _multiline(self) -> str:
        lines = []
        while (line := self._ask("... ")) != _MULTILINE:
            lines.append(line)
        return "\n".join(lines)

    def _explain(self, field: Field, path: str) -> None:
        if field.description and path not in self._explained:
            self._say(f"  {paint(path, 'cyan')}  {paint(printable(field.description), 'dim')}")
        self._explained.add(path)

    def _takes(self, field: Field, schema: Schema, options: list[Schema]) -> str:
        words = [hint(schema)] if len(options) == 1 else [" or ".join(dict.fromkeys(map(hint, options)))]
        if field.has_default:
            words.append(f"Enter: {json.dumps(field.schema['default'], ensure_ascii=False)}")
        elif not field.required:
            words.append("Enter: leave out")
        elif nullable(field.schema, self._root):
            words.append("Enter: null")
        return "; ".join(words)
