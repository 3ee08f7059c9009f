"""The page of published environments: its manager, and where it is mounted."""

import asyncio
import functools
import sys
import threading
from enum import Enum
from typing import Literal

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import Field, ValidationError

from openenv import Action, Environment, Observation, State
from openenv.catalog import resolve
from openenv.errors import EnvironmentFailedError, OrderError
from openenv.server.app import create_app
from openenv.server.web_fields import action_fields
from openenv.server.web_interface import (
    WebInterfaceManager,
    create_web_interface_app,
    get_quick_start_markdown,
    load_environment_metadata,
    mount,
)
from openenv.types import EnvironmentMetadata

from .gradio_stand_in import Gradio


class Move(Action):
    """Move somewhere."""

    direction: Literal["left", "right"]
    steps: int = Field(default=1, ge=1, le=9, description="How far")


class Place(Observation):
    x: int = 0


class Track(Environment):
    """A line to walk on."""

    def __init__(self):
        self.thread = threading.current_thread()
        self.at = State(step_count=0)
        self.closed = False

    def reset(self, seed=None, episode_id=None, start=0):
        self.at = State(episode_id=episode_id, step_count=0, x=start)
        return Place(x=start)

    def step(self, action):
        assert threading.current_thread() is self.thread
        if action.steps == 9:
            raise ZeroDivisionError("fell off")
        self.at.step_count += 1
        self.at.x += action.steps if action.direction == "right" else -action.steps
        return Place(x=self.at.x, reward=1, done=self.at.x >= 5, metadata={"by": action.steps})

    @property
    def state(self):
        return self.at

    def close(self):
        self.closed = True


class SlowTrack(Track):
    async def reset_async(self, seed=None, episode_id=None, **options):
        await asyncio.sleep(0)
        return self.reset(seed, episode_id)

    async def step_async(self, action, timeout_s=None, **options):
        await asyncio.sleep(0)
        return self.step(action)


@pytest.fixture(params=[Track, SlowTrack], ids=["sync", "async"])
async def manager(request):
    manager = WebInterfaceManager(request.param, Move, Place)
    yield manager
    await manager.aclose()
    assert manager.env.closed


async def test_an_episode(manager):
    assert manager.episode_state.is_reset
    first = await manager.reset_environment({"episode_id": "e1", "seed": 1})
    assert first == {"observation": {"metadata": {}, "x": 0}, "reward": None, "done": False}
    second = await manager.step_environment({"direction": "right", "steps": 2})
    assert second == {
        "observation": {"metadata": {"by": 2}, "x": 2},
        "reward": 1,
        "done": False,
        "metadata": {"by": 2},
    }
    assert manager.get_state() == {"episode_id": "e1", "step_count": 1, "x": 2}
    episode = manager.episode_state
    assert (episode.episode_id, episode.step_count, episode.is_reset) == ("e1", 1, False)
    assert episode.current_observation == {"metadata": {"by": 2}, "x": 2}
    (log,) = episode.action_logs
    assert log.action == {"direction": "right", "steps": 2}
    assert (log.reward, log.done, log.step_count) == (1.0, False, 1)
    await manager.reset_environment()
    assert manager.episode_state.action_logs == []


async def test_mistakes_leave_the_episode_alone(manager):
    await manager.reset_environment()
    with pytest.raises(ValidationError):
        await manager.step_environment({"direction": "up"})
    with pytest.raises(EnvironmentFailedError, match="fell off"):
        await manager.step_environment({"direction": "left", "steps": 9})
    assert manager.episode_state.action_logs == []
    await manager.step_environment({"direction": "right", "steps": 7})
    with pytest.raises(OrderError):
        await manager.step_environment({"direction": "right"})


async def test_simultaneous_visitors_take_turns(manager):
    await manager.reset_environment()
    await asyncio.gather(*(manager.step_environment({"direction": "left"}) for _ in range(8)))
    assert manager.get_state()["x"] == -8
    assert [log.step_count for log in manager.episode_state.action_logs] == list(range(1, 9))


async def test_blocking_functions_run_where_the_environment_lives():
    manager = WebInterfaceManager(Track, Move, Place)
    thread = await manager._run_sync_in_thread_pool(lambda a, b: threading.current_thread(), 1, b=2)
    assert thread is manager.env.thread
    assert thread is not threading.current_thread()
    await manager.aclose()


async def test_the_log_is_bounded(monkeypatch):
    monkeypatch.setattr(WebInterfaceManager, "MAX_ACTION_LOGS", 3)
    manager = WebInterfaceManager(Track, Move, Place)
    await manager.reset_environment()
    for _ in range(5):
        await manager.step_environment({"direction": "left"})
    assert [log.step_count for log in manager.episode_state.action_logs] == [3, 4, 5]
    await manager.aclose()


async def test_an_instance_can_be_managed():
    class Anywhere(Track):
        def step(self, action):
            self.thread = threading.current_thread()
            return super().step(action)

    env = Anywhere()
    manager = WebInterfaceManager(env, Move, Place)
    assert manager.env is env
    await manager.reset_environment()
    await manager.step_environment({"direction": "left"})
    assert manager.get_state()["x"] == -1
    await manager.aclose()


def test_form_fields():
    fields = {field["name"]: field for field in action_fields(Move)}
    assert fields["direction"] == {
        "name": "direction",
        "type": "select",
        "required": True,
        "description": "",
        "default_value": None,
        "choices": ["left", "right"],
        "min_value": None,
        "max_value": None,
        "min_length": None,
        "max_length": None,
        "pattern": None,
        "placeholder": "direction",
        "help_text": "",
    }
    assert fields["steps"]["type"] == "number"
    assert (fields["steps"]["min_value"], fields["steps"]["max_value"]) == (1, 9)
    assert fields["steps"]["help_text"] == "How far"


def test_form_field_kinds():
    class Everything(Action):
        message: str
        code: str = ""
        tokens: list[int]
        sure: bool = False
        maybe: int | None = None
        name: str = Field(default="", max_length=8, pattern="a+")

    kinds = {field["name"]: field["type"] for field in action_fields(Everything)}
    assert kinds == {
        "message": "textarea",
        "code": "textarea",
        "tokens": "tensor",
        "sure": "checkbox",
        "maybe": "number",
        "name": "text",
    }


def test_metadata_of_an_instance_and_of_a_class(tmp_path, monkeypatch):
    class Named(Track):
        def get_metadata(self):
            return EnvironmentMetadata(name="N", description="D", version="2")

    assert load_environment_metadata(Named(), "other").name == "N"
    assert load_environment_metadata(Named, "other").name == "other"
    assert load_environment_metadata(Named).description == "Named environment"
    readme = tmp_path / "read.md"
    readme.write_text("# Hello")
    monkeypatch.setenv("ENV_README_PATH", str(readme))
    assert load_environment_metadata(Named).readme_content == "# Hello"


def test_quick_start_names_the_required_fields():
    text = get_quick_start_markdown(EnvironmentMetadata(name="track", description=""), Move, Place)
    assert "`track`" in text
    assert "env.step(direction='left')" in text


def test_without_gradio_a_note_says_what_is_missing(monkeypatch):
    monkeypatch.setattr("openenv.server.web_interface.has_gradio", lambda: False)
    app = FastAPI()
    mount(app, Track, Move, Place, "<track>", gradio_builder=lambda *arguments: None)
    page = TestClient(app).get("/web/")
    assert page.status_code == 200
    assert "pip install 'openenv[gradio]'" in page.text
    assert "&lt;track&gt;" in page.text
    assert "page of its own" in page.text


@pytest.fixture
def gradio(monkeypatch):
    stand_in = Gradio()
    monkeypatch.setitem(sys.modules, "gradio", stand_in)
    return stand_in


def test_the_builder_gets_what_published_builders_expect(gradio):
    given = []

    def builder(web_manager, action_fields, metadata, is_chat_env, title, quick_start_md):
        given.append((web_manager, action_fields, metadata, is_chat_env, title, quick_start_md))
        return "own page"

    app = FastAPI()
    mount(
        app, Track, Move, Place, "track", gradio_builder=builder, show_default_tab=False, title_override="T"
    )
    assert gradio.mounted == {"/web": "own page"}
    ((manager, fields, metadata, is_chat, title, quick_start),) = given
    assert isinstance(manager.env, Track)
    assert [field["name"] for field in fields] == ["direction", "steps"]
    assert (metadata.name, is_chat, title) == ("track", False, "T")
    assert "Connect" in quick_start
    with TestClient(app) as client:
        assert client.get("/web/metadata").json()["name"] == "track"
        assert client.post("/web/reset", json={"start": 3}).json()["observation"]["x"] == 3
        assert client.post("/web/step", json={"action": {"direction": "left"}}).json()["reward"] == 1
        assert client.post("/web/step", json={"action": {"direction": "up"}}).status_code == 422
        assert client.get("/web/state").json()["x"] == 2
        with client.websocket_connect("/ws/ui") as socket:
            assert socket.receive_json()["episode_state"]["step_count"] == 1
            client.post("/web/step", json={"action": {"direction": "left"}})
            assert socket.receive_json()["episode_state"]["step_count"] == 2
    assert manager.env.closed


def test_tabs(gradio):
    mount(FastAPI(), Track, Move, Place, gradio_builder=lambda *arguments: "own", custom_tab_name="Mine")
    assert gradio.tabs == ["Playground", "Mine"]
    assert gradio.mounted["/web"].kind == "Blocks"
    mount(FastAPI(), Track, Move, Place, gradio_builder=lambda *arguments: "own", custom_tab_primary=True)
    assert gradio.tabs == ["Custom", "Playground"]


class Anything(Action):
    message: str
    count: int = 0
    sure: bool = False
    kind: Literal["a", "b"] = "a"
    more: dict = {}


class Desk(Track):
    """Takes anything."""

    def step(self, action):
        if action.count > 3:
            raise ValueError("too many")
        return Place(x=action.count, reward=1.0)


async def test_the_plain_page(gradio):
    app = FastAPI()
    mount(app, Desk, Anything, Place, "desk")
    page = gradio.mounted["/web"]
    assert page.options["title"] == "OpenEnv: desk"
    labels = [
        part.options["label"]
        for kind in Gradio.KINDS
        for part in gradio.parts(kind)
        if "label" in part.options
    ]
    assert set(labels) == {"Result", "message *", "count", "sure", "kind", "more"}
    (more,) = [part for part in gradio.parts("Textbox") if part.options["label"] == "more"]
    assert more.options["value"] == "{}"
    reset, step = gradio.parts("Button")
    assert '"done": false' in await reset.pressed()
    assert '"x": 2' in await step.pressed("hello", 2, False, "b", "")
    with pytest.raises(gradio.Error, match="too many"):
        await step.pressed("hello", 4, False, "b", "")
    with TestClient(app):
        pass


def test_the_page_comes_with_the_application(gradio, monkeypatch):
    app = create_web_interface_app(Track, Move, Place, "track", title_override="Walk")
    with TestClient(app) as client:
        assert client.post("/web/reset").json()["observation"]["x"] == 0
        assert client.post("/reset").status_code == 200
        assert client.get("/", follow_redirects=False).headers["location"] == "web/"
    assert gradio.mounted["/web"].options["title"] == "Walk"
    gradio.mounted.clear()
    production = create_web_interface_app(Track, Move, Place, "track", mode="production")
    assert gradio.mounted == {}
    with TestClient(production) as client:
        assert client.post("/web/reset").status_code in (404, 405)
    monkeypatch.setenv("ENABLE_WEB_INTERFACE", "true")
    create_app(Track, Move, Place)
    assert "/web" in gradio.mounted


def test_an_environment_that_cannot_tell_its_state_yet(gradio):
    class Early(Track):
        @property
        def state(self):
            raise AttributeError("no state before the first reset")

    app = FastAPI()
    mount(app, Early, Move, Place)
    with TestClient(app) as client:
        answer = client.get("/web/state")
        assert (answer.status_code, answer.json()["detail"]) == (409, "no state before the first reset")


def test_a_message_is_an_action(gradio):
    app = FastAPI()
    mount(app, Desk, Anything, Place)
    with TestClient(app) as client:
        client.post("/web/reset")
        assert client.post("/web/step", json={"message": "hi"}).json()["reward"] == 1.0


async def test_sockets_that_went_away_are_forgotten():
    class Gone:
        async def accept(self): ...

        async def send_json(self, message):
            raise RuntimeError("closed")

    manager = WebInterfaceManager(Track, Move, Place)
    socket = Gone()
    await manager.connect_websocket(socket)
    assert manager.connected_clients == []
    await manager.disconnect_websocket(socket)
    await manager.aclose()


async def test_blocking_functions_beside_an_asynchronous_environment():
    manager = WebInterfaceManager(SlowTrack, Move, Place)
    thread = await manager._run_sync_in_thread_pool(threading.current_thread)
    assert thread is not threading.current_thread()
    await manager.aclose()


def test_the_readme_of_a_package(tmp_path, monkeypatch):
    package = tmp_path / "walk_env"
    (package / "server").mkdir(parents=True)
    (package / "README.md").write_text("# Walk")
    (package / "server" / "__init__.py").write_text("")
    (package / "server" / "env.py").write_text(
        "from openenv import Environment\n\n\n"
        "class Walk(Environment):\n    def step(self, x: int) -> int:\n        return x\n"
    )
    cls = resolve(package / "server" / "env.py").cls
    assert load_environment_metadata(cls).readme_content == "# Walk"
    (package / "server" / "README.md").write_text("# Server")
    assert load_environment_metadata(cls).readme_content == "# Server"
    assert load_environment_metadata(functools.partial(cls)).readme_content is None


def test_optional_fields_of_a_form():
    class Color(Enum):
        RED = "red"

    class Optional(Action):
        color: Color
        either: int | str = 1
        maybe: Color | None = None

    fields = {field["name"]: field for field in action_fields(Optional)}
    assert (fields["color"]["type"], fields["color"]["choices"]) == ("select", ["red"])
    assert (fields["maybe"]["type"], fields["either"]["type"]) == ("select", "text")
    assert "color='red'" in get_quick_start_markdown(None, Optional, Place)
