"""`openenv play`: driven by lines, and by a person at a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from openenv.server.app import make_app
from openenv.server.run import BackgroundServer

from .conftest import Invoke, openenv
from .environments import CALM, GAME


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    (tmp_path / "game.py").write_text(GAME)
    (tmp_path / "calm.py").write_text(CALM)


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_lines_are_actions_and_commands(invoke: Invoke) -> None:
    stdin = '# a comment\n0\n\n{"move": 7}\n:state\n:reset 3\n:quit\n0\n'
    result = invoke("play", "game.py", "--seed", "1", stdin=stdin)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    start, end = lines.index("{"), lines.index("}") + 1
    state = json.loads("\n".join(lines[start:end]))
    assert state | {"episode_id": ""} == {
        "episode_id": "",
        "step_count": 2,
        "turns": 2,
        "board": {"0": 1, "7": 2},
    }
    assert lines[:start] + lines[end:] == [
        "reset, seed 1",
        "  go",
        "  no",
        "  reward -0.5  return -0.5  step 1",
        "  ~ turns 0 -> 1",
        "  + board.0 1",
        "  no",
        "  reward -0.5  return -1  step 2",
        "  ~ turns 1 -> 2",
        "  + board.7 2",
        "reset, seed 3",
        "  go",
    ]


def test_results_as_json_lines(invoke: Invoke) -> None:
    lines = '0\n{"move": 77}\n9\n:reset 1 {"bonus": 5}\n:state\n'
    result = invoke("play", "game.py", "--seed", "1", "--jsonl", stdin=lines)
    found = events(result.stdout)
    assert [event["kind"] for event in found] == ["reset", "step", "error", "error", "reset", "state"]
    assert all(event["schema_version"] == 1 for event in found)
    assert found[0]["seed"] == 1
    assert found[1]["action"] == {"move": 0}
    assert found[1]["reward"] == -0.5
    assert found[2]["outcome"] == "invalid_action"
    assert "move" in found[2]["message"]
    assert found[3]["outcome"] == "env_error"
    assert found[4]["state"]["turns"] == 5
    assert found[5]["state"]["turns"] == 5
    assert result.exit_code == 1


def test_the_end_of_an_episode_is_told_and_a_step_after_it_refused(invoke: Invoke) -> None:
    moves = "\n".join(str(move) for move in (1, 2, 3, 4, 5, 0)) + "\n"
    result = invoke("play", "game.py", "--seed", "1", stdin=moves)
    assert "  terminated (found) after" in result.stdout
    assert "speed 0.5" in result.stdout
    assert ":reset starts a new episode" in result.stdout
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("many", "a whole number is needed"),
        ("{", "not JSON"),
        ("{}", "Field required"),
        ("70", "it must be at most 9"),
        ('{"move": 70}', "move: Input should be less than or equal to 9"),
        (":fly", "there is no command :fly"),
        (":reset x", "write :reset, :reset SEED"),
        ('{"move": 1, "colour": 2}', "colour: Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_done_is_said_and_the_game_goes_on(line: str, said: str, invoke: Invoke) -> None:
    result = invoke("play", "game.py", stdin=f"{line}\n0\n")
    assert said in result.stdout
    assert "  ~ turns 0 -> 1" in result.stdout
    assert result.exit_code == 1
    assert "Traceback" not in result.output


def test_a_step_past_its_deadline_needs_a_reset(invoke: Invoke) -> None:
    result = invoke("play", "game.py", "--timeout", "0.2", stdin="8\n:reset\n0\n")
    assert ":reset starts a new episode" in result.stdout
    assert "  ~ turns 0 -> 1" in result.stdout
    assert result.exit_code == 1


def test_tools_by_name(invoke: Invoke) -> None:
    result = invoke("play", "echo", stdin='echo_message hello\necho_with_length {"message": "abc"}\n')
    assert result.exit_code == 0
    assert "  hello" in result.stdout.splitlines()
    assert '  {"message": "abc", "length": 3}' in result.stdout.splitlines()


def test_a_server_is_played_the_same(invoke: Invoke) -> None:
    from openenv.catalog import resolve

    here = invoke("play", "calm.py", "--seed", "1", stdin="y\nn\n")
    with BackgroundServer(make_app(resolve("calm.py"))) as url:
        there = invoke("play", url, "--seed", "1", stdin="y\nn\n")
    assert here.exit_code == there.exit_code == 0, there.stderr
    assert here.stdout == there.stdout


def test_stdin_of_a_real_process(tmp_path: Path) -> None:
    run = openenv("play", "calm.py", stdin="y\n", cwd=tmp_path)
    assert run.returncode == 0
    assert "  reward 1  return 1  step 1" in run.stdout


class Person:
    """Somebody at a terminal.

    Attributes:
        screen: everything shown so far.
    """

    def __init__(self, *argv: str, cwd: Path) -> None:
        self._controller, terminal = pty.openpty()
        variables = {**os.environ, "TERM": "xterm", "NO_COLOR": "1", "INPUTRC": "/dev/null"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "openenv.cli", *argv],
            cwd=cwd,
            env=variables,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            # A test run in the background of a shell ignores Ctrl-C, and its children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        os.close(terminal)
        self.screen = ""
        self._seen = 0

    def sees(self, text: str, seconds: float = 15.0) -> None:
        """Wait until the text appears after what was seen before."""
        end = time.monotonic() + seconds
        while (at := self.screen.find(text, self._seen)) < 0:
            ready, _, _ = select.select([self._controller], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"no {text!r} in {self.screen[self._seen :]!r}"
            self.screen += os.read(self._controller, 65536).decode()
        self._seen = at + len(text)

    def types(self, keys: str) -> None:
        """Press keys."""
        os.write(self._controller, keys.encode())

    def leaves(self) -> int:
        """Exit code."""
        return self.process.wait(timeout=10)

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=10)
        os.close(self._controller)


@pytest.fixture
def sit_down(tmp_path: Path) -> Iterator[Callable[..., Person]]:
    people: list[Person] = []

    def start(*argv: str) -> Person:
        people.append(Person(*argv, cwd=tmp_path))
        return people[-1]

    yield start
    for person in people:
        person.close()


def test_a_person_at_a_terminal(sit_down: Callable[..., Person]) -> None:
    person = sit_down("play", "game.py", "--seed", "1")
    person.sees(":reset [SEED]")
    person.sees("move (integer 0 to 9): ")
    person.types("12\r")
    person.sees("it must be at most 9")
    person.sees("move (integer 0 to 9): ")
    person.types("7\x7f0\r")  # a correction with backspace
    person.sees("~ turns 0 -> 1")
    person.sees("move (integer 0 to 9): ")
    person.types(":state\r")
    person.sees('"turns": 1')
    for move in "12345":
        person.sees("): ")
        if "Play again?" in person.screen:
            break
        person.types(f"{move}\r")
    person.types("y\r")
    person.sees("reset, seed")
    person.sees("move (integer 0 to 9): ")
    person.types("\x04")
    assert person.leaves() == 0
    assert "terminated (found)" in person.screen


def test_no_at_the_end_leaves(sit_down: Callable[..., Person]) -> None:
    person = sit_down("play", "calm.py")
    for _ in range(4):
        person.sees("up (y/n): ")
        person.types("y\r")
    person.sees("truncated (max_steps) after 4 steps")
    person.sees("Play again?")
    person.types("n\r")
    assert person.leaves() == 0


def test_ctrl_c_leaves(sit_down: Callable[..., Person]) -> None:
    person = sit_down("play", "calm.py")
    person.sees("up (y/n): ")
    # A signal that arrives between the prompt and readline's wait for a key shows at the next one only.
    interrupting = threading.Thread(target=_interrupt_until_gone, args=(person.process,))
    interrupting.start()
    person.sees("interrupted")
    assert person.leaves() == 130
    interrupting.join()


def _interrupt_until_gone(process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        os.kill(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
