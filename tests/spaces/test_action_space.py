"""Drawn actions are valid, reproducible, and drawn from a generator of their own."""

import datetime as dt
import decimal
import enum
import json
import pathlib
import random
import uuid
from typing import Annotated, Any, Literal, Optional

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AnyUrl,
    Base64Bytes,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    FutureDate,
    IPvAnyAddress,
    Json,
    JsonValue,
    RootModel,
    StringConstraints,
    create_model,
    field_validator,
    model_validator,
)

from openenv.errors import InvalidActionError, SamplingError
from openenv.spaces import ActionSpace, ActionSpec, conforms
from openenv.types import Action


class Move(Action):
    kind: Literal["move"] = "move"
    dx: int = Field(ge=-1, le=1)
    dy: int = Field(ge=-1, le=1)


class Say(Action):
    kind: Literal["say"] = "say"
    words: list[str] = Field(min_length=1, max_length=3)


class Either(RootModel[Annotated[Move | Say, Field(discriminator="kind")]]):
    pass


class Plain(BaseModel):
    first: Move | Say
    maybe: Move | None = None


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Tree(BaseModel):
    value: int
    left: Optional["Tree"] = None
    children: list["Tree"] = []
    by_name: dict[str, "Tree"] = {}


class Even(BaseModel):
    a: "Odd | None" = None


class Odd(BaseModel):
    b: Even
    c: list[Even] = Field(min_length=1)


class Numbers(BaseModel):
    step: int = Field(gt=0, multiple_of=3)
    share: float = Field(gt=0, lt=1)
    tenth: float = Field(ge=0.1, le=0.5, multiple_of=0.1)
    huge: float = Field(ge=1e300)
    low: int = Field(le=-(10**20))
    fixed: int = Field(ge=5, le=5)
    exact: decimal.Decimal
    money: decimal.Decimal = Field(gt=0, max_digits=5, decimal_places=2)
    size: ByteSize


class Texts(BaseModel):
    code: str = Field(pattern=r"^[A-Z]{2}-\d{3,5}$")
    slug: str = Field(pattern=r"^([a-z]+-)*[a-z]+$", min_length=50, max_length=60)
    exactly: str = Field(min_length=40, max_length=40)
    tight: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=3)]


class Formats(BaseModel):
    date: dt.date
    when: dt.datetime
    time: dt.time
    span: dt.timedelta
    later: FutureDate
    ident: uuid.UUID
    url: AnyUrl
    address: IPvAnyAddress
    raw: bytes
    blob: Base64Bytes
    path: pathlib.Path


class Collections(BaseModel):
    pair: tuple[int, str]
    many: tuple[float, ...]
    flags: set[bool] = Field(min_length=2)
    few: frozenset[Colour] = Field(min_length=1, max_length=2)
    table: dict[str, list[int]] = Field(min_length=2, max_length=3)
    by_number: dict[int, str]
    by_colour: dict[Colour, int] = Field(min_length=1)
    by_day: dict[dt.date, None]


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")
    anything: Any
    json_value: JsonValue
    encoded: Json[dict[str, int]]
    nothing: None
    optional: int | None = None


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    day: dt.date
    colour: Colour
    pair: tuple[int, int]


class Picky(BaseModel):
    """Rules that no schema tells."""

    even: Annotated[int, AfterValidator(lambda n: n if n % 2 == 0 else int("odd"))]
    low: int = Field(ge=0, le=10)
    high: int = Field(ge=0, le=10)

    @field_validator("high")
    @classmethod
    def not_unlucky(cls, value: int) -> int:
        if value == 7:
            raise ValueError("unlucky")
        return value

    @model_validator(mode="after")
    def ordered(self) -> "Picky":
        if self.low > self.high:
            raise ValueError("low above high")
        return self


MODELS = [
    Move,
    Say,
    Either,
    Plain,
    Tree,
    Even,
    Odd,
    Numbers,
    Texts,
    Formats,
    Collections,
    Loose,
    Strict,
    Picky,
]


@pytest.mark.parametrize("model", MODELS)
def test_samples_are_valid_models(model):
    space = ActionSpace(model, seed=0)
    for _ in range(60):
        action = space.sample()
        assert isinstance(action, model)
        assert action in space


@pytest.mark.parametrize(
    "model", [model for model in MODELS if model not in (Numbers, Formats, Picky, Loose, Collections)]
)
def test_samples_of_the_bare_schema_are_valid_too(model):
    space = ActionSpace(model.model_json_schema(), seed=0)
    for _ in range(60):
        action = space.sample()
        assert conforms(action, space.schema)
        model.model_validate_json(json.dumps(action))


@pytest.mark.parametrize("model", MODELS)
def test_a_seed_repeats_the_sequence(model):
    first, second = ActionSpace(model, seed=5), ActionSpace(model)
    second.seed(5)
    one = [first.sample().model_dump_json() for _ in range(30)]
    assert one == [second.sample().model_dump_json() for _ in range(30)]
    assert len(set(one)) > 1


def test_the_global_generator_is_neither_read_nor_touched():
    random.seed(1)
    before = random.getstate()
    first = [ActionSpace(Move, seed=3).sample() for _ in range(3)]
    assert random.getstate() == before
    random.seed(2)
    assert [ActionSpace(Move, seed=3).sample() for _ in range(3)] == first


def test_every_alternative_and_every_value_turns_up():
    either, colours = ActionSpace(Either, seed=0), ActionSpace(Collections, seed=0)
    assert {type(either.sample().root) for _ in range(50)} == {Move, Say}
    moves = [ActionSpace(Move, seed=seed).sample() for seed in range(200)]
    assert {(move.dx, move.dy) for move in moves} == {(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)}
    assert {colour for _ in range(50) for colour in colours.sample().few} == set(Colour)


def test_recursive_models_stay_small():
    space = ActionSpace(Tree, seed=0)
    sizes = [len(space.sample().model_dump_json()) for _ in range(200)]
    assert max(sizes) < 200_000
    assert sum(sizes) / len(sizes) < 20_000
    assert len(set(sizes)) > 10


def test_free_form_metadata_is_left_out():
    space = ActionSpace(Move, seed=0)
    assert all(space.sample().metadata == {} for _ in range(20))


def test_membership():
    space = ActionSpace(Move)
    assert {"dx": 1, "dy": 0} in space
    assert Move(dx=1, dy=0) in space
    assert {"dx": 2, "dy": 0} not in space
    assert {"dx": 1} not in space
    assert "move" not in space
    assert None not in space


LEAVES = st.one_of(
    st.sampled_from(
        [bool, int, float, str, None, dt.date, uuid.UUID, Colour, Tree, Either, Literal["a", 1, True]]
    ),
    st.builds(
        lambda low, span: Annotated[int, Field(ge=low, le=low + span)],
        st.integers(-50, 50),
        st.integers(0, 9),
    ),
    st.builds(
        lambda low, span: Annotated[float, Field(gt=low, lt=low + span)],
        st.floats(-5, 5),
        st.floats(0.25, 9),
    ),
    st.builds(
        lambda low, span: Annotated[str, Field(min_length=low, max_length=low + span)],
        st.integers(0, 20),
        st.integers(0, 3),
    ),
    st.sampled_from([r"^\d{2,4}$", r"^(on|off)$", r"^[a-f0-9]+(:[a-f0-9]+)*$", r"^\w+@\w+\.org$"]).map(
        lambda pattern: Annotated[str, Field(pattern=pattern)]
    ),
)


def sized(low: int, span: int) -> Any:
    return Field(min_length=low, max_length=low + span)


ANNOTATIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(lambda kind: Optional[kind]),  # noqa: UP045
        inner.map(lambda kind: list[kind]),  # type: ignore[valid-type]
        inner.map(lambda kind: dict[str, kind]),  # type: ignore[valid-type]
        st.builds(
            lambda a, low, span: Annotated[list[a], sized(low, span)],
            inner,
            st.integers(0, 3),
            st.integers(0, 2),
        ),  # type: ignore[valid-type]
        st.builds(lambda a, b: tuple[a, b], inner, inner),  # type: ignore[valid-type]
        st.builds(
            lambda a, b: a | b if a is not None else Optional[b],  # noqa: UP045
            inner,
            inner,
        ).filter(lambda kind: kind is not None),
        st.builds(lambda a, b: create_model("Inner", a=(a, ...), b=(b, None)), inner, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from("abcd"), ANNOTATIONS, min_size=1), st.integers(0, 2**32))
def test_samples_of_any_model_validate(fields, seed):
    model = create_model("Any", **{name: (kind, ...) for name, kind in fields.items()})
    space = ActionSpace(model, seed=seed)
    bare = ActionSpace(model.model_json_schema(), seed=seed)
    for _ in range(5):
        assert isinstance(space.sample(), model)
        assert isinstance(model.model_validate_json(json.dumps(bare.sample())), model)


class Spec:
    """A spec as the space sees it."""

    def __init__(self, tools=()):
        self.tools = tools

    def action_schema(self):
        return {
            "type": "object",
            "properties": {
                "type": {"const": "call_tool"},
                "tool_name": {"type": "string"},
                "arguments": {"type": "object"},
            },
            "required": ["type", "tool_name"],
        }

    def validate_action(self, value):
        if not isinstance(value, dict) or value.get("type") != "call_tool":
            raise InvalidActionError("no tool call")
        return ("validated", value)


class ToolLike:
    name = "look"
    input_schema: dict[str, Any] = {}


TOOLS = [
    {
        "name": "add",
        "input_schema": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
    {
        "name": "paint",
        "inputSchema": {
            "type": "object",
            "properties": {"colour": {"$ref": "#/$defs/Colour"}},
            "required": ["colour"],
            "$defs": {"Colour": {"enum": ["red", "green"]}},
        },
    },
    ToolLike(),
]


@pytest.mark.parametrize(
    "space", [ActionSpace(Spec(TOOLS), seed=0), ActionSpace(Spec(), tools=TOOLS, seed=0)]
)
def test_tool_actions_call_real_tools_with_fitting_arguments(space):
    drawn = [space.sample() for _ in range(60)]
    assert {mark for mark, _ in drawn} == {"validated"}
    arguments: dict[str, list[dict[str, Any]]] = {}
    for _, call in drawn:
        arguments.setdefault(call["tool_name"], []).append(call["arguments"])
    assert set(arguments) == {"add", "paint", "look"}
    assert all(set(args) == {"a", "b"} for args in arguments["add"])
    assert {args["colour"] for args in arguments["paint"]} == {"red", "green"}
    assert all(args == {} for args in arguments["look"])
    assert isinstance(Spec(), ActionSpec)


def test_membership_of_tool_calls_counts_their_arguments():
    space = ActionSpace(Spec(TOOLS))
    call = {"type": "call_tool", "tool_name": "add", "arguments": {"a": 1, "b": 2}}
    assert call in space
    assert {**call, "arguments": {"a": "x", "b": 2}} not in space
    assert {**call, "type": "other"} not in space


def test_a_learning_client_may_draw_tool_calls_from_a_bare_schema():
    space = ActionSpace(Spec().action_schema(), tools=TOOLS, seed=0)
    assert space.sample()["type"] == "call_tool"


def test_rules_that_cannot_be_met_are_reported_with_the_field():
    class Impossible(BaseModel):
        inner: Annotated[int, AfterValidator(lambda n: int("never"))]

    with pytest.raises(SamplingError, match=r"^inner: 100 drawn actions were refused, .*never") as caught:
        ActionSpace(Impossible).sample()
    assert caught.value.field == "inner"

    class Refuses(Spec):
        def validate_action(self, value):
            raise InvalidActionError("not today")

    with pytest.raises(SamplingError, match="not today"):
        ActionSpace(Refuses(TOOLS)).sample()


def test_repr_says_what_it_draws():
    assert repr(ActionSpace(Move)) == "ActionSpace('Move')"
    assert repr(ActionSpace(Spec(TOOLS))) == "ActionSpace(tools=['add', 'paint', 'look'])"
