"""Tools: schemas, calls, and the published form of what they return.

The expected forms were read off FastMCP 3.4.10 behind openenv 0.10.0.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
import types
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, BeforeValidator, Field
from typing_extensions import TypedDict

from openenv.environment import Environment, describe
from openenv.errors import InvalidActionError, SessionLost
from openenv.tools import ToolSpec, tool, tool_result
from openenv.types import Outcome, StepOutcome


@dataclass
class Pair:
    a: int
    b: str = "x"


class Record(BaseModel):
    p: float
    q: list[int] = []


class Typed(TypedDict):
    k: int


class Tree(BaseModel):
    children: list[Tree] = []


class Kit(Environment):
    used: int = 0

    @tool
    def add(self, a: int, b: int = 2) -> int:
        """Add two numbers.

        Args:
            a: first
            b: second
        """
        return a + b

    @tool
    def annotated(
        self,
        x: Annotated[int, Field(description="desc of x", ge=0)],
        y: Literal["a", "b"] = "a",
        z: Record | None = None,
    ) -> int:
        return x

    @tool
    async def later(self, x: int) -> int:
        await asyncio.sleep(0)
        return x

    @tool
    def boom(self) -> int:
        raise KeyError("k")

    @tool
    async def boom_later(self) -> int:
        raise ValueError("boom happened")

    @tool
    def timed(self, x: int, timeout_s: float | None = None) -> str:
        return f"{x} {timeout_s}"

    @tool
    def win(self, by: float) -> str | Outcome[str]:
        return Outcome(
            "won", reward=by, terminated=True, reason="won", components={"c": 1}, metadata={"m": 2}
        )

    @tool
    def cut(self) -> Any:
        return Outcome("cut", truncated=True)

    @tool
    def judge(self, mood: str) -> str:
        if mood == "picky":
            raise InvalidActionError("too picky")
        raise SessionLost("gone")

    @tool
    def untyped(self, anything):
        return anything

    @tool
    def tree(self, root: Tree) -> Tree:
        return root

    @tool(name="fixed", description="Not the docstring.")
    @staticmethod
    def constant() -> int:
        """The docstring."""
        return 5

    @classmethod
    @tool
    def of_class(cls) -> str:
        return cls.__name__


SPEC = describe(Kit)
TOOLS = {spec.name: spec for spec in SPEC.tools}


def call(name: str, arguments: dict[str, Any] | None = None, **more: Any) -> Any:
    env = SPEC.make()
    action = SPEC.validate_action({"type": "call_tool", "tool_name": name, "arguments": arguments or {}})
    raw = SPEC.call_step(env, action, **more)
    if inspect.isawaitable(raw):
        raw = asyncio.run(_await(raw))
    return SPEC.transition(env, action, raw)


async def _await(awaitable: Any) -> Any:
    return await awaitable


class TestListing:
    def test_of_a_signature(self):
        assert TOOLS["add"].listed().model_dump() == {
            "name": "add",
            "description": "Add two numbers.",
            "input_schema": {
                "additionalProperties": False,
                "properties": {
                    "a": {"type": "integer", "description": "first"},
                    "b": {"default": 2, "type": "integer", "description": "second"},
                },
                "required": ["a"],
                "type": "object",
            },
        }

    def test_of_annotations(self):
        assert TOOLS["annotated"].input_schema["properties"] == {
            "x": {"description": "desc of x", "minimum": 0, "type": "integer"},
            "y": {"default": "a", "enum": ["a", "b"], "type": "string"},
            "z": {
                "anyOf": [
                    {
                        "properties": {
                            "p": {"type": "number"},
                            "q": {"default": [], "items": {"type": "integer"}, "type": "array"},
                        },
                        "required": ["p"],
                        "type": "object",
                    },
                    {"type": "null"},
                ],
                "default": None,
            },
        }

    def test_bytes_are_those_of_the_published_server(self):
        assert TOOLS["add"].listed().model_dump_json() == (
            '{"name":"add","description":"Add two numbers.","input_schema":{"additionalProperties":false,'
            '"properties":{"a":{"type":"integer","description":"first"},"b":{"default":2,"type":"integer",'
            '"description":"second"}},"required":["a"],"type":"object"}}'
        )

    def test_of_no_parameters(self):
        assert TOOLS["boom"].input_schema == {
            "additionalProperties": False,
            "properties": {},
            "type": "object",
        }

    def test_of_recursive_models(self):
        schema = TOOLS["tree"].input_schema
        assert schema["properties"]["root"] == {"$ref": "#/$defs/Tree"}
        assert "Tree" in schema["$defs"]

    def test_frameworks_own_parameters_are_not_listed(self):
        assert list(TOOLS["timed"].input_schema["properties"]) == ["x"]

    def test_name_and_description_may_be_given(self):
        assert (TOOLS["fixed"].name, TOOLS["fixed"].description) == ("fixed", "Not the docstring.")
        assert TOOLS["untyped"].input_schema["properties"] == {"anything": {}}

    def test_as_an_action(self):
        env = SPEC.make()
        action = SPEC.validate_action({"type": "list_tools"})
        seen = SPEC.transition(env, action, SPEC.call_step(env, action))
        assert [t.name for t in seen.observation.tools] == list(TOOLS)
        assert seen.outcome is StepOutcome.OK

    def test_schemas_of_action_and_observation_are_the_published_ones(self):
        assert SPEC.action_schema()["title"] == "CallToolAction"
        assert SPEC.observation_schema()["title"] == "CallToolObservation"

    def test_does_not_need_the_mcp_library(self):
        script = "import openenv.tools, sys; assert not {'mcp', 'fastmcp'} & set(sys.modules)"
        subprocess.run([sys.executable, "-c", script], check=True, timeout=20)


WRAP = {"fastmcp": {"wrap_result": True}}

RESULTS: dict[str, tuple[Any, Any, list[str], Any, Any, Any]] = {
    # name: (annotation, value, texts, structured_content, meta, data)
    "int": (int, 3, ["3"], {"result": 3}, WRAP, 3),
    "str": (str, "hé €", ["hé €"], {"result": "hé €"}, WRAP, "hé €"),
    "bool": (bool, True, ["true"], {"result": True}, WRAP, True),
    "float": (float, 1.5, ["1.5"], {"result": 1.5}, WRAP, 1.5),
    "whole float": (float, 2, ["2"], {"result": 2}, WRAP, 2.0),
    "dict": (
        dict,
        {"m": "é", "n": [1.0, None]},
        ['{"m":"é","n":[1.0,null]}'],
        {"m": "é", "n": [1.0, None]},
        None,
        {"m": "é", "n": [1.0, None]},
    ),
    "typed dict values": (dict[str, int], {"m": 1}, ['{"m":1}'], {"m": 1}, None, {"m": 1}),
    "dataclass": (Pair, Pair(1), ['{"a":1,"b":"x"}'], {"a": 1, "b": "x"}, None, {"a": 1, "b": "x"}),
    "model": (Record, Record(p=1.5), ['{"p":1.5,"q":[]}'], {"p": 1.5, "q": []}, None, {"p": 1.5, "q": []}),
    "TypedDict": (Typed, {"k": 1}, ['{"k":1}'], {"k": 1}, None, {"k": 1}),
    "list": (list[int], [1, 2], ["[1,2]"], {"result": [1, 2]}, WRAP, [1, 2]),
    "list of text": (list[str], ["a", "b"], ['["a","b"]'], {"result": ["a", "b"]}, WRAP, ["a", "b"]),
    "list of models": (
        list[Record],
        [Record(p=1)],
        ['[{"p":1.0,"q":[]}]'],
        {"result": [{"p": 1.0, "q": []}]},
        WRAP,
        [{"p": 1.0, "q": []}],
    ),
    "empty list": (list[str], [], [], {"result": []}, WRAP, []),
    "tuple": (tuple[int, str], (1, "a"), ['[1,"a"]'], {"result": [1, "a"]}, WRAP, [1, "a"]),
    "union": (int | str, "s", ["s"], {"result": "s"}, WRAP, "s"),
    "model or text": (
        Record | str,
        Record(p=2),
        ['{"p":2.0,"q":[]}'],
        {"result": {"p": 2.0, "q": []}},
        WRAP,
        {"p": 2.0, "q": []},
    ),
    "none": (None, None, [], None, None, None),
    "optional": (int | None, None, [], {"result": None}, WRAP, None),
    "object": (object, 3, ["3"], {"result": 3}, WRAP, 3),
    "odd values inside": (
        dict,
        {"a": {1}, "b": (1, 2), "c": b"x"},
        ['{"a":[1],"b":[1,2],"c":"x"}'],
        {"a": [1], "b": [1, 2], "c": "x"},
        None,
        {"a": [1], "b": [1, 2], "c": "x"},
    ),
    "unannotated dict": (..., {"x": 1}, ['{"x":1}'], {"x": 1}, None, {"x": 1}),
    "unannotated none": (..., None, [], None, None, None),
    # A published server loses the data of these; here the value decides.
    "unannotated text": (..., "s", ["s"], {"result": "s"}, WRAP, "s"),
    "unannotated list": (..., [1, {"a": 2}], ['[1,{"a":2}]'], {"result": [1, {"a": 2}]}, WRAP, [1, {"a": 2}]),
    "bytes": (bytes, b"abc", ["abc"], {"result": "abc"}, WRAP, "abc"),
    "not what was promised": (int, "x", ["x"], {"result": "x"}, WRAP, "x"),
    "NaN": (float, float("nan"), ["null"], {"result": None}, WRAP, None),
}


def giving(annotation: Any, value: Any) -> ToolSpec:
    def give(self: Any) -> Any:
        return value

    give.__annotations__ = {} if annotation is ... else {"return": annotation}
    cls = type("Giving", (Environment,), {"give": tool(give), "__module__": __name__})
    return describe(cls).tools[0]


@pytest.mark.parametrize(
    ("annotation", "value", "texts", "structured", "meta", "data"), RESULTS.values(), ids=RESULTS
)
def test_results_have_the_published_form(annotation, value, texts, structured, meta, data):
    result = tool_result(giving(annotation, value), value)
    blocks = [{"type": "text", "text": text, "annotations": None, "meta": None} for text in texts]
    expected = {
        "content": blocks,
        "structured_content": structured,
        "meta": meta,
        "data": data,
        "is_error": False,
    }
    assert result == expected
    assert list(result) == list(expected)
    assert type(result["data"]) is type(data)


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (
            int,
            {
                "properties": {"result": {"type": "integer"}},
                "required": ["result"],
                "type": "object",
                "x-fastmcp-wrap-result": True,
            },
        ),
        (dict, {"additionalProperties": True, "type": "object"}),
        (
            Pair,
            {
                "properties": {"a": {"type": "integer"}, "b": {"default": "x", "type": "string"}},
                "required": ["a"],
                "type": "object",
            },
        ),
        (None, None),
        (..., None),
        (
            object,
            {
                "properties": {"result": {}},
                "required": ["result"],
                "type": "object",
                "x-fastmcp-wrap-result": True,
            },
        ),
        (
            Outcome[int],
            {
                "properties": {"result": {"type": "integer"}},
                "required": ["result"],
                "type": "object",
                "x-fastmcp-wrap-result": True,
            },
        ),
        (Outcome, None),
    ],
)
def test_output_schemas(annotation, schema):
    assert giving(annotation, None).output_schema == schema


def test_content_blocks_of_the_mcp_library_pass_through(monkeypatch):
    class TextContent(BaseModel):
        type: str = "text"
        text: str
        annotations: None = None
        meta: None = None

    library = types.ModuleType("mcp.types")
    library.ContentBlock = TextContent  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mcp.types", library)
    block = {"type": "text", "text": "hi", "annotations": None, "meta": None}
    single = tool_result(giving(..., None), TextContent(text="hi"))
    assert (single["content"], single["structured_content"], single["data"], single["meta"]) == (
        [block],
        None,
        None,
        None,
    )
    several = tool_result(giving(..., None), [TextContent(text="hi"), {"a": 1}, "s", 5])
    assert [entry["text"] for entry in several["content"]] == ["hi", '{"a":1}', "s", "5"]
    assert several["data"] is None


class TestCalls:
    def test_result(self):
        seen = call("add", {"a": "1"})
        assert seen.observation.result["data"] == 3
        assert (seen.reward, seen.done, seen.outcome) == (None, False, StepOutcome.OK)

    def test_of_every_kind_of_method(self):
        assert call("later", {"x": 4}).observation.result["data"] == 4
        assert call("fixed").observation.result["data"] == 5
        assert call("of_class").observation.result["data"] == "Kit"
        assert SPEC.is_async

    def test_deadline_reaches_a_tool_that_takes_it(self):
        assert call("timed", {"x": 1}, timeout_s=2.5).observation.result["data"] == "1 2.5"
        assert call("timed", {"x": 1}).observation.result["data"] == "1 None"

    def test_outcome_rewards_and_ends(self):
        seen = call("win", {"by": 0.5})
        assert seen.observation.result["data"] == "won"
        assert (seen.reward, seen.done, seen.terminated, seen.reason) == (0.5, True, True, "won")
        assert (seen.components, seen.metadata) == ({"c": 1.0}, {"m": 2})
        assert (seen.observation.reward, seen.observation.done) == (0.5, True)
        assert (call("cut").truncated, call("cut").terminated) == (True, False)

    @pytest.mark.parametrize(
        ("name", "arguments", "kind", "message", "outcome"),
        [
            ("nope", {}, "tool_not_found", "Unknown tool: 'nope'", "invalid_action"),
            (
                "add",
                {},
                "invalid_args",
                "1 validation error for call[add]\na\n  Missing required argument",
                "invalid_action",
            ),
            (
                "add",
                {"a": "x"},
                "invalid_args",
                "1 validation error for call[add]\na\n  Input should be",
                "invalid_action",
            ),
            (
                "add",
                {"a": 1, "zz": 3},
                "invalid_args",
                "1 validation error for call[add]\nzz\n  Unexpected",
                "invalid_action",
            ),
            (
                "annotated",
                {"x": -1},
                "invalid_args",
                "1 validation error for call[annotated]\nx\n",
                "invalid_action",
            ),
            ("judge", {"mood": "picky"}, "invalid_args", "too picky", "invalid_action"),
            ("boom", {}, "execution_error", "Error calling tool 'boom': 'k'", "tool_error"),
            (
                "boom_later",
                {},
                "execution_error",
                "Error calling tool 'boom_later': boom happened",
                "tool_error",
            ),
        ],
    )
    def test_failures_are_observations(self, name, arguments, kind, message, outcome):
        seen = call(name, arguments)
        error = seen.observation.error
        assert (error.error_type.value, seen.outcome.value) == (kind, outcome)
        assert error.message.startswith(message)
        assert (seen.observation.tool_name, seen.observation.result) == (name, None)
        assert (seen.reward, seen.done) == (None, False)
        json.loads(seen.observation.model_dump_json())

    def test_a_failure_of_the_machinery_is_no_tool_error(self):
        with pytest.raises(SessionLost, match="gone"):
            call("judge", {"mood": "fine"})

    def test_a_validator_that_raises_anything(self):
        def refuse(value: Any) -> Any:
            raise KeyError(value)

        class Strict(Environment):
            @tool
            def take(self, x: Annotated[int, BeforeValidator(refuse)]) -> int:
                return x

        spec = describe(Strict)
        seen = spec.call_step(spec.make(), spec.validate_action({"tool_name": "take", "arguments": {"x": 1}}))
        assert seen.observation.error.error_type.value == "invalid_args"

    def test_arguments_are_validated_copies(self):
        assert call("untyped", {"anything": [1]}).observation.result["data"] == [1]
