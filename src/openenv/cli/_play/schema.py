"""Reading JSON Schema for people: what can be filled in, what it takes, which alternatives there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One property of an object schema.

    Attributes:
        name: its key.
        schema: what it takes, with references resolved.
        required: whether it must be given.
        description: what it means, empty if the schema does not say.
    """

    name: str
    schema: Schema
    required: bool
    description: str

    @property
    def has_default(self) -> bool:
        """Whether leaving it out means something definite."""
        return "default" in self.schema


def resolve(schema: Schema, root: Schema) -> Schema:
    """`schema` without `$ref` and one-element `allOf` at its top; keys beside a reference win."""
    seen = 0
    while seen < 32:
        seen += 1
        beside = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        if "$ref" in schema:
            target: Any = root
            for part in schema["$ref"].removeprefix("#/").split("/"):
                target = target.get(part.replace("~1", "/").replace("~0", "~"), {})
            schema = {**target, **beside}
        elif len(schema.get("allOf", ())) == 1:
            schema = {**schema["allOf"][0], **beside}
        else:
            break
    return schema


def fields(schema: Schema, root: Schema) -> list[Field]:
    """The fields a person fills in: constants and the free-form `metadata` of every action are left out."""
    required = set(schema.get("required", ()))
    found = []
    for name, raw in schema.get("properties", {}).items():
        inner = resolve(raw, root)
        if "const" in inner or (name == "metadata" and name not in required):
            continue
        found.append(Field(name, inner, name in required, inner.get("description", "")))
    return found


def constants(schema: Schema, root: Schema) -> dict[str, Any]:
    """The fields that can have one value only."""
    inner = {name: resolve(raw, root) for name, raw in schema.get("properties", {}).items()}
    return {name: value["const"] for name, value in inner.items() if "const" in value}


def branches(schema: Schema, root: Schema) -> list[Schema]:
    """The alternatives of a union without `null`; the schema itself if it is no union."""
    options = schema.get("oneOf") or schema.get("anyOf")
    if not options:
        return [schema]
    return [inner for inner in (resolve(option, root) for option in options) if inner.get("type") != "null"]


def nullable(schema: Schema, root: Schema) -> bool:
    """Whether `null` is one of the alternatives."""
    options = schema.get("oneOf") or schema.get("anyOf") or ()
    if any(resolve(option, root).get("type") == "null" for option in options):
        return True
    kind = schema.get("type")
    return kind == "null" or (isinstance(kind, list) and "null" in kind)


def branch_name(schema: Schema, root: Schema) -> str:
    """What to call an alternative: its tool, else its constant `type`, else its title, else its JSON type."""
    tags = constants(schema, root)
    tag = tags.get("tool_name", tags.get("type", next(iter(tags.values()), None)))
    return str(tag if tag is not None else schema.get("title") or schema.get("type") or "value")


def kind_of(schema: Schema) -> str:
    """``integer``, ``number``, ``boolean``, ``string``, ``array``, ``object``, ``enum`` or ``any``."""
    if "enum" in schema:
        return "enum"
    kind = schema.get("type")
    if isinstance(kind, list):
        kinds = [item for item in kind if item != "null"]
        kind = kinds[0] if len(kinds) == 1 else None
    return kind or ("object" if "properties" in schema else "any")


def hint(schema: Schema) -> str:
    """What a field takes, in a few words: ``integer 1 to 100``."""
    kind = kind_of(schema)
    if kind == "enum":
        values = [str(value) for value in schema["enum"]]
        return "/".join(values) if len(values) <= 12 else f"{'/'.join(values[:12])}/... ({len(values)})"
    words = {
        "boolean": "y/n",
        "array": "list",
        "object": "JSON object",
        "any": "JSON or text",
        "string": "text",
    }
    parts = [words.get(kind, kind), _bounds(schema)]
    if schema.get("pattern"):
        parts.append(f"like {schema['pattern']}")
    if schema.get("format"):
        parts.append(schema["format"])
    return " ".join(part for part in parts if part)


def _bounds(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f"{low} to {high}"
    parts = [("at least", low), ("at most", high), ("above", above), ("below", below)]
    parts += [("at least", _amount(schema, "min")), ("at most", _amount(schema, "max"))]
    if schema.get("multipleOf"):
        parts.append(("in steps of", schema["multipleOf"]))
    return ", ".join(f"{word} {value}" for word, value in parts if value is not None)


def _amount(schema: Schema, which: str) -> str | None:
    for key, unit in (("Length", "characters"), ("Items", "items")):
        value = schema.get(which + key)
        if value:
            return f"{value} {unit}"
    return None


def filled_part(schema: Schema, root: Schema) -> tuple[str | None, Schema]:
    """The key and schema that a person fills in: the `arguments` of a tool call, else the object itself."""
    if "tool_name" in constants(schema, root):
        return "arguments", resolve(schema["properties"].get("arguments", {"type": "object"}), root)
    return None, schema
