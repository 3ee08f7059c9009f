"""The Gymnasium-style loop, word for word, against every kind of target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.published.conftest import (  # noqa: F401 (fixtures)
    PublishedServer,
    published_python,
    serve_published,
)

import openenv

from .conftest import Serve


def loop(env: Any) -> list[int]:
    """The loop of the issue; returns how long each episode was."""
    lengths = []
    for episode in range(10):
        observation = env.reset()
        for t in range(100):  # noqa: B007
            action = env.action_space.sample()
            observation, reward, done, info = env.step(action)
            assert info["outcome"] in ("ok", "tool_error"), info
            if done:
                break
        assert (observation is not None, len(lengths)) == (True, episode)
        assert reward is None or isinstance(reward, float)
        lengths.append(t + 1)
    return lengths


def test_embedded_echo() -> None:
    with openenv.make("echo") as env:
        assert loop(env) == [100] * 10


def test_embedded_file(folder: Path) -> None:
    with openenv.make(f"{folder}/environments.py:Word") as env:
        lengths = loop(env)
        assert env.state().count == lengths[-1]


def test_embedded_file_on_a_thread(folder: Path) -> None:
    with openenv.make(f"{folder}/environments.py:Word", host="thread", timeout_s=20) as env:
        loop(env)


@pytest.mark.parametrize("target", ["echo", "environments.py:Word", "environments.py:Strict"])
def test_url(serve: Serve, target: str) -> None:
    server = serve(target)
    with openenv.make(server.url) as env:
        loop(env)


@pytest.mark.published
@pytest.mark.timeout(300)
@pytest.mark.parametrize("environment", ["counter", "tools"])
def test_published_server(serve_published: Any, environment: str) -> None:  # noqa: F811
    server: PublishedServer = serve_published(environment)
    with openenv.make(server.url) as env:
        assert loop(env) == [100] * 10
