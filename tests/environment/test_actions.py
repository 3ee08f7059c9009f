"""Action types: derived from parameters, told apart by `type`, published special cases."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from openenv.environment import Environment, action, describe
from openenv.environment.actions import action_contract
from openenv.errors import DefinitionError, InvalidActionError
from openenv.protocol.mcp_types import CallToolAction, ListToolsAction
from openenv.types import Action, Observation

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The machine is shared: examples may take long."""


class Thermostat(Environment):
    def step(
        self,
        mode: Literal["heat", "cool"],
        power: Annotated[float, Field(ge=0, le=1, description="how hard")] = 0.5,
        notes: list[str] = [],  # noqa: B006 - defaults are copied for each action
        *,
        copy: bool = False,
        timeout_s: float | None = None,
    ) -> str:
        """Run for a minute.

        Args:
            mode: what to do.
            power: not this one.
            copy: a name that pydantic has too.
        """
        return f"{mode} {power} {notes} {copy} {timeout_s}"


def do(cls: type, data: Any, **more: Any) -> Any:
    spec = describe(cls)
    env = spec.make()
    chosen = spec.validate_action(data)
    return spec.transition(env, chosen, spec.call_step(env, chosen, **more)).observation


def test_parameters_become_fields():
    schema = describe(Thermostat).action_schema()
    assert schema["title"] == "ThermostatAction"
    assert schema["description"] == "Run for a minute."
    properties = schema["properties"]
    assert set(properties) == {"metadata", "mode", "power", "notes", "copy"}
    assert properties["mode"]["enum"] == ["heat", "cool"]
    assert properties["mode"]["description"] == "what to do."
    assert properties["power"]["description"] == "how hard"
    assert (properties["power"]["minimum"], properties["power"]["maximum"]) == (0, 1)
    assert properties["copy"]["description"] == "a name that pydantic has too."
    assert schema["required"] == ["mode"]
    assert schema["additionalProperties"] is False


def test_fields_become_arguments():
    assert do(Thermostat, {"mode": "heat"}).result == "heat 0.5 [] False None"
    seen = do(Thermostat, {"mode": "cool", "power": "1", "copy": True}, timeout_s=2.0)
    assert seen.result == "cool 1.0 [] True 2.0"


def test_mutable_defaults_are_not_shared():
    spec = describe(Thermostat)
    spec.validate_action({"mode": "heat"}).notes.append("x")
    assert spec.validate_action({"mode": "heat"}).notes == []


def test_metadata_of_published_clients_is_accepted():
    assert describe(Thermostat).validate_action({"mode": "heat", "metadata": {"a": 1}}).metadata == {"a": 1}


def test_no_parameters():
    class Clock(Environment):
        ticks: int = 0

        def step(self) -> int:
            self.ticks += 1
            return self.ticks

    assert do(Clock, {}).result == 1
    with pytest.raises(InvalidActionError, match="x: Extra inputs"):
        do(Clock, {"x": 1})


def test_names_that_pydantic_has_too():
    class Clash(Environment):
        def step(self, json: str, schema: int, model_name: str = "", dict: bool = True) -> str:
            return f"{json} {schema} {model_name} {dict}"

    assert do(Clash, {"json": "a", "schema": 1, "model_name": "m"}).result == "a 1 m True"


def test_names_that_pydantic_keeps_for_itself():
    class Clash(Environment):
        def step(self, model_dump: str) -> str:
            return model_dump

    with pytest.raises(DefinitionError, match="'model_dump' conflicts"):
        describe(Clash)


def test_defaults_without_a_json_form():
    missing = object()

    class Odd(Environment):
        def step(self, x: Any = missing) -> bool:
            return x is missing

    assert do(Odd, {}).result is True
    assert describe(Odd).action_schema()["properties"]["x"] == {"title": "X"}


def test_extra_arguments_reach_kwargs_only():
    class Open(Environment):
        def step(self, x: int, **more: Any) -> dict[str, Any]:
            return more

    assert do(Open, {"x": 1}, extra={"request_id": "r", "x": 5}).result == {"request_id": "r"}
    assert do(Thermostat, {"mode": "heat"}, extra={"request_id": "r"}).result.startswith("heat")


@pytest.mark.parametrize(
    ("define", "what"),
    [
        (lambda: _step_of(lambda self, x: 1), "parameter 'x' has no type"),
        (lambda: _step_of(_positional), "positional-only"),
        (lambda: _step_of(_several), r"\*args"),
        (lambda: _step_of(_private), "starts with an underscore"),
        (lambda: _step_of(_unusable), "no model can be made"),
    ],
)
def test_unusable_signatures_name_the_line(define, what):
    with pytest.raises(DefinitionError, match=rf"test_actions.py:\d+: .*{what}"):
        describe(define())


def _positional(self: Any, x: int, /) -> int:
    return x


def _several(self: Any, *x: int) -> int:
    return 1


def _private(self: Any, _x: int) -> int:
    return 1


def _unusable(self: Any, x: Annotated[str, Field(ge="a", pattern="(")]) -> int:
    return 1


def _step_of(function: Any) -> type:
    return type("Odd", (Environment,), {"step": function, "__module__": __name__})


class Robot(Environment):
    @action
    def move_to(self, x: int, y: int = 0) -> tuple[int, int]:
        """Move.

        Args:
            x: column.
        """
        return (x, y)

    @action(name="talk")
    def say(self, text: str) -> str:
        return text

    @action
    async def wait(self) -> None:
        return None


def test_marked_methods_make_a_union():
    schema = describe(Robot).action_schema()
    assert schema["discriminator"]["propertyName"] == "type"
    kinds = {d["properties"]["type"]["const"]: d for d in schema["$defs"].values()}
    assert set(kinds) == {"move_to", "talk", "wait"}
    assert kinds["move_to"]["title"] == "RobotMoveTo"
    assert kinds["move_to"]["description"] == "Move."
    assert kinds["move_to"]["properties"]["x"]["description"] == "column."
    assert kinds["talk"]["required"] == ["type", "text"]


def test_marked_methods_are_called():
    assert do(Robot, {"type": "move_to", "x": 3}).result == (3, 0)
    assert do(Robot, {"type": "talk", "text": "hi"}).result == "hi"
    assert describe(Robot).is_async


@pytest.mark.parametrize(
    ("data", "loc"),
    [({"x": 1}, []), ({"type": "fly"}, []), ({"type": "move_to"}, ["move_to", "x"])],
)
def test_errors_of_a_union_name_the_action(data, loc):
    with pytest.raises(InvalidActionError) as caught:
        describe(Robot).validate_action(data)
    assert caught.value.errors[0]["loc"] == loc
    json.dumps(caught.value.errors)


def test_one_marked_method_needs_no_type():
    class Single(Environment):
        @action
        def go(self, n: int) -> int:
            return n

    assert do(Single, {"n": 2}).result == 2
    assert do(Single, {"n": 2, "type": "go"}).result == 2


def test_marked_methods_are_inherited_and_overridden():
    class Child(Robot):
        def say(self, text: str, loud: bool = False) -> str:
            return text.upper() if loud else text

        wait = None

    assert do(Child, {"type": "talk", "text": "hi", "loud": True}).result == "HI"
    with pytest.raises(InvalidActionError):
        do(Child, {"type": "wait"})


def test_two_actions_of_one_name():
    class Twice(Environment):
        @action
        def go(self) -> int:
            return 1

        @action(name="go")
        def went(self) -> int:
            return 2

    with pytest.raises(DefinitionError, match="two actions are called 'go'"):
        describe(Twice)


def test_type_is_taken():
    class Typed(Environment):
        @action
        def a(self, type: str) -> int:
            return 1

        @action
        def b(self) -> int:
            return 1

    with pytest.raises(DefinitionError, match="'type' tells actions apart"):
        describe(Typed)


class Walk(Action):
    type: Literal["walk"] = "walk"
    steps: int


class Jump(Action):
    type: Literal["jump", "hop"] = "jump"
    height: float


class Plain(Action):
    n: int


def test_a_union_of_models_is_told_apart_by_type():
    class Game(Environment):
        def step(self, action: Walk | Jump) -> Observation:
            return Observation(metadata={"kind": action.type})

    assert do(Game, {"type": "hop", "height": 1}).metadata == {"kind": "hop"}
    with pytest.raises(InvalidActionError) as caught:
        describe(Game).validate_action({"type": "walk"})
    assert [entry["loc"] for entry in caught.value.errors] == [["walk", "steps"]]


def test_a_union_without_types_takes_what_fits():
    contract = action_contract(Walk | Plain)
    assert isinstance(contract.validate({"n": 1}), Plain)
    assert isinstance(contract.validate({"steps": 1}), Walk)


def test_a_model_beside_the_tool_family_keeps_its_own_schema():
    contract = action_contract(Plain | CallToolAction | ListToolsAction)
    assert contract.type is Plain
    assert isinstance(contract.validate({"n": 1}), Plain)
    assert isinstance(contract.validate({"type": "call_tool", "tool_name": "t"}), CallToolAction)
    assert isinstance(contract.validate({"type": "list_tools"}), ListToolsAction)
    wider = action_contract(Plain | Walk | CallToolAction | ListToolsAction)
    assert isinstance(wider.validate({"steps": 1}), Walk)


def test_models_that_are_no_actions():
    class Point(BaseModel):
        x: int

    class Game(Environment):
        def step(self, action: Point) -> int:
            return action.x

    assert do(Game, {"x": 4}).result == 4


def test_models_with_forward_references():
    class Late(Action):
        inner: Inner

    class Inner(BaseModel):
        x: int

    Late.model_rebuild(_types_namespace={"Inner": Inner})
    assert action_contract(Late).validate({"inner": {"x": 1}}).inner.x == 1


class Own(CallToolAction):
    """As finqa does it: a subclass of the published call."""

    turn: int = 0


class Wide(CallToolAction):
    type: Literal["call_tool", "list_tools"] = "call_tool"  # type: ignore[assignment]
    tool_name: str = ""


CALL = {"type": "call_tool", "tool_name": "t"}
LIST = {"type": "list_tools"}


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        (Action, CALL, CallToolAction),
        (Action, LIST, ListToolsAction),
        (Action, {}, Action),
        (CallToolAction, CALL, CallToolAction),
        (CallToolAction, {"tool_name": "t"}, CallToolAction),
        (CallToolAction, LIST, ListToolsAction),
        (ListToolsAction, CALL, CallToolAction),
        (Own, {**CALL, "turn": 2}, Own),
        (Own, LIST, ListToolsAction),
        (Wide, LIST, Wide),
        (CallToolAction | ListToolsAction, LIST, ListToolsAction),
        (CallToolAction | ListToolsAction, CALL, CallToolAction),
        (Own, ListToolsAction(), ListToolsAction),
        (Own, CallToolAction(tool_name="t"), CallToolAction),
    ],
)
def test_tool_family(kind, data, expected):
    assert type(action_contract(kind).validate(data)) is expected


@pytest.mark.parametrize("kind", [CallToolAction, Own])
@pytest.mark.parametrize("data", [{}, {**CALL, "arguments": 5}, {"type": "x"}, {**LIST, "x": 1}, 5, None])
def test_tool_family_refuses(kind, data):
    with pytest.raises(ValueError, match="validation error"):
        action_contract(kind).validate(data)


def test_a_union_lists_tools_only_if_it_says_so():
    contract = action_contract(Walk | CallToolAction)
    assert isinstance(contract.validate(CALL), CallToolAction)
    with pytest.raises(ValueError, match="list_tools"):
        contract.validate(LIST)


def test_an_ordinary_model_is_not_taken_for_a_tool_call():
    class Mine(Action):
        type: str
        tool_name: int

    made = action_contract(Mine).validate({"type": "call_tool", "tool_name": 5})
    assert type(made) is Mine


TYPES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "int": (int, st.integers()),
    "float": (float, st.floats(allow_nan=False)),
    "bool": (bool, st.booleans()),
    "str": (str, st.text(st.characters(codec="utf-8"))),
    "list": (list[int], st.lists(st.integers(), max_size=3)),
    "dict": (dict[str, bool], st.dictionaries(st.text(max_size=3), st.booleans(), max_size=3)),
    "literal": (Literal["a", 1], st.sampled_from(["a", 1])),
    "optional": (int | None, st.none() | st.integers()),
    "bounded": (Annotated[int, Field(ge=0, le=5)], st.integers(0, 5)),
}
names = st.text("abcgh", min_size=1, max_size=3)


@PATIENT
@given(st.dictionaries(names, st.sampled_from(sorted(TYPES)), min_size=1, max_size=4), st.data())
def test_any_signature_gets_a_schema_that_its_values_fit(parameters, data):
    def step(self: Any, **given: Any) -> dict[str, Any]:
        return given

    import inspect

    kinds = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=TYPES[kind][0])
        for name, kind in {"self": "int", **parameters}.items()
    ]
    step.__signature__ = inspect.Signature(kinds)  # type: ignore[attr-defined]
    step.__annotations__ = {name: TYPES[kind][0] for name, kind in parameters.items()}
    spec = describe(type("Any", (Environment,), {"step": step, "__module__": __name__}))
    schema = spec.action_schema()
    json.dumps(schema)
    assert set(schema["required"]) == set(parameters)
    values = {name: data.draw(TYPES[kind][1]) for name, kind in parameters.items()}
    env = spec.make()
    chosen = spec.validate_action(values)
    assert spec.call_step(env, chosen) == values
    with pytest.raises(InvalidActionError) as caught:
        spec.validate_action({**values, next(iter(parameters)): object()})
    json.dumps(caught.value.errors, allow_nan=False)
