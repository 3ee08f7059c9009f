"""Tools: what may be declared, and what is refused."""

from __future__ import annotations

import pytest
from tests.test_tools import Kit, giving

from openenv.environment import Environment, describe
from openenv.errors import DefinitionError
from openenv.tools import RESERVED_TOOL_NAMES, tool, tool_result


class TestDefinitions:
    @pytest.mark.parametrize("name", sorted(RESERVED_TOOL_NAMES))
    def test_reserved_names(self, name):
        class Bad(Environment):
            @tool(name=name)
            def run(self) -> str:
                return "x"

        with pytest.raises(
            DefinitionError, match=rf"test_tool_definitions.py:\d+: Bad: '{name}' is no name for a tool"
        ):
            describe(Bad)

    def test_a_tool_called_step_by_its_method(self):
        class Bad(Environment):
            @tool
            def step(self, n: int) -> str:
                return "x"

        with pytest.raises(DefinitionError, match="step"):
            describe(Bad)

    def test_two_tools_of_one_name(self):
        class Twice(Environment):
            @tool
            def a(self) -> str:
                return "x"

            @tool(name="a")
            def b(self) -> str:
                return "x"

        with pytest.raises(DefinitionError, match="two tools are called 'a'"):
            describe(Twice)

    @pytest.mark.parametrize(
        "function",
        [lambda self, *args: 1, lambda self, **kwargs: 1, eval("lambda self, x, /: 1")],
    )
    def test_parameters_without_a_name(self, function):
        function.__name__ = "run"
        cls = type("Bad", (Environment,), {"run": tool(function), "__module__": __name__})
        with pytest.raises(DefinitionError, match="has no name that an agent could use"):
            describe(cls)

    def test_types_without_a_schema(self):
        class Thing:
            pass

        class Bad(Environment):
            @tool
            def run(self, thing: Thing) -> str:
                return "x"

        with pytest.raises(DefinitionError, match=r"no schema can be made of the tool 'run'"):
            describe(Bad)

    def test_a_return_type_without_a_schema_does_not_matter(self):
        class Thing:
            def __repr__(self) -> str:
                return "thing"

        result = tool_result(giving(Thing, None), Thing())
        assert result["data"] == "thing"

    def test_inherited_overridden_and_removed(self):
        class Child(Kit):
            def add(self, a: int, b: int = 3) -> int:
                return a * b

            boom = None

        spec = describe(Child)
        assert "boom" not in {t.name for t in spec.tools}
        action = spec.validate_action({"tool_name": "add", "arguments": {"a": 4}})
        assert spec.call_step(spec.make(), action).observation.result["data"] == 12
