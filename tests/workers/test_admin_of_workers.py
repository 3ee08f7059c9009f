"""Sessions listed, inspected and killed over all workers."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

import openenv
from openenv.session.names import short_id, worker_of

from .served import TOKEN, eventually, served


def test_sessions_of_all_workers_are_listed_and_killed(tmp_path: Path) -> None:
    with served(tmp_path) as server, server.client() as http:
        envs = [openenv.make(server.url, token=TOKEN) for _ in range(4)]
        for env in envs:
            env.reset()
        listed = http.get("/admin/sessions").json()
        short = [one["session"] for one in listed["sessions"]]
        full = [one["session"] for one in http.get("/admin/sessions?full=1").json()["sessions"]]
        assert sorted(short) == sorted(short_id(session) for session in full)
        assert {worker_of(session) for session in short} == {0, 1}
        assert (listed["workers"], listed["silent"]) == (2, 0)
        for session in short:
            shown = http.get(f"/admin/sessions/{session}").json()
            assert (shown["session"], shown["phase"], shown["step"]) == (session, "ready", 0)
        for session in short[:2]:
            assert http.delete(f"/admin/sessions/{session}").json()["killed"] is True
        assert http.get(f"/admin/sessions/{short[0]}").status_code == 404
        eventually(lambda: server.metric("openenv_sessions_active") == 2)
        alive = 0
        for env in envs:
            try:
                env.step(number=1)
                alive += 1
            except openenv.SessionLost:
                pass
            env.close()
        assert alive == 2


def test_without_a_token_only_the_unix_socket_administers(tmp_path: Path) -> None:
    with served(tmp_path, "--uds", str(tmp_path / "s.sock")) as server, server.client() as http:
        with openenv.make(server.url) as env:
            env.reset()
            (session,) = [one["session"] for one in http.get("/admin/sessions").json()["sessions"]]
            for _ in range(2):  # the connection's worker may be either, the session's is one
                assert http.get(f"/admin/sessions/{session}").json()["session"] == session
            assert http.delete(f"/admin/sessions/{session}").status_code == 200
            with pytest.raises(openenv.SessionLost):
                env.step(number=1)


def test_nobody_else_administers(tmp_path: Path) -> None:
    with served(tmp_path) as server, server.client(headers={}) as stranger:
        assert stranger.get("/admin/sessions").status_code == 401
    with served(tmp_path, "--token", TOKEN) as server:
        wrong = httpx.get(f"{server.url}/admin/sessions", headers={"Authorization": "Bearer x"}, timeout=30)
        assert wrong.status_code == 401
