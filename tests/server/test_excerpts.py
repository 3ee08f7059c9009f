from __future__ import annotations

import json
from typing import Any

import pytest
from tests.server.environments import Guess
from tests.server.wire import Wire, runtime_of

from openenv.errors import InvalidActionError, OpenEnvError
from openenv.server.excerpts import MAX_ISSUES, MAX_QUOTED, MAX_TEXT, issues_excerpt, shorten, text_excerpt

MIB = 1024 * 1024


def issue(**fields: Any) -> dict[str, Any]:
    return {"type": "t", "loc": ["x"], "msg": "m", "input": None, **fields}


def test_small_reports_are_left_as_they_are() -> None:
    issues = [issue(input={"a": [1, None, "text", {"b": 2.5}]}), issue(input="x" * 1000)]
    assert issues_excerpt(issues) == issues
    error = InvalidActionError("small", errors=issues)
    shorten(error)
    assert (error.message, error.errors, error.data) == ("small", issues, {})


@pytest.mark.parametrize(
    "value",
    [
        "x" * MIB,
        ["x" * 100] * 10_000,
        list(range(100_000)),
        {str(number): number for number in range(100_000)},
        {"k" * MIB: 1},
        [[["x" * MIB] * 3] * 3] * 3,
    ],
)
def test_large_ones_are_cut_and_say_so(value: Any) -> None:
    quoted = issues_excerpt([issue(input=value)])
    text = json.dumps(quoted, ensure_ascii=False)
    assert len(text) < 3 * MAX_QUOTED
    assert "…" in text
    assert set(quoted[0]) == {"type", "loc", "msg", "input"}


def test_every_problem_keeps_its_fields_when_the_room_is_used_up() -> None:
    quoted = issues_excerpt([issue(input="x" * MIB), issue(input={"a": 1}), issue(loc=["k" * MIB])])
    assert [set(one) for one in quoted] == [{"type", "loc", "msg", "input"}] * 3
    assert len(json.dumps(quoted)) < 2 * MAX_QUOTED


def test_deep_nesting_ends() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    assert "… 1 items" in json.dumps(issues_excerpt([issue(input=deep)]), ensure_ascii=False)


def test_long_lists_are_counted() -> None:
    error = InvalidActionError("x" * (MAX_TEXT + 1), errors=[issue()] * (MAX_ISSUES + 7))
    shorten(error)
    assert len(error.errors) == MAX_ISSUES
    assert error.data["more_errors"] == 7
    assert error.message.endswith("characters)")


def test_other_errors_have_their_message_cut() -> None:
    error = OpenEnvError("x" * MIB)
    shorten(error)
    assert len(error.message) < MAX_TEXT + 100
    assert text_excerpt("short") == "short"


@pytest.mark.parametrize(
    "data",
    [
        {"guess": "x" * 64 * MIB},
        {"k" * 64 * MIB: 1},
        {"more": "x" * 64 * MIB},
        {"guess": list(range(2_000_000))},
    ],
    ids=["value", "key", "missing and extra", "list"],
)
async def test_a_64_mib_message_costs_neither_session_nor_connection(data: dict[str, Any]) -> None:
    async with Wire(runtime_of(Guess)) as wire:
        await wire.ask({"type": "reset"})
        wire.send({"type": "step", "data": data})
        frame = await wire.frames.get()
        assert len(frame) < 5 * MAX_QUOTED
        assert json.loads(frame)["data"]["code"] == "VALIDATION_ERROR"
        assert (await wire.ask({"type": "step", "data": {"guess": 1}}))["type"] == "observation"
