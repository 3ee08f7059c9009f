"""The guest's side, driven in this process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from openenv import Environment, tool
from openenv.environment import describe
from openenv.protocol.mcp_types import ListToolsAction
from openenv.session import process_guest
from openenv.session.passing import Classes, dumps, loads, receive, send
from openenv.session.process_host import _alike, _how, _raised

from .process_environments import Careless, Model, Scored


class Line:
    """A connection to a guest."""

    def __init__(self, cls: type[Environment]) -> None:
        spec = describe(cls)
        self.spec = spec
        self.classes = Classes()
        self.ours, theirs = socket.socketpair()

        def run() -> None:
            with theirs:
                process_guest.serve(theirs, spec, self.classes)

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def ask(self, what: str, *arguments: Any) -> tuple[str, Any]:
        send(self.ours, dumps((what, arguments), self.classes))
        answer: tuple[str, Any] = loads(receive(self.ours), self.classes, trusted=False)
        return answer

    def end(self) -> None:
        self.ours.close()
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture
def lines() -> Iterator[Any]:
    opened: list[Line] = []

    def open_line(cls: type[Environment]) -> Line:
        opened.append(Line(cls))
        return opened[-1]

    yield open_line
    for line in opened:
        line.end()


EPISODE = ("e", 1, 0, None, None)


def test_an_episode(lines: Any) -> None:
    line = lines(Careless)
    assert line.ask("make") == ("value", None)
    assert line.ask("reset", EPISODE, 1, "e", {})[0] == "value"
    kind, parts = line.ask("step", None, 0, line.spec.validate_action({"what": "go"}), None, {})
    assert (kind, parts[0].result.split()[0]) == ("value", "1")
    assert line.ask("state")[1].level == 0
    assert line.ask("metadata")[1].name == line.spec.name
    assert line.ask("attribute", "level") == ("value", ("value", 0))
    assert line.ask("attribute", "helper") == ("value", ("method", None))
    assert line.ask("attribute", "nothing") == ("value", ("missing", None))
    assert line.ask("method", "helper", (1,)) == ("value", 2)
    assert line.ask("close") == ("value", None)


def test_a_guest_without_an_episode_lists_tools(lines: Any) -> None:
    line = lines(Tooled)
    line.ask("make")
    kind, found = line.ask("step", None, 0, ListToolsAction(), None, {})
    assert (kind, [one.name for one in found.observation.tools]) == ("value", ["count"])
    assert line.ask("transition", None)[0] == "value"
    call = line.spec.validate_action({"type": "call_tool", "tool_name": "count"})
    assert line.ask("step", None, 0, call, None, {})[0] == "value"
    assert line.ask("close") == ("value", None)


class Tooled(Environment):
    @tool
    def count(self) -> int:
        """Count."""
        return 1


def test_coroutines_are_awaited(lines: Any) -> None:
    line = lines(Model)
    line.ask("make")
    line.ask("reset", EPISODE, 1, "e", {})
    kind, parts = line.ask("step", None, 0, line.spec.validate_action({"mood": "good"}), None, {})
    assert (kind, parts[1]) == ("value", 1.0)
    assert line.ask("close")[0] == "value"


def test_a_scored_step_waits_for_its_limit(lines: Any) -> None:
    line = lines(Scored)
    line.ask("make")
    line.ask("reset", EPISODE, 1, "e", {})
    assert line.ask("step", None, 0, line.spec.validate_action({"number": 1}), None, {}) == ("value", None)
    kind, parts = line.ask("transition", "max_steps")
    assert (kind, parts[1]) == ("value", 2.0)


def test_errors_are_told(lines: Any) -> None:
    line = lines(Careless)
    line.ask("make")
    line.ask("reset", EPISODE, 1, "e", {})
    kind, told = line.ask("step", None, 0, line.spec.validate_action({"what": "raise"}), None, {})
    assert (kind, told["name"], told["standard"]) == ("raised", "ValueError", "ValueError")
    kind, told = line.ask("reset", EPISODE, 1, "e", {"level": "high"})
    assert (kind, told["payload"]["error"]) == ("raised", "InvalidActionError")
    assert line.ask("step", None, 0, ListToolsAction(), None, {})[0] == "raised"
    kind, told = line.ask("attribute", "helper", "too many")
    assert told["name"] == "TypeError"


def test_what_cannot_cross_is_an_error(lines: Any) -> None:
    line = lines(Unsayable)
    line.ask("make")
    kind, told = line.ask("method", "give", ())
    assert (kind, told["name"] in ("AttributeError", "PicklingError")) == ("raised", True)


class Unsayable(Environment):
    def step(self, number: int) -> str:
        return ""

    def give(self) -> Any:
        return lambda: None


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def test_an_exception_without_words_is_told_by_its_name() -> None:
    told = process_guest.tell(Mute())
    assert (told["name"], told["text"], told["standard"]) == ("Mute", "Mute", "Exception")
    assert str(_alike(told)) == "Mute"
    assert type(
        _alike({**told, "name": "UnicodeDecodeError", "standard": "UnicodeDecodeError"})
    ).__name__ == ("UnicodeDecodeError")
    assert isinstance(_alike({**told, "standard": "no such"}), Exception)
    assert isinstance(_alike({**told, "standard": "SystemExit"}), Exception)
    assert _raised({"payload": {"message": "m", "error": "OrderError"}}).__cause__ is None


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (None, "was killed"),
        (-9, "was killed"),
        (-11, "was killed by SIGSEGV"),
        (-60, "was killed by signal 60"),
    ],
)
def test_how_it_ended(status: int | None, text: str) -> None:
    assert _how(status) == text
