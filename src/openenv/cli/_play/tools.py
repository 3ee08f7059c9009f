"""Tools as alternatives of a form.

The action of a tool environment is "call a tool by name, with arguments", whose schema says nothing about
the tools. For a person each tool becomes an alternative of its own, with its own fields.
"""

from __future__ import annotations

from typing import Any, Protocol

from openenv.cli._play.schema import Schema, branches, constants, resolve

CALL_TOOL = "call_tool"


class ToolOwner(Protocol):
    """The part of `openenv.client.Env` that knows the tools."""

    def list_tools(self) -> list[Any]: ...


def calls_tools(schema: Schema) -> bool:
    """Whether actions of this schema are calls of tools."""
    options = branches(resolve(schema, schema), schema)
    return any(constants(option, schema).get("type") == CALL_TOOL for option in options)


def form_schema(env: ToolOwner, schema: Schema) -> Schema:
    """`schema`, with one alternative per tool if its actions call tools."""
    if not calls_tools(schema):
        return schema
    options, definitions = [], {}
    for tool in env.list_tools():
        arguments = dict(tool.input_schema)
        definitions.update(arguments.pop("$defs", {}))
        options.append(_call(tool.name, tool.description or "", arguments))
    return {"oneOf": options, "$defs": definitions} if options else schema


def _call(name: str, description: str, arguments: Schema) -> Schema:
    return {
        "title": name,
        "description": description,
        "type": "object",
        "properties": {
            "type": {"const": CALL_TOOL},
            "tool_name": {"const": name},
            "arguments": arguments,
        },
        "required": ["type", "tool_name", "arguments"],
    }
