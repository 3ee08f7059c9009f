"""What OpenAPI says of the routes whose bodies are read by hand: the environment's own models.

An environment's JSON Schemas become components (`Action`, `Observation`, `State` ...), their definitions
components of their own (`Action.Move`), and the routes refer to them.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from openenv.environment import EnvironmentSpec

Schema = dict[str, Any]
_DEFINITIONS = "#/$defs/"

NUMBER_OR_NULL: Schema = {"anyOf": [{"type": "number"}, {"type": "null"}]}
OBJECT_OR_NULL: Schema = {"anyOf": [{"type": "object"}, {"type": "null"}]}


def component(name: str) -> Schema:
    """A reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def components(spec: EnvironmentSpec) -> dict[str, Schema]:
    """The environment's schemas as components."""
    found: dict[str, Schema] = {}
    schemas = {
        "Action": spec.action_schema(),
        "Observation": spec.observation_schema(),
        "ResetObservation": spec.reset_observation_schema() or spec.observation_schema(),
        "ResetOptions": spec.reset_schema(),
        "State": spec.state_schema(),
    }
    for name, schema in schemas.items():
        found.update(_lifted(name, schema))
    return found


def _lifted(name: str, schema: Schema) -> dict[str, Schema]:
    definitions = schema.get("$defs", {})
    body = {key: value for key, value in schema.items() if key != "$defs"}
    parts = {name: body, **{f"{name}.{part}": value for part, value in definitions.items()}}
    return {part: _renamed(value, name) for part, value in parts.items()}


def _renamed(node: Any, name: str) -> Any:
    if isinstance(node, list):
        return [_renamed(item, name) for item in node]
    if not isinstance(node, dict):
        return node
    changed = {key: _renamed(value, name) for key, value in node.items()}
    reference = node.get("$ref")
    if isinstance(reference, str) and reference.startswith(_DEFINITIONS):
        changed["$ref"] = f"#/components/schemas/{name}.{reference[len(_DEFINITIONS) :]}"
    mapping = node.get("mapping")
    if isinstance(mapping, dict):
        changed["mapping"] = {
            key: value.replace(_DEFINITIONS, f"#/components/schemas/{name}.")
            for key, value in mapping.items()
            if isinstance(value, str)
        }
    return changed


def body(schema: Schema, *, required: bool) -> Schema:
    """The OpenAPI extra of a route with that JSON body."""
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def answer(description: str, schema: Schema) -> Schema:
    """One entry of a route's `responses`."""
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def observed(name: str) -> Schema:
    """The answer of a reset or a step, with that observation."""
    return {
        "type": "object",
        "required": ["observation", "reward", "done", "metadata"],
        "properties": {
            "observation": component(name),
            "reward": NUMBER_OR_NULL,
            "done": {"type": "boolean"},
            "metadata": OBJECT_OR_NULL,
        },
    }


def step_body() -> Schema:
    """The body of a step."""
    return {
        "type": "object",
        "required": ["action"],
        "properties": {
            "action": component("Action"),
            "timeout_s": {"type": "number", "exclusiveMinimum": 0, "description": "Deadline in seconds"},
            "request_id": {"type": "string", "maxLength": 255},
        },
    }


def publish(app: FastAPI, spec: EnvironmentSpec) -> None:
    """Add the environment's schemas to the application's OpenAPI document."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        document = original()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for name, schema in components(spec).items():
            schemas.setdefault(name, schema)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
