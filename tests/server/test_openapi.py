from __future__ import annotations

import json
from typing import Any, Literal

from fastapi.testclient import TestClient
from pydantic import BaseModel, create_model
from tests.server.environments import Calculator, Guess, MoveAction, MoveObservation, MoveState, Published

from openenv import Action, Environment, Observation, action
from openenv.environment import describe
from openenv.server.app import create_fastapi_app, make_app
from openenv.server.openapi import components
from openenv.server.settings import ServerSettings


class Point(BaseModel):
    x: int
    next: Point | None = None


class PointAction(Action):
    to: Point


class Plane(Environment[PointAction, Observation, object]):
    def step(self, action: PointAction) -> Observation:
        return Observation()


class Choices(Environment):
    @action
    def go(self, direction: Literal["n", "s"]) -> str:
        """Go."""
        return direction

    @action
    def wait(self) -> str:
        """Wait."""
        return ""


def references(node: Any) -> set[str]:
    if isinstance(node, list):
        return {found for item in node for found in references(item)}
    if not isinstance(node, dict):
        return set()
    own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
    mapped = set(node["mapping"].values()) if isinstance(node.get("mapping"), dict) else set()
    return own | mapped | {found for value in node.values() for found in references(value)}


def documented(target: Any, **settings: Any) -> dict[str, Any]:
    document: dict[str, Any] = make_app(target, ServerSettings(**settings)).openapi()
    return document


def assert_whole(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for reference in references(document):
        assert reference.startswith("#/components/schemas/"), reference
        assert reference.removeprefix("#/components/schemas/") in schemas, reference


def test_the_environments_own_models_are_there() -> None:
    document = documented(Guess)
    step = document["paths"]["/step"]["post"]
    body = step["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["action"] == {"$ref": "#/components/schemas/Action"}
    assert "guess" in document["components"]["schemas"]["Action"]["properties"]
    answer = step["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer["properties"]["observation"] == {"$ref": "#/components/schemas/Observation"}
    assert "low" in document["components"]["schemas"]["ResetOptions"]["properties"]
    assert document["info"]["version"] == "1.0.0"
    assert {"/reset", "/step", "/state", "/close", "/ready", "/metrics", "/mcp"} <= set(document["paths"])


def test_every_reference_leads_somewhere() -> None:
    for target in (Guess, Calculator, Plane, Choices):
        assert_whole(documented(target))
    app = create_fastapi_app(Published, MoveAction, MoveObservation, state_cls=MoveState)
    assert_whole(app.openapi())


def test_production_has_no_controls() -> None:
    paths = documented(Calculator, mode="production")["paths"]
    assert not {"/reset", "/step", "/state", "/close"} & set(paths)


def test_definitions_become_components() -> None:
    found = components(describe(Plane))
    assert found["Action"]["properties"]["to"] == {"$ref": "#/components/schemas/Action.Point"}
    assert "#/components/schemas/Action.Point" in json.dumps(found["Action.Point"])


def test_an_authors_model_of_the_same_name_is_kept() -> None:
    app = make_app(Guess, ServerSettings())

    async def mine(body: Any) -> Any:
        return body

    model = create_model("State", mine=(int, ...))
    mine.__annotations__ = {"body": model, "return": model}
    app.post("/mine")(mine)

    schemas = app.openapi()["components"]["schemas"]
    assert "mine" in schemas["State"]["properties"]
    with TestClient(app) as client:
        assert client.get("/openapi.json").json() == app.openapi()


def test_constants_are_left_alone() -> None:
    from openenv.server.openapi import _renamed

    node = {"mapping": {"a": "#/$defs/A", "b": 5}, "$ref": "https://elsewhere", "enum": [1, "x"]}
    assert _renamed(node, "T") == {
        "mapping": {"a": "#/components/schemas/T.A"},
        "$ref": "https://elsewhere",
        "enum": [1, "x"],
    }
