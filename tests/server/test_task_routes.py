from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.server.environments import Guess, MoveAction, MoveObservation, Published, Quiz

from openenv.server.app import create_fastapi_app, make_app
from openenv.server.settings import ServerSettings


@pytest.fixture
def published() -> Iterator[TestClient]:
    app = create_fastapi_app(Published, MoveAction, MoveObservation, env_name="Moves")
    with TestClient(app) as client:
        yield client


def test_the_environment_is_listed(published: TestClient) -> None:
    assert published.get("/list_environments").json() == ["Moves"]


def test_splits_have_names_and_types(published: TestClient) -> None:
    assert published.get("/moves/splits").json() == [
        {"name": "train", "type": "train"},
        {"name": "dev", "type": "validation"},
        {"name": "test", "type": "test"},
        {"name": "7", "type": "validation"},
    ]


def test_tasks_of_the_environments_own_methods(published: TestClient) -> None:
    body = {"split": "train"}
    assert published.post("/MOVES/tasks", json=body).json() == {
        "tasks": [{"split": "train", "n": 1}],
        "env_name": "Moves",
    }
    assert published.post("/moves/num_tasks", json=body).json() == {"num_tasks": 1}
    one = published.post("/moves/task", json={**body, "index": 0})
    assert one.json() == {"task": {"split": "train", "n": 1}}
    assert published.app.state.openenv.manager.active == 0  # type: ignore[attr-defined]


def test_a_task_that_is_not_there(published: TestClient) -> None:
    reply = published.post("/moves/task", json={"split": "train", "index": 9})
    assert (reply.status_code, reply.json()) == (400, {"detail": "Invalid task index"})


def test_a_method_that_is_not_implemented(published: TestClient) -> None:
    reply = published.post("/moves/task_range", json={"split": "train"})
    assert reply.status_code == 501
    assert reply.json() == {"detail": "get_task_range is not supported for this environment"}


def test_another_environments_name(published: TestClient) -> None:
    for reply in (published.get("/other/splits"), published.post("/other/tasks", json={"split": "x"})):
        assert (reply.status_code, reply.json()) == (404, {"detail": "unknown environment 'other'"})


@pytest.mark.parametrize(
    ("path", "body", "loc"),
    [
        ("tasks", "{}", ["body", "split"]),
        ("tasks", "", ["body"]),
        ("task", '{"split":"train"}', ["body", "index"]),
        ("task", '{"split":"train","index":"x"}', ["body", "index"]),
        ("num_tasks", '{"split":"train","more":1}', ["body", "more"]),
    ],
)
def test_bodies_are_checked(published: TestClient, path: str, body: str, loc: list[Any]) -> None:
    reply = published.post(f"/moves/{path}", content=body)
    assert reply.status_code == 422
    assert reply.json()["detail"][0]["loc"] == loc


def test_an_environment_without_tasks() -> None:
    with TestClient(make_app(Guess, ServerSettings())) as client:
        assert client.get("/guess/splits").status_code == 501


def test_declared_tasks_show_no_answers() -> None:
    with TestClient(make_app(Quiz, ServerSettings())) as client:
        assert client.get("/quiz/splits").json() == [{"name": "train", "type": "train"}]
        assert client.post("/quiz/num_tasks", json={"split": "train"}).json() == {"num_tasks": 2}
        listed = client.post("/quiz/tasks", json={"split": "train"}).json()["tasks"]
        assert listed[0] == {"q": "1+1", "id": "train-0", "index": 0, "split": "train"}
        ranged = client.post("/quiz/task_range", json={"split": "train", "start": 1}).json()["tasks"]
        assert [task["index"] for task in ranged] == [1]
        assert client.post("/quiz/task", json={"split": "train", "index": 9}).status_code == 400


class Late(Published):
    """Its task methods are asynchronous, missing on the class, or broken."""

    async def num_tasks(self, split: str) -> int:  # type: ignore[override]
        if split == "broken":
            raise KeyError("no split")
        return 3


def test_asynchronous_methods_and_failures() -> None:
    with TestClient(create_fastapi_app(Late, MoveAction, MoveObservation)) as client:
        assert client.post("/late/num_tasks", json={"split": "train"}).json() == {"num_tasks": 3}
        reply = client.post("/late/num_tasks", json={"split": "broken"})
        assert reply.status_code == 500
        assert reply.json()["exception"] == "KeyError"


class Provider:
    """Asynchronous, or says that it cannot."""

    async def list_splits(self) -> list[str]:
        return ["train"]

    def num_tasks(self, split: str) -> Any:
        async def later() -> int:
            return 5

        return later()

    def list_tasks(self, split: str) -> Any:
        raise NotImplementedError

    def get_task(self, split: str, index: int) -> Any:
        return {}

    def get_task_range(self, split: str, start: int | None = None, stop: int | None = None) -> Any:
        return []


def test_an_asynchronous_provider() -> None:
    class Provided(Guess, tasks=Provider()):
        """Has a provider."""

    with TestClient(make_app(Provided, ServerSettings())) as client:
        assert client.get("/provided/splits").json() == [{"name": "train", "type": "train"}]
        assert client.post("/provided/num_tasks", json={"split": "x"}).json() == {"num_tasks": 5}
        assert client.post("/provided/tasks", json={"split": "x"}).status_code == 501


class Plain(Published):
    """Its instances lack what the class promises."""

    def __init__(self) -> None:
        super().__init__()
        self.list_splits = None  # type: ignore[assignment,method-assign]


def test_an_instance_without_the_method() -> None:
    with TestClient(create_fastapi_app(Plain, MoveAction, MoveObservation)) as client:
        assert client.get("/plain/splits").status_code == 501
