"""What authors return, and what becomes of it."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field
from typing import Any, NotRequired

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

from openenv.environment import Environment, describe
from openenv.environment.observations import number
from openenv.errors import EnvironmentFailedError
from openenv.protocol.mcp_types import CallToolObservation, ToolError, ToolErrorType
from openenv.types import Action, Observation, Outcome, StepOutcome

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The machine is shared: examples may take long."""


class Board(Observation):
    at: int = 0


class Other(Observation):
    name: str = ""


@dataclass
class Point:
    x: int
    tags: list[str] = field(default_factory=list)
    y: int = 0


class Record(BaseModel):
    x: int
    y: str | None = None


class Typed(TypedDict):
    x: int
    y: NotRequired[str]


class PlainTyped(typing.TypedDict):
    x: int


def returning(annotation: Any, value: Any = None) -> type:
    """Make a typed environment whose step returns `value` and says it returns `annotation`."""

    def step(self: Any) -> Any:
        return value

    step.__annotations__["return"] = annotation
    return type("Give", (Environment,), {"step": step, "__module__": __name__})


def seen(annotation: Any, value: Any) -> Any:
    spec = describe(returning(annotation, value))
    env = spec.make()
    action = spec.validate_action({})
    return spec.transition(env, action, spec.call_step(env, action))


FIELDS = {
    "text": (str, "a", {"result": "a"}),
    "number": (float, 2, {"result": 2.0}),
    "list": (list[int], [1, 2], {"result": [1, 2]}),
    "dict": (dict[str, int], {"a": 1}, {"result": {"a": 1}}),
    "tuple": (tuple[int, str], (1, "a"), {"result": (1, "a")}),
    "optional": (int | None, None, {"result": None}),
    "anything": (Any, {"a": [1]}, {"result": {"a": [1]}}),
    "nothing": (None, None, {"result": None}),
    "dataclass": (Point, Point(1), {"x": 1, "tags": [], "y": 0}),
    "model": (Record, Record(x=1), {"x": 1, "y": None}),
    "typed dict": (Typed, {"x": 1}, {"x": 1, "y": None}),
    "standard typed dict": (PlainTyped, {"x": 1}, {"x": 1}),
    "model as a dict": (Record, {"x": 1}, {"x": 1, "y": None}),
    "outcome": (Outcome[str], Outcome("a"), {"result": "a"}),
    "text or outcome": (str | Outcome, Outcome("a"), {"result": "a"}),
    "outcome that the annotation does not mention": (str, Outcome("a"), {"result": "a"}),
    "outcome of a dataclass": (Outcome[Point], Outcome(Point(3)), {"x": 3, "tags": [], "y": 0}),
    "dataclass or text": (Point | str, "a", {"result": "a"}),
    "NumPy number": (int, numpy.int64(3), {"result": 3}),
    "NumPy array": (list[float], numpy.array([1.0, 2.0]), {"result": [1.0, 2.0]}),
}


@pytest.mark.parametrize(("annotation", "value", "fields"), FIELDS.values(), ids=FIELDS)
def test_plain_values_are_wrapped(annotation, value, fields):
    result = seen(annotation, value)
    observation = result.observation
    assert observation.model_dump(exclude={"done", "reward", "metadata"}) == fields
    assert type(observation).__name__ == "GiveObservation"
    assert (result.reward, result.done, result.metadata) == (None, False, {})
    schema = describe(returning(annotation)).observation_schema()
    assert set(schema["properties"]) == {*fields, "done", "reward", "metadata"}


def test_no_annotation_is_any_result():
    class Free(Environment):
        def step(self, x: int):
            return x

    spec = describe(Free)
    assert spec.observation_schema()["properties"]["result"] == {"default": None, "title": "Result"}


def test_a_value_may_carry_reward_and_end():
    @dataclass
    class Turn:
        board: str
        reward: float = 0.0
        done: bool = False

    result = seen(Turn, Turn("b", 1.5, True))
    assert (result.reward, result.done, result.terminated) == (1.5, True, True)


class TestOutcome:
    def test_everything(self):
        result = seen(
            str,
            Outcome(
                "a",
                reward=0.5,
                terminated=True,
                reason="won",
                components={"speed": 1},
                metadata={"k": 1},
            ),
        )
        assert result.observation.model_dump() == {
            "done": True,
            "reward": 0.5,
            "metadata": {"k": 1},
            "result": "a",
        }
        assert (result.reward, result.done, result.metadata) == (0.5, True, {"k": 1})
        assert (result.terminated, result.truncated, result.reason) == (True, False, "won")
        assert result.components == {"speed": 1.0}
        assert result.outcome is StepOutcome.OK

    def test_truncated(self):
        result = seen(str, Outcome("a", truncated=True, reason="rain"))
        assert (result.terminated, result.truncated, result.done) == (False, True, True)
        assert result.observation.done is True

    def test_terminated_wins(self):
        result = seen(str, Outcome("a", truncated=True, terminated=True))
        assert (result.terminated, result.truncated) == (True, False)

    def test_numpy_reward(self):
        result = seen(str, Outcome("a", reward=numpy.float32(0.5)))
        assert type(result.reward) is float
        assert result.reward == 0.5

    def test_reward_that_is_no_number(self):
        with pytest.raises(EnvironmentFailedError, match="reward 'much'"):
            seen(str, Outcome("a", reward="much"))  # type: ignore[arg-type]

    def test_of_an_observation_leaves_the_authors_object_alone(self):
        board = Board(at=1, metadata={"a": 1})
        result = seen(Board, Outcome(board, reward=1.0, terminated=True, metadata={"b": 2}))
        assert (result.observation.at, result.observation.reward, result.observation.done) == (1, 1.0, True)
        assert result.observation.metadata == {"a": 1, "b": 2} == result.metadata
        assert (board.reward, board.done, board.metadata) == (None, False, {"a": 1})

    def test_of_an_observation_that_is_done(self):
        result = seen(Board, Outcome(Board(done=True, reward=2), reason="x"))
        assert (result.done, result.terminated, result.reward) == (True, True, 2)


def test_observations_pass_as_they_are():
    board = Board(at=2, reward=True, done=True, metadata={"a": 1})
    result = seen(Board, board)
    assert result.observation is board
    assert (result.reward, result.done, result.terminated, result.metadata) == (True, True, True, {"a": 1})


def test_several_observation_types():
    cls = returning(Board | Other, Other(name="x"))
    assert len(describe(cls).observation_schema()["anyOf"]) == 2
    assert seen(Board | Other, Other(name="x")).observation.name == "x"


def test_observation_or_plain_value():
    assert seen(Board | str, Board(at=1)).observation.at == 1
    assert seen(Board | str, "a").observation.result == "a"
    assert seen(Board | None, Board(at=1)).observation.at == 1


class Foreign(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    at: int = 0
    reward: float | None = None
    done: bool = False
    metadata: dict[str, Any] = {}


class Step(Action):
    pass


def game(value: Any, annotation: Any = Board) -> Any:
    class Game(Environment):
        def step(self, action: Step) -> Any:
            return value

    Game.step.__annotations__["return"] = annotation
    spec = describe(Game)
    env = spec.make()
    return spec.transition(env, Step(), spec.call_step(env, Step()))


def test_observation_like_models_of_other_bases():
    assert game(Foreign(at=3, reward=1, done=True)).terminated
    result = game(Outcome(Foreign(at=3), reward=2.0))
    assert (result.observation.at, result.observation.reward) == (3, 2.0)


def test_models_that_are_no_observations_where_one_was_expected():
    result = game(Record(x=1, y="b"))
    assert result.observation.model_dump(exclude={"metadata"}) == {
        "done": False,
        "reward": None,
        "x": 1,
        "y": "b",
    }


def test_dicts_where_an_observation_was_expected():
    result = game({"at": 4, "reward": 1.0, "done": True})
    assert (type(result.observation), result.observation.at, result.terminated) == (Board, 4, True)


@pytest.mark.parametrize("value", [None, 5, "text", [1], {"nowhere": 1}, (Board(), {})])
def test_what_cannot_be_an_observation(value):
    with pytest.raises(EnvironmentFailedError, match=r"Game returned \w+, which cannot be a Board"):
        game(value)


@pytest.mark.parametrize(
    ("annotation", "value", "what"),
    [
        (str, 5, "result: Input should be a valid string"),
        (int, None, "result: Input should be a valid integer"),
        (Point, Record(x=1), "y: Input should be a valid integer"),
        (Point, 5, ""),
        (Typed, {"z": 1}, "x: Field required"),
    ],
)
def test_what_does_not_keep_the_annotations_promise(annotation, value, what):
    with pytest.raises(EnvironmentFailedError, match=f"Give returned {type(value).__name__}, .*{what}"):
        seen(annotation, value)


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        (ToolErrorType.TOOL_NOT_FOUND, StepOutcome.INVALID_ACTION),
        (ToolErrorType.INVALID_ARGS, StepOutcome.INVALID_ACTION),
        (ToolErrorType.EXECUTION_ERROR, StepOutcome.TOOL_ERROR),
        (ToolErrorType.TIMEOUT, StepOutcome.TOOL_ERROR),
        (ToolErrorType.TRANSPORT_ERROR, StepOutcome.TOOL_ERROR),
    ],
)
def test_tool_errors_of_published_environments(kind, outcome):
    failed = CallToolObservation(tool_name="t", error=ToolError(error_type=kind, message="m"))
    assert game(failed, Observation).outcome is outcome
    assert game(CallToolObservation(tool_name="t"), Observation).outcome is StepOutcome.OK


class TestReset:
    def initial(self, cls: type, **options: Any) -> Any:
        spec = describe(cls)
        env = spec.make()
        return spec.initial(env, spec.call_reset(env, options=options))

    def test_without_a_reset(self):
        result = self.initial(returning(str))
        assert type(result.observation) is Observation
        assert describe(returning(str)).reset_observation_schema()["title"] == "Observation"

    def test_like_the_steps(self):
        class Same(Environment):
            def reset(self) -> str:
                return "r"

            def step(self, x: int) -> str:
                return "s"

        assert type(self.initial(Same).observation).__name__ == "SameObservation"
        assert describe(Same).reset_observation_schema() is None

    def test_unlike_the_steps(self):
        class Unlike(Environment):
            def reset(self) -> Point:
                return Point(1)

            def step(self, x: int) -> str:
                return "s"

        assert self.initial(Unlike).observation.x == 1
        schema = describe(Unlike).reset_observation_schema()
        assert schema["title"] == "UnlikeResetObservation"
        assert "x" in schema["properties"]

    def test_that_returns_nothing(self):
        class Silent(Environment):
            def reset(self) -> None:
                self.x = 1

            def step(self, x: int) -> str:
                return "s"

        assert self.initial(Silent).observation == Observation()

    def test_without_annotation(self):
        class Free(Environment):
            value: Any = None

            def reset(self, value=None):
                return value

            def step(self, x: int) -> str:
                return "s"

        assert self.initial(Free).observation == Observation()
        assert self.initial(Free, value=5).observation.result == 5

    def test_of_a_model_environment_must_be_an_observation(self):
        class Game(Environment):
            def reset(self):
                return None

            def step(self, action: Step) -> Board:
                return Board()

        with pytest.raises(EnvironmentFailedError, match="returned NoneType"):
            self.initial(Game)


def test_number():
    assert number(Environment, True) is True
    assert number(Environment, None) is None
    assert number(Environment, numpy.array(2.0)) == 2.0


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@PATIENT
@given(plain, st.none() | st.floats(allow_nan=False), st.booleans(), st.booleans())
def test_outcome_and_observation_never_disagree(value, reward, terminated, truncated):
    result = seen(Any, Outcome(value, reward=reward, terminated=terminated, truncated=truncated))
    observation = result.observation
    assert (observation.result, observation.reward, observation.done) == (value, reward, result.done)
    assert result.done is (terminated or truncated) is (result.terminated or result.truncated)
    assert not (result.terminated and result.truncated)
