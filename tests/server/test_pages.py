from __future__ import annotations

import re

from fastapi.testclient import TestClient
from tests.server.environments import Calculator, Guess

from openenv.server.app import make_app
from openenv.server.settings import ServerSettings

ELSEWHERE = re.compile(r"""(?:src|href)=["'](?:https?:)?//""")


def test_the_page_says_what_is_served_and_how_to_connect() -> None:
    with TestClient(make_app(Guess, ServerSettings(token="s3cret"))) as client:
        client.headers["Authorization"] = "Bearer s3cret"
        page = client.get("/web")
        assert page.status_code == 200
        assert "Guess a number." in page.text
        assert "openenv.connect(" in page.text
        assert "s3cret" not in page.text
        assert client.get("/").text == page.text


def test_in_production_it_speaks_of_tools() -> None:
    with TestClient(make_app(Calculator, ServerSettings(mode="production"))) as client:
        text = client.get("/web").text
        assert "production mode" in text
        assert "/mcp" in text
        assert "env.step" not in text


def test_the_routes_are_listed() -> None:
    with TestClient(make_app(Guess, ServerSettings())) as client:
        text = client.get("/docs").text
        assert client.get("/redoc").text == text
        assert "POST /step" in text
        assert "openapi.json" in text


def test_pages_load_nothing_and_run_nothing() -> None:
    with TestClient(make_app(Guess, ServerSettings())) as client:
        for path in ("/web", "/docs"):
            page = client.get(path)
            assert not ELSEWHERE.search(page.text)
            assert "<script" not in page.text
            policy = page.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'")
            assert "unsafe" not in policy
            assert page.headers["x-content-type-options"] == "nosniff"


def test_words_of_the_environment_are_text() -> None:
    class Sly(Guess):
        """<script>alert(1)</script>"""

    with TestClient(make_app(Sly, ServerSettings())) as client:
        assert "<script" not in client.get("/web").text
        assert "<script" not in client.get("/docs").text
