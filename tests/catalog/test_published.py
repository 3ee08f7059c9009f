"""Packages in every published style: loaded, reset and stepped, in process, over WebSocket and over HTTP."""

import importlib
import inspect
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi.testclient import TestClient

import openenv
from openenv.catalog import PublishedApp, load_published, resolve
from openenv.errors import TargetError
from openenv.server.run import BackgroundServer

PACKAGES = Path(__file__).parent / "packages"

pytestmark = pytest.mark.filterwarnings("ignore:openenv_core is deprecated:DeprecationWarning")


class Case(NamedTuple):
    folder: str
    name: str
    actions: list[dict[str, Any]]
    first: dict[str, Any]
    last: dict[str, Any]
    reward: float | bool | None
    state: dict[str, Any]


CASES = [
    Case(
        "relative-counter",
        "relative-counter",
        [{"by": 2}, {"by": 3}],
        {"metadata": {}, "total": 0},
        {"metadata": {}, "total": 5},
        3.0,
        {"step_count": 2, "total": 5},
    ),
    Case(
        "absolute_bell",
        "absolute_bell",
        [{"ring": True}],
        {"metadata": {}, "sound": "silence"},
        {"metadata": {}, "sound": "ding"},
        1,
        {"step_count": 1, "rung": 1},
    ),
    Case(
        "flat_light",
        "flat_light",
        [{"brightness": 1}, {"brightness": 2}],
        {"metadata": {}, "brightness": 0},
        {"metadata": {"watts": 60}, "brightness": 2},
        None,
        {"step_count": 2, "brightness": 2},
    ),
    Case(
        "dual_door",
        "dual_door",
        [{"do": "wait"}, {"do": "open"}],
        {"metadata": {}, "is_open": False},
        {"metadata": {}, "is_open": True},
        0.5,
        {"step_count": 2},
    ),
    Case(
        "global_ledger",
        "global_ledger",
        [{"amount": -30.0, "note": "rent"}],
        {"metadata": {}, "balance": 100.0},
        {"metadata": {}, "balance": 70.0},
        -30.0,
        {"step_count": 1, "balance": 70.0, "notes": ["rent"]},
    ),
    Case(
        "old_parcel",
        "old_parcel",
        [{"to": "Ann"}, {"to": "Bo"}],
        {"metadata": {}, "sent": []},
        {"metadata": {}, "sent": ["Ann", "Bo"]},
        True,
        {"step_count": 2},
    ),
    Case(
        "core_kettle",
        "core_kettle",
        [{"seconds": 10}],
        {"metadata": {}, "celsius": 20.0},
        {"metadata": {}, "celsius": 40.0},
        None,
        {"step_count": 1},
    ),
    Case(
        "tool_drawer",
        "tool_drawer",
        [{"type": "list_tools"}, {"type": "call_tool", "tool_name": "put", "arguments": {"thing": "pen"}}],
        {
            "metadata": {},
            "tools": [{"name": "put", "description": "Put a thing in.", "input_schema": {"type": "object"}}],
        },
        {"metadata": {}, "tool_name": "put", "result": ["pen"], "error": None},
        0.25,
        {},
    ),
    Case(
        "own_routes_mailbox",
        "own_routes_mailbox",
        [{"text": "a"}, {"text": "b"}],
        {"metadata": {}, "letters": 0},
        {"metadata": {}, "letters": 2},
        1.0,
        {"step_count": 2},
    ),
    Case(
        "bare_lamp",
        "bare_lamp",
        [{"on": True}],
        {"metadata": {}, "on": False},
        {"metadata": {}, "on": True},
        None,
        {"step_count": 1, "name": "desk"},
    ),
    Case(
        "one_thread_typist",
        "one_thread_typist",
        [{"text": "AB"}, {"text": "CD"}],
        {"metadata": {}, "text": ""},
        {"metadata": {}, "text": "ABCD"},
        0.7,
        {"step_count": 2},
    ),
]

every_package = pytest.mark.parametrize("case", CASES, ids=lambda case: case.folder)


def load(case) -> PublishedApp:
    return load_published(PACKAGES / case.folder)


def visible(observation):
    """An observation without what differs from run to run."""
    return {key: value for key, value in observation.items() if key != "thread"}


def close_to(reward):
    return pytest.approx(reward) if isinstance(reward, float) else reward


def includes(state, expected):
    return {key: state.get(key) for key in expected} == expected


@every_package
def test_in_process(case):
    with openenv.make(PACKAGES / case.folder) as env:
        first = env.reset(seed=3, episode_id="e")
        assert visible(first.model_dump(mode="json", exclude={"reward", "done"})) == case.first
        for action in case.actions:
            result = env.step(action)
        dumped = result.observation.model_dump(mode="json", exclude={"reward", "done"})
        assert visible(dumped) == case.last
        assert result.reward == close_to(case.reward)
        state = env.state()
        assert includes(state if isinstance(state, dict) else state.model_dump(), case.state)


@every_package
def test_over_a_websocket(case):
    with BackgroundServer(load(case).app) as url, openenv.make(url) as env:
        env.reset(seed=3, episode_id="e")
        for action in case.actions:
            result = env.step(action)
        dumped = result.observation.model_dump(mode="json", exclude={"reward", "done"})
        assert visible(dumped) == case.last
        assert result.reward == close_to(case.reward)
        state = env.state()
        assert includes(state if isinstance(state, dict) else state.model_dump(), case.state)


@every_package
def test_plain_frames(case):
    with TestClient(load(case).app) as client, client.websocket_connect("/ws") as socket:
        socket.send_json({"type": "reset", "data": {"seed": 3, "bogus": 1}})
        first = socket.receive_json()
        assert (first["type"], visible(first["data"]["observation"])) == ("observation", case.first)
        for action in case.actions:
            socket.send_json({"type": "step", "data": action})
            answer = socket.receive_json()
        assert visible(answer["data"]["observation"]) == case.last
        assert answer["data"]["reward"] == close_to(case.reward)
        assert type(answer["data"]["reward"]) is type(case.reward)
        socket.send_json({"type": "state"})
        assert includes(socket.receive_json()["data"], case.state)


@every_package
def test_over_http(case):
    with BackgroundServer(load(case).app) as url:
        with httpx.Client(base_url=url, trust_env=False) as client:
            answer = client.post("/reset", json={"seed": 3})
            assert answer.status_code == 200
            assert visible(answer.json()["observation"]) == case.first
            for action in case.actions:
                answer = client.post("/step", json={"action": action})
            assert visible(answer.json()["observation"]) == case.last
            assert answer.json()["reward"] == close_to(case.reward)
            assert includes(client.get("/state").json(), case.state)
            assert client.get("/schema").json()["action"]["type"] == "object"


def test_all_of_them_side_by_side():
    """Every package has a `models` and a `server`; none sees another's."""
    loaded = {case.folder: load(case) for case in CASES}
    environments = {folder: openenv.make(app) for folder, app in loaded.items()}
    for env in environments.values():
        env.reset()
    for case in CASES:
        for action in case.actions:
            result = environments[case.folder].step(action)
        dumped = result.observation.model_dump(mode="json", exclude={"reward", "done"})
        assert visible(dumped) == case.last
    for env in environments.values():
        env.close()
    assert not {"models", "server", "bulbs", "core", "envs"} & set(sys.modules)
    assert not [entry for entry in sys.path if entry.startswith(str(PACKAGES))]


@every_package
def test_no_class_exists_twice(case):
    app = load(case)
    folder = str(PACKAGES / case.folder)
    seen: dict[str, set[str]] = {}
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(folder):
            seen.setdefault(str(module.__file__), set()).add(name)
    assert seen
    assert all(len(names) == 1 for names in seen.values()), seen
    cls = app.spec.cls
    assert cls is not None
    assert inspect.getsource(cls).startswith(f"class {cls.__name__}")
    assert pickle.loads(pickle.dumps(cls)) is cls


def test_the_keywords_of_create_app_are_honoured():
    counter = load_published(PACKAGES / "relative-counter")
    assert counter.runtime.manager.max_sessions == 3
    assert counter.spec.name == "counter"
    assert counter.spec.state_schema()["properties"]["total"]["type"] == "integer"
    assert load_published(PACKAGES / "dual_door").runtime.manager.max_sessions == 1
    assert load_published(PACKAGES / "one_thread_typist").runtime.manager.max_sessions == 4


def test_a_global_instance_survives_between_http_calls():
    app = load_published(PACKAGES / "global_ledger").app
    with TestClient(app) as client:
        assert client.post("/reset").json()["observation"]["balance"] == 100.0
    with TestClient(app) as client:
        answer = client.post("/reset")
        assert answer.headers["x-ledger"] == "stamped"
        client.post("/step", json={"action": {"amount": 1.0, "note": "found"}})
        assert client.get("/audit").json() == {"notes": ["found"]}


def test_routes_of_a_subclassed_server_are_there():
    published = load_published(PACKAGES / "own_routes_mailbox")
    with TestClient(published.app) as client:
        answer = client.get("/capacity").json()
        assert answer == {"makes": "Mailbox", "active_sessions": 0, "max_sessions": 2}
    assert published.spec.cls.__name__ == "Mailbox"


def test_a_package_brings_its_own_client():
    published = load_published(PACKAGES / "relative-counter")
    root = published.app.state.openenv.spec.cls.__module__.rsplit(".", 2)[0]
    client_cls = importlib.import_module(root).CounterEnv
    action_cls = importlib.import_module(root).CountAction
    with BackgroundServer(published.app) as url, client_cls(base_url=url).sync() as client:
        client.reset(start=1)
        result = client.step(action_cls(by=2))
        assert (result.observation.total, result.reward, result.done) == (3, 2.0, False)
        assert client.state().total == 3


def test_loading_twice_gives_the_same_application():
    assert load_published(PACKAGES / "bare_lamp").app is load_published(PACKAGES / "bare_lamp").app


@pytest.fixture
def package(tmp_path):
    """Write a package: `package({"server/app.py": "..."})`."""

    def write(files, name="some_env"):
        for path, text in files.items():
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path / name

    return write


APP = """
from openenv.core.env_server import Action, Environment, Observation, State, create_app

class Env(Environment):
    def reset(self):
        return Observation()
    def step(self, action):
        return Observation(reward=1.0)
    state = property(lambda self: State())
"""


def test_a_client_that_does_not_import_is_no_obstacle(package, caplog):
    """A server's image often lacks what only the client needs."""
    root = package(
        {
            "__init__.py": "from .client import Nothing",
            "client.py": "import library_that_only_clients_have",
            "models.py": "X = 1",
            "server/__init__.py": "",
            "server/app.py": APP + "\nfrom ..models import X\napp = create_app(Env, Action, Observation)\n",
        }
    )
    assert load_published(root).spec.cls.__name__ == "Env"
    assert "library_that_only_clients_have" in caplog.text


def test_what_does_not_load_is_explained(package):
    root = package(
        {
            "pyproject.toml": "",
            "openenv.yaml": "name: x\n",
            "server/app.py": "\nimport marlin_env_library\n",
        }
    )
    with pytest.raises(TargetError) as caught:
        load_published(root)
    message = str(caught.value)
    assert "No module named 'marlin_env_library'" in message
    assert "(server/app.py, line 2)" in message
    assert f"pip install -e {root}" in message


def test_a_package_can_be_repaired_and_loaded_again(package):
    root = package({"server/app.py": "raise RuntimeError('not yet')"})
    with pytest.raises(TargetError, match="RuntimeError: not yet"):
        load_published(root)
    (root / "server/app.py").write_text(APP + "app = create_app(Env, Action, Observation)\n")
    assert load_published(root).spec.cls.__name__ == "Env"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"openenv.yaml": "name: [", "server/app.py": ""}, "openenv.yaml is not valid YAML"),
        ({"openenv.yaml": "- a", "server/app.py": ""}, "should be a mapping"),
        ({"openenv.yaml": "app: [1]", "server/app.py": ""}, "`app` should be text"),
        ({"openenv.yaml": "port: many", "server/app.py": ""}, "`port` should be a whole number"),
        ({"pyproject.toml": "[", "server/app.py": ""}, "pyproject.toml is not valid TOML"),
        ({"openenv.yaml": "app: web.main:app"}, r"there is no web/main.py"),
        ({"server/app.py": "ap = 1"}, "defines no 'app'; did you mean 'ap'"),
        ({"server/app.py": "app = 1"}, "'app' in .*app.py is int, not a FastAPI application"),
        ({"server/app.py": "def app():\n    raise KeyError('k')"}, "KeyError"),
        ({"readme.md": ""}, "has neither openenv.yaml nor server/app.py"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(package, files, message):
    with pytest.raises(TargetError, match=message):
        load_published(package(files))


def test_an_application_may_be_made_by_a_function(package):
    root = package(
        {
            "openenv.yaml": "app: server.main:build",
            "server/main.py": APP + "def build():\n    return create_app(Env, Action, Observation)\n",
        }
    )
    assert load_published(root).spec.cls.__name__ == "Env"


def test_an_application_without_our_server_can_be_served_only(package):
    root = package({"server/app.py": "from fastapi import FastAPI\napp = FastAPI()\n"})
    published = load_published(root)
    with pytest.raises(TargetError, match="can be served but not run in process"):
        _ = published.spec


def test_a_server_that_registers_everything_itself_still_names_its_environment(package):
    root = package(
        {
            "server/app.py": APP
            + """
from fastapi import FastAPI
from openenv.core.env_server import HTTPEnvServer

class Own(HTTPEnvServer):
    def register_routes(self, app):
        app.get("/mine")(lambda: self._env_factory.__name__)

app = FastAPI()
server = Own(Env, Action, Observation)
server.register_routes(app)
"""
        }
    )
    published = load_published(root)
    assert TestClient(published.app).get("/mine").json() == "Env"
    assert published.spec.cls.__name__ == "Env"


def test_an_installed_package_is_found_by_its_name(package, monkeypatch):
    root = package(
        {
            "__init__.py": "",
            "server/__init__.py": "",
            "server/app.py": APP + "app = create_app(Env, Action, Observation)\n",
        },
        name="installed_style_env",
    )
    monkeypatch.syspath_prepend(str(root.parent))
    published = resolve("installed_style_env")
    assert isinstance(published, PublishedApp)
    assert published.spec.cls.__module__ == "installed_style_env.server.app"
    for name in [name for name in sys.modules if name.startswith("installed_style_env")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.published
@pytest.mark.timeout(120)
def test_what_the_published_init_writes_runs_unmodified(tmp_path):
    python = os.environ.get("OPENENV_PUBLISHED_PYTHON")
    if not python:
        pytest.skip("OPENENV_PUBLISHED_PYTHON does not name a Python that has openenv==0.10.0")
    command = [python, "-m", "openenv.cli", "init", "tide_env", "--output-dir", str(tmp_path)]
    subprocess.run(command, capture_output=True, check=True, cwd=tmp_path)
    published = load_published(tmp_path / "tide_env")
    root = importlib.import_module(published.spec.cls.__module__.rsplit(".", 2)[0])
    with BackgroundServer(published.app) as url, root.TideEnv(base_url=url).sync() as client:
        client.reset()
        result = client.step(root.TideAction(message="ebb"))
        assert result.observation.echoed_message == "ebb"
        assert type(result.observation) is root.TideObservation
