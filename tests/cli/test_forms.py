"""Forms from real schemas: the answers typed on the left become the action on the right."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, RootModel

from openenv.cli._play.answers import NotUnderstoodError
from openenv.cli._play.forms import CommandTyped, Form
from openenv.types import Action


class Point(BaseModel):
    x: int
    y: int = 0


class Guess(Action):
    guess: int = Field(ge=1, le=100, description="what you think it is")


class Everything(Action):
    text: str
    level: Literal["easy", "hard"] = "easy"
    ratio: float | None
    fast: bool = False
    tags: list[str] = []
    at: Point
    extra: dict[str, int] = {}
    either: int | str = 0


class Say(Action):
    """Say something.

    Everybody hears it.
    """

    type: Literal["say"] = "say"
    message: str


class Move(Action):
    type: Literal["move"] = "move"
    steps: int = Field(gt=0)


class Wait(Action):
    type: Literal["wait"] = "wait"


class AnyAction(RootModel[Annotated[Say | Move | Wait, Field(discriminator="type")]]):
    pass


class Held(Action):
    item: Annotated[Say | Move, Field(discriminator="type")]


class Answers:
    def __init__(self, *lines: str) -> None:
        self._lines: Iterator[str] = iter(lines)
        self.prompts: list[str] = []
        self.shown: list[str] = []

    def ask(self, prompt: str) -> str:
        self.prompts.append(prompt)
        try:
            return next(self._lines)
        except StopIteration:
            raise EOFError from None


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


def form(model: type[BaseModel], answers: Answers) -> Form:
    return Form(model.model_json_schema(), answers.ask, answers.shown.append)


@pytest.mark.parametrize(
    ("model", "lines", "action"),
    [
        (Guess, ["50"], {"guess": 50}),
        (Guess, ["x", "0", "", "7"], {"guess": 7}),
        (Guess, ['{"guess": 3, "metadata": {"a": 1}}'], {"guess": 3, "metadata": {"a": 1}}),
        (
            Everything,
            ["hi", "", "", "", "", "1", "", "", ""],
            {"text": "hi", "ratio": None, "at": {"x": 1}},
        ),
        (
            Everything,
            ["", "h", "0.5", "y", "a, b", "1", "2", '{"k": 1}', "word"],
            {
                "text": "",
                "level": "hard",
                "ratio": 0.5,
                "fast": True,
                "tags": ["a", "b"],
                "at": {"x": 1, "y": 2},
                "extra": {"k": 1},
                "either": "word",
            },
        ),
        (AnyAction, ["1", "hello"], {"type": "say", "message": "hello"}),
        (AnyAction, ["move", "2"], {"type": "move", "steps": 2}),
        (AnyAction, ["9", "m", "0", "3"], {"type": "move", "steps": 3}),
        (AnyAction, ["w"], {"type": "wait"}),
        (AnyAction, ['{"type": "wait"}'], {"type": "wait"}),
        (Held, ["2", "4"], {"item": {"type": "move", "steps": 4}}),
        (Say, ["\\:not a command"], {"type": "say", "message": ":not a command"}),
        (Say, ['"""', "line 1", ":line 2", '"""'], {"type": "say", "message": "line 1\n:line 2"}),
        (Say, ["{not json"], {"type": "say", "message": "{not json"}),
    ],
)
def test_filled_in(model: type[BaseModel], lines: list[str], action: dict[str, Any]) -> None:
    answers = Answers(*lines)
    filled = form(model, answers).fill()
    assert filled == action
    model.model_validate(filled)


def test_prompt_names_type_bounds_and_default() -> None:
    answers = Answers("1", "", "", "", "", "1", "", "", "")
    form(Everything, answers).fill()
    assert answers.prompts[:4] == [
        "text (text): ",
        'level (easy/hard; Enter: "easy"): ',
        "ratio (number; Enter: null): ",
        "fast (y/n; Enter: false): ",
    ]
    assert "at.x (integer): " in answers.prompts
    guess = Answers("500", "5")
    form(Guess, guess).fill()
    assert guess.prompts[0] == "guess (integer 1 to 100): "
    assert guess.shown == ["  guess  what you think it is", "  it must be at most 100"]


def test_descriptions_are_shown_once() -> None:
    answers = Answers("1", "2")
    both = form(Guess, answers)
    both.fill()
    both.fill()
    assert len(answers.shown) == 1


def test_branches_are_listed_with_their_summary() -> None:
    answers = Answers("w")
    form(AnyAction, answers).fill()
    assert answers.shown[0] == "  1 say  Say something."
    assert answers.shown[1].startswith("  2 move")


@pytest.mark.parametrize("lines", [[":state"], ["oops", ":state"]])
def test_a_command_interrupts_the_form(lines: list[str]) -> None:
    with pytest.raises(CommandTyped) as caught:
        form(Guess, Answers(*lines)).fill()
    assert caught.value.line == "state"


def test_end_of_input_ends_the_form() -> None:
    with pytest.raises(EOFError):
        form(Everything, Answers("hi")).fill()


@pytest.mark.parametrize(
    ("model", "line", "action"),
    [
        (Guess, '{"guess": 3}', {"guess": 3}),
        (Guess, "50", {"guess": 50}),
        (Say, "hello there", {"type": "say", "message": "hello there"}),
        (AnyAction, "wait", {"type": "wait"}),
        (AnyAction, '{"type": "move", "steps": 1}', {"type": "move", "steps": 1}),
    ],
)
def test_one_line_is_an_action(model: type[BaseModel], line: str, action: dict[str, Any]) -> None:
    assert form(model, Answers()).from_line(line) == action


@pytest.mark.parametrize(
    ("model", "line"),
    [(Guess, "many"), (Guess, "500"), (AnyAction, "run"), (Everything, "x y"), (Guess, "{")],
)
def test_one_line_that_is_none(model: type[BaseModel], line: str) -> None:
    with pytest.raises(NotUnderstoodError):
        form(model, Answers()).from_line(line)


TOOLS = {
    "oneOf": [
        {
            "title": "say",
            "description": "Say it.",
            "type": "object",
            "properties": {
                "type": {"const": "call_tool"},
                "tool_name": {"const": "say"},
                "arguments": {
                    "type": "object",
                    "properties": {
                        "message": {"type": "string"},
                        "loud": {"type": "boolean", "default": False},
                    },
                    "required": ["message"],
                },
            },
            "required": ["type", "tool_name", "arguments"],
        },
        {
            "title": "look",
            "type": "object",
            "properties": {
                "type": {"const": "call_tool"},
                "tool_name": {"const": "look"},
                "arguments": {"type": "object", "properties": {}},
            },
        },
    ]
}


def call(tool: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "call_tool", "tool_name": tool, "arguments": arguments}


def test_a_tool_asks_for_its_own_arguments() -> None:
    answers = Answers("say", "hello", "y")
    assert Form(TOOLS, answers.ask, answers.shown.append).fill() == call("say", message="hello", loud=True)
    assert answers.prompts[1:] == ["message (text): ", "loud (y/n; Enter: false): "]


@pytest.mark.parametrize(
    ("line", "action"),
    [
        ("say hello there", call("say", message="hello there")),
        ('say {"message": "x", "loud": true}', call("say", message="x", loud=True)),
        ("look", call("look")),
        ('{"type": "list_tools"}', {"type": "list_tools"}),
    ],
)
def test_a_line_names_a_tool(line: str, action: dict[str, Any]) -> None:
    answers = Answers()
    assert Form(TOOLS, answers.ask, answers.shown.append).from_line(line) == action
