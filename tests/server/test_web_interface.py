"""The page of published environments: its manager, and where it is mounted."""

import asyncio
import sys
import threading
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Literal

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import Field, ValidationError

from openenv import Action, Environment, Observation, State
from openenv.errors import EnvironmentFailedError, OrderError
from openenv.server.web_fields import action_fields
from openenv.server.web_interface import (
    WebInterfaceManager,
    get_quick_start_markdown,
    load_environment_metadata,
    mount,
)
from openenv.types import EnvironmentMetadata


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
    """A stand-in for the library, which notes what it is given."""
    module = ModuleType("gradio")
    module.__spec__ = ModuleSpec("gradio", None, origin="stand-in")
    module.mounted = {}
    module.tabs = None

    def tabbed(pages, names, title):
        module.tabs = names
        return pages[0]

    module.TabbedInterface = tabbed
    module.mount_gradio_app = lambda app, page, path: module.mounted.update({path: page})
    monkeypatch.setitem(sys.modules, "gradio", module)
    monkeypatch.setattr("openenv.server.web_interface.has_gradio", lambda: True)
    monkeypatch.setattr("openenv.server.web_interface.build_gradio_app", lambda *arguments: "plain page")
    return module


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
    assert gradio.mounted == {"/web": "plain page"}
    mount(FastAPI(), Track, Move, Place, gradio_builder=lambda *arguments: "own", custom_tab_primary=True)
    assert gradio.tabs == ["Custom", "Playground"]
