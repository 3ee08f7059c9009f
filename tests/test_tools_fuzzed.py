"""Tools under any arguments and any results."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.test_tools import WRAP, call, giving

from openenv.tools import tool_result
from openenv.types import StepOutcome

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The machine is shared: examples may take long."""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
GIVERS = [giving(annotation, None) for annotation in (..., int, dict, list[Any], None, Any, str | None)]


@PATIENT
@given(st.sampled_from(GIVERS), json_values)
def test_any_result_can_be_sent(spec, value):
    result = tool_result(spec, value)
    json.dumps(result, allow_nan=False).encode()
    assert (result["meta"] == WRAP) == (
        isinstance(result["structured_content"], dict) and list(result["structured_content"]) == ["result"]
    ) or isinstance(value, dict)


@PATIENT
@given(st.dictionaries(st.text(max_size=4), json_values, max_size=4))
def test_any_arguments_give_an_observation(arguments):
    seen = call("add", arguments)
    json.dumps(json.loads(seen.observation.model_dump_json()))
    assert (seen.observation.error is None) == (seen.outcome is StepOutcome.OK)
