"""JSON Schemas as agents like them: no titles, no references where a definition can stand in place."""

from __future__ import annotations

from typing import Any

_BY_NAME = ("properties", "patternProperties", "$defs", "dependentSchemas")
_LITERAL = ("default", "const", "enum", "examples", "required")


def compact(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a copy without titles, and with references replaced by what they mean.

    Definitions that refer to themselves keep their references and stay under ``$defs``.
    """
    definitions = schema.get("$defs", {})
    recursive = {name for name in definitions if _reaches(name, name, definitions)}
    body = {key: value for key, value in schema.items() if key != "$defs"}
    result: dict[str, Any] = _place(body, definitions, recursive)
    used = recursive & _all_references(schema)
    if used:
        result["$defs"] = {name: _place(definitions[name], definitions, recursive) for name in sorted(used)}
    return result


def _place(node: Any, definitions: dict[str, Any], recursive: set[str]) -> Any:
    if isinstance(node, list):
        return [_place(item, definitions, recursive) for item in node]
    if not isinstance(node, dict):
        return node
    name = _reference(node)
    if name is not None and name in definitions and name not in recursive:
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return _place({**definitions[name], **beside}, definitions, recursive)
    placed: dict[str, Any] = {}
    for key, value in node.items():
        if key == "title" and isinstance(value, str):
            continue
        if key in _BY_NAME and isinstance(value, dict):
            placed[key] = {k: _place(v, definitions, recursive) for k, v in value.items()}
        elif key in _LITERAL:
            placed[key] = value
        elif key == "discriminator" and isinstance(value, dict):
            placed[key] = {"propertyName": value["propertyName"]} if "propertyName" in value else value
        else:
            placed[key] = _place(value, definitions, recursive)
    return placed


def _reference(node: dict[str, Any]) -> str | None:
    text = node.get("$ref")
    return text.removeprefix("#/$defs/") if isinstance(text, str) else None


def _all_references(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(_all_references, node)) if node else set()
    if not isinstance(node, dict):
        return set()
    own = _reference(node)
    found = {own} if own else set()
    for key, value in node.items():
        if key not in _LITERAL:
            found |= _all_references(value)
    return found


def _reaches(start: str, goal: str, definitions: dict[str, Any]) -> bool:
    """Whether following references from `start` leads back to `goal`."""
    seen: set[str] = set()
    todo = _all_references(definitions[start])
    while todo:
        name = todo.pop()
        if name == goal:
            return True
        if name not in seen and name in definitions:
            seen.add(name)
            todo |= _all_references(definitions[name])
    return False
