"""The page with the real library; runs where the extra `gradio` is installed."""

import gc
import sys
from typing import Literal

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from openenv import Action, Environment, Observation, State
from openenv.errors import MissingExtraError
from openenv.server import gradio_page
from openenv.server.web_interface import mount

from .gradio_stand_in import Gradio


class Move(Action):
    direction: Literal["left", "right"]
    steps: int = 1
    code: str = ""
    sure: bool = False


class Track(Environment):
    def reset(self, seed=None, episode_id=None):
        return Observation()

    def step(self, action):
        return Observation(reward=1)

    @property
    def state(self):
        return State()


def own_page(web_manager, action_fields, metadata, is_chat_env, title, quick_start_md):
    import gradio as gr

    with gr.Blocks(title=title) as page:
        gr.Markdown(quick_start_md)
    return page


@pytest.mark.filterwarnings("ignore")  # the library leaves an event loop open
@pytest.mark.parametrize("options", [{}, {"gradio_builder": own_page}, {"show_default_tab": False}])
def test_a_page_is_served(options):
    pytest.importorskip("gradio", reason="the extra `gradio` is not installed")
    app = FastAPI()
    mount(app, Track, Move, Observation, "track", **options)
    with TestClient(app) as client:
        page = client.get("/web/")
        assert page.status_code == 200
        assert "gradio" in page.text
        assert [answer.url.path for answer in client.get("/").history] == ["/"]
        assert client.get("/web").url.path == "/web/"
        assert client.post("/web/reset").json()["done"] is False
    del app
    gc.collect()


def test_without_the_library(monkeypatch):
    monkeypatch.setattr("openenv.server.gradio_page.has_gradio", lambda: False)
    with pytest.raises(MissingExtraError, match=r"pip install 'openenv\[gradio\]'"):
        _ = gradio_page.OPENENV_GRADIO_THEME


def test_the_theme(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", Gradio())
    assert gradio_page.OPENENV_GRADIO_THEME == "theme"
    with pytest.raises(AttributeError):
        _ = gradio_page.NONSENSE
