"""Two packages of the published kind, whose modules have the same names, side by side."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import openenv
from openenv.errors import InvalidActionError

from .conftest import Serve

MODELS = """
from openenv.core.env_server import Action, Observation

WHO = "{who}"


class Move(Action):
    {field}: int = 0


class Seen(Observation):
    who: str = ""
    late: str = ""
    total: int = 0
"""
HELPERS = "def name():\n    import models\n\n    return models.WHO\n"
ENVIRONMENT = """
import pickle
from uuid import uuid4

{imports}
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import State


class Env(Environment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self):
        self._state = State(episode_id=str(uuid4()), step_count=0)
        self._total = 0

    def reset(self, seed=None, episode_id=None, **kwargs):
        self._total = 0
        return Seen(who=WHO)

    def step(self, action: Move, timeout_s=None, **kwargs):
        import helpers  # only now, when the other package was loaded long ago

        self._total += action.{field}
        pickle.loads(pickle.dumps(Seen(who=WHO)))
        return Seen(who=WHO, late=helpers.name(), total=self._total, reward=1.0)

    @property
    def state(self):
        return self._state
"""
APP = """
from openenv.core.env_server import create_app
{imports}
from server.environment import Env

app = create_app(Env, Move, Seen, env_name="{who}", max_concurrent_envs=4)
"""
FLAT = "from models import WHO, Move, Seen"


def _package(folder: Path, who: str, field: str) -> Path:
    files = {
        "openenv.yaml": f"spec_version: 1\nname: {who}\ntype: space\nruntime: fastapi\napp: server.app:app\n",
        "__init__.py": "",
        "models.py": MODELS.format(who=who, field=field),
        "helpers.py": HELPERS,
        "server/__init__.py": "",
        "server/environment.py": ENVIRONMENT.format(imports=FLAT, field=field),
        "server/app.py": APP.format(imports=FLAT, who=who),
    }
    for name, text in files.items():
        path = folder / who / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / who


@pytest.fixture
def packages(tmp_path: Path) -> tuple[Path, Path]:
    return _package(tmp_path, "north", "by"), _package(tmp_path, "south", "to")


def _play(one: openenv.Env, other: openenv.Env) -> None:
    for env, who in ((one, "north"), (other, "south")):
        assert env.reset().who == who
    for number in range(1, 4):
        for env, who, field in ((one, "north", "by"), (other, "south", "to")):
            seen = env.step({field: 2}).observation
            assert (seen.who, seen.late, seen.total) == (who, who, 2 * number)
    for env, field in ((one, "to"), (other, "by")):  # each has the action of its own package
        with pytest.raises(InvalidActionError):
            env.step({field: 1})


@pytest.mark.parametrize("host", ["inline", "thread"])
def test_in_one_process(packages: tuple[Path, Path], host: str) -> None:
    before = list(sys.path)
    with openenv.make(str(packages[0]), host=host) as one, openenv.make(str(packages[1]), host=host) as other:
        _play(one, other)
    assert sys.path == before
    assert not {"models", "helpers", "server", "server.app"} & set(sys.modules)


def test_served(serve: Serve, packages: tuple[Path, Path]) -> None:
    servers = [serve(package, fresh=True) for package in packages]
    with openenv.make(servers[0].url) as one, openenv.make(servers[1].url) as other:
        _play(one, other)
    for server, field in zip(servers, ("by", "to"), strict=True):
        assert field in server.http("GET", "/schema").json["action"]["properties"]
        session = server.http("POST", "/reset", {}).session
        stepped = server.http("POST", "/step", {"action": {field: 3}}, x_openenv_session=session)
        assert stepped.json["observation"]["total"] == 3
