"""The administration routes of a server in one process."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

import openenv
from openenv import Environment
from openenv.server import BackgroundServer, ServerSettings, make_app


class Add(Environment):
    total: int = 0

    def reset(self) -> str:
        self.total = 0
        return "go"

    def step(self, number: int) -> str:
        self.total += number
        return str(self.total)


TOKEN = "secret-token"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def test_loopback_alone_proves_nothing() -> None:
    with BackgroundServer(make_app(Add)) as url:
        for method, path in (("GET", ""), ("GET", "/abc"), ("DELETE", "/abc")):
            answer = httpx.request(method, f"{url}/admin/sessions{path}", timeout=30)
            assert answer.status_code == 403
            assert "--token" in answer.json()["detail"]
    with TestClient(make_app(Add)) as client:
        assert client.get("/admin/sessions").status_code == 403


def test_a_session_is_listed_inspected_and_killed() -> None:
    app = make_app(Add, ServerSettings(token=TOKEN))
    with BackgroundServer(app) as url, httpx.Client(base_url=url, headers=HEADERS, timeout=30) as http:
        assert httpx.get(f"{url}/admin/sessions", timeout=30).status_code == 401
        with openenv.make(url, token=TOKEN) as env:
            env.reset(seed=7)
            env.step(number=1)
            listed = http.get("/admin/sessions").json()
            assert (listed["environment"], listed["max_sessions"]) == ("add", 128) or listed["environment"]
            (one,) = listed["sessions"]
            assert len(one["session"]) == 8
            assert (one["door"], one["steps"], one["attached"], one["phase"]) == ("ws", 1, 1, "ready")
            shown = http.get(f"/admin/sessions/{one['session']}", params={"full": "true"}).json()
            assert shown["session"].startswith(one["session"])
            assert (shown["seed"], shown["step"], shown["lease_left_s"]) == (7, 1, None)
            killed = http.delete(f"/admin/sessions/{shown['session']}").json()
            assert killed["killed"] is True
            with pytest.raises(openenv.SessionLost):
                env.step(number=1)
        assert http.get("/admin/sessions").json()["sessions"] == []
        assert http.delete("/admin/sessions/nothing").status_code == 404


def test_an_idle_session_shows_what_is_left_of_its_lease() -> None:
    app = make_app(Add, ServerSettings(token=TOKEN, lease_s=100))
    with BackgroundServer(app) as url, httpx.Client(base_url=url, headers=HEADERS, timeout=30) as http:
        session = http.post("/reset").headers["x-openenv-session"]
        shown = http.get(f"/admin/sessions/{session}").json()
        assert 0 < shown["lease_left_s"] <= 100


def test_a_shortened_id_that_two_sessions_share_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(Add, ServerSettings(token=TOKEN))
    with BackgroundServer(app) as url, httpx.Client(base_url=url, headers=HEADERS, timeout=30) as http:
        for address in ("10.0.0.1", "10.0.0.2"):
            http.post("/reset", headers={"X-Forwarded-For": address})
            http.cookies.clear()
        monkeypatch.setattr("openenv.server.admin.short_id", lambda session_id: "same")
        answer = http.delete("/admin/sessions/same")
        assert (answer.status_code, "2 sessions" in answer.json()["detail"]) == (404, True)


def test_over_a_unix_socket_no_token_is_needed(tmp_path: Path) -> None:
    path = str(tmp_path / "s.sock")
    with BackgroundServer(make_app(Add), uds=path):
        with httpx.Client(transport=httpx.HTTPTransport(uds=path), timeout=30) as http:
            assert http.get("http://localhost/admin/sessions").json()["sessions"] == []
