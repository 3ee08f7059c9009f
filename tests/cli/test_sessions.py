"""`openenv sessions`."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

import openenv
from openenv import Environment
from openenv.cli.exit_codes import ExitCode
from openenv.server import BackgroundServer, ServerSettings, make_app

from .conftest import Invoke


class Game(Environment, name="game"):
    def reset(self) -> str:
        return "go"

    def step(self, number: int) -> str:
        return str(number)


TOKEN = "secret-token"


def test_sessions_are_listed_shown_and_killed(invoke: Invoke) -> None:
    with BackgroundServer(make_app(Game, ServerSettings(token=TOKEN))) as url:
        with openenv.make(url, token=TOKEN) as env:
            env.reset(seed=3)
            listed = invoke("sessions", "list", url, "--token", TOKEN)
            assert listed.exit_code == 0, listed.output
            assert "SESSION" in listed.stdout
            assert "1 of 128 slots" in listed.stdout
            as_json = invoke("sessions", "list", url, "--token", TOKEN, "--json").stdout
            (one,) = json.loads(as_json)["sessions"]
            assert one["session"] in listed.stdout
            shown = invoke("sessions", "show", url, one["session"], "--token", TOKEN, "--full")
            assert "seed         3" in shown.stdout
            assert "lease_left_s -" in shown.stdout
            killed = invoke("sessions", "kill", url, one["session"], "--token", TOKEN)
            assert killed.stdout == f"killed {one['session']} (step 0)\n"
            with pytest.raises(openenv.SessionLost):
                env.state()
        missing = invoke("sessions", "show", url, one["session"], "--token", TOKEN)
        assert missing.exit_code == ExitCode.UNREACHABLE
        assert invoke("sessions", "list", url).exit_code == ExitCode.AUTHENTICATION


def test_a_unix_socket_needs_no_token(invoke: Invoke, tmp_path: Path) -> None:
    path = str(tmp_path / "s.sock")
    with BackgroundServer(make_app(Game), uds=path):
        assert "0 of" in invoke("sessions", "list", f"unix:{path}").stdout
    gone = invoke("sessions", "list", f"unix:{path}")
    assert gone.exit_code == ExitCode.UNREACHABLE


def test_a_server_without_a_token_says_what_it_takes(invoke: Invoke) -> None:
    with BackgroundServer(make_app(Game)) as url:
        refused = invoke("sessions", "list", url)
    assert refused.exit_code == ExitCode.AUTHENTICATION
    assert "--uds" in refused.stderr


@pytest.mark.parametrize(
    "words",
    [("list", "http://127.0.0.1:1", "abc"), ("show", "http://127.0.0.1:1"), ("list", "ftp://nowhere")],
)
def test_words_that_make_no_sense_are_refused(invoke: Invoke, words: tuple[str, ...]) -> None:
    assert invoke("sessions", *words).exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("answer", "path", "code"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", (), ExitCode.FAILED),
        (b"HTTP/1.1 410 Gone\r\nContent-Length: 2\r\n\r\n{}", ("x",), ExitCode.UNREACHABLE),
        (b"nonsense\r\n\r\n", (), ExitCode.UNREACHABLE),
    ],
)
def test_other_answers_become_errors(
    invoke: Invoke, answer: bytes, path: tuple[str, ...], code: ExitCode
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        result = invoke("sessions", "show" if path else "list", url, *path)
        thread.join()
    assert result.exit_code == code, result.output
