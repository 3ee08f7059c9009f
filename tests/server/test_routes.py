from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel

from openenv.server.routes import GetEndpointConfig, register_get_endpoints


class Answer(BaseModel):
    value: int


def test_routes_by_table():
    app = FastAPI()
    register_get_endpoints(
        app,
        [
            GetEndpointConfig("/one", lambda: Answer(value=1), Answer, "Numbers", "One", "Gives one"),
            GetEndpointConfig("/two", lambda: {"value": 2}, dict, "Numbers", "Two", "Gives two"),
        ],
    )
    client = TestClient(app)
    assert client.get("/one").json() == {"value": 1}
    assert client.get("/two").json() == {"value": 2}
    operation = app.openapi()["paths"]["/two"]["get"]
    assert (operation["tags"], operation["summary"], operation["description"]) == (
        ["Numbers"],
        "Two",
        "Gives two",
    )
