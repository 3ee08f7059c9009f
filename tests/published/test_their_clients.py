"""The published package's clients drive our server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.published.conftest import HERE

from openenv import Environment, Outcome, tool
from openenv.server.app import make_app
from openenv.server.run import BackgroundServer
from openenv.server.settings import ServerSettings
from openenv.types import Action, Observation

Drive = Callable[[str, str], Any]


class CountAction(Action):
    by: int = 1


class CountObservation(Observation):
    count: int = 0


class Counter(Environment[CountAction, CountObservation, Any]):
    """Counts."""

    SUPPORTS_CONCURRENT_SESSIONS = True
    count: int = 0

    def reset(self, seed: int | None = None) -> CountObservation:
        self.count = 0
        return CountObservation()

    def step(self, action: CountAction) -> CountObservation:
        if action.by < 0:
            raise ValueError("cannot count down")
        self.count += action.by
        return CountObservation(count=self.count, reward=float(action.by), metadata={"by": action.by})


class Toolbox(Environment):
    """Tools."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    @tool
    def add(self, a: int, b: int = 1) -> Outcome[int]:
        """Add two numbers."""
        return Outcome(a + b, reward=0.5)

    @tool
    def fail(self) -> str:
        """Fail."""
        raise ValueError("as asked")


@pytest.fixture
def drive(published_python: Path) -> Drive:
    def run(what: str, url: str) -> Any:
        ran = subprocess.run(
            [published_python, HERE / "driver.py", what, url], capture_output=True, text=True, cwd="/"
        )
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout.splitlines()[-1])

    return run


def served(target: type) -> Iterator[str]:
    app = make_app(target, ServerSettings(host="127.0.0.1", max_sessions=8))
    with BackgroundServer(app) as url:
        yield url


@pytest.fixture
def counter() -> Iterator[str]:
    yield from served(Counter)


@pytest.fixture
def tools() -> Iterator[str]:
    yield from served(Toolbox)


def observed(count: int, **metadata: Any) -> dict[str, Any]:
    reward = float(metadata["by"]) if metadata else None
    return {"observation": {"metadata": metadata, "count": count}, "reward": reward, "done": False}


def test_generic(drive: Drive, counter: str) -> None:
    saw = drive("generic", counter)
    assert saw["reset"] == observed(0)
    assert saw["steps"] == [observed(1, by=1), observed(3, by=2)]
    wrong, extra, failed = saw["errors"]
    assert "VALIDATION_ERROR" in wrong
    assert "VALIDATION_ERROR" in extra
    assert "cannot count down" in failed
    assert "EXECUTION_ERROR" in failed
    assert saw["after"] == observed(6, by=3)
    assert saw["state"]["count"] == 6
    assert saw["state"]["episode_id"] == "mine"


def test_generic_asynchronously(drive: Drive, counter: str) -> None:
    assert drive("generic_async", counter) == [observed(1, by=1), observed(3, by=2)]


def test_typed(drive: Drive, counter: str) -> None:
    first, second, state = drive("typed", counter)
    assert (first["observation"]["count"], first["reward"]) == (4, 4.0)
    assert second["observation"]["count"] == 1
    assert state["count"] == 4


def test_tools(drive: Drive, tools: str) -> None:
    saw = drive("tools", tools)
    assert [one["name"] for one in saw["listed"]] == ["add", "fail"]
    assert saw["listed"][0]["input_schema"]["required"] == ["a"]
    assert saw["called"] == 3
    assert "as asked" in saw["failed"]
    assert saw["stepped"]["observation"]["result"]["data"] == 6
    assert saw["stepped"]["reward"] == 0.5
    assert saw["steps"] == 3, "a call by name is a step, too"


def test_tools_asynchronously(drive: Drive, tools: str) -> None:
    assert drive("tools_async", tools) == [2, 4, True]
