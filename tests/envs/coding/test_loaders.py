"""Problem files of the common forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openenv.envs.coding import CallCase, CodingTasks, RunCase, grade
from openenv.envs.coding.loaders import load_problems
from openenv.envs.coding.workspace import Confinement
from openenv.errors import ProblemFormatError
from openenv.sandbox import Snapshot

CHECK = {
    "task_id": "Set/0",
    "prompt": 'def add(a, b):\n    """Add."""\n',
    "entry_point": "add",
    "canonical_solution": "    return a + b\n",
    "test": (
        "METADATA = {}\n\ndef check(candidate):\n    'doc'\n    assert candidate(1, 2) == 3\n"
        "    assert [1] == candidate([], [1]), 'why'\n    assert abs(candidate(0.5, 1) - 1.5) < 1e-6\n"
        "    assert candidate(0, True) is True\n    assert not candidate(False, False)\n    assert True\n"
    ),
}
LISTED = {
    "text": "Double a number.",
    "code": "def double(n):\n    return 2 * n\n",
    "test_list": ["assert double(2) == 4", "assert double('a') == 'aa'"],
}
STREAMS = {
    "id": 7,
    "question": "Echo.",
    "input_output": json.dumps({"inputs": ["a\n", "b c\n"], "outputs": ["a", ["b c"]]}),
    "solutions": json.dumps(["print(input())"]),
}
CALLS = {
    "prompt": "Largest.",
    "input_output": {"fn_name": "largest", "inputs": [[[1, 3, 2]], [[0]]], "outputs": [3, 0]},
    "solutions": ["largest = max"],
}


def _file(tmp_path: Path, *items: Any) -> Path:
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(json.dumps(item) for item in items) + "\n\n")
    return path


def test_every_form_becomes_a_problem_that_its_solution_solves(
    tmp_path: Path, confinement: Confinement
) -> None:
    problems = load_problems(
        _file(
            tmp_path,
            {**CHECK, "test": CHECK["test"].split("    assert candidate(0, T")[0]},
            LISTED,
            STREAMS,
            CALLS,
        )
    )
    assert [(problem.id, problem.kind, len(problem.cases)) for problem in problems] == [
        ("Set/0", "function", 3), ("set-2", "function", 2), ("7", "program", 2), ("set-4", "function", 2),
    ]  # fmt: skip
    for problem in problems:
        files = {name: (text.encode(), 0o644) for name, text in problem.oracle.items()}
        assert grade(problem, Snapshot(files), confinement).all_passed, problem.id
        assert grade(problem, Snapshot(), confinement).passed == 0
    tasks = CodingTasks({"train": problems[:3], "held_out": problems[3:]})
    assert tasks.list_splits() == ["train", "held_out"]
    assert tasks.select(seed=1, split="held_out").answer is problems[3]


def test_assertions_become_questions_and_answers(tmp_path: Path) -> None:
    (problem,) = load_problems(_file(tmp_path, CHECK), time_limit_s=3)
    assert problem.cases == (
        CallCase((1, 2), 3, "solution:add"),
        CallCase(([], [1]), [1], "solution:add"),
        CallCase((0.5, 1), 1.5, "solution:add"),
        CallCase((0, True), True, "solution:add"),
        CallCase((False, False), False, "solution:add"),
    )
    assert problem.time_limit_s == 3
    (streams,) = load_problems(_file(tmp_path, STREAMS))
    assert streams.cases[1] == RunCase(("python3", "main.py"), "b c\n", "b c")


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ([], "expected an object"),
        ({"prompt": "x"}, "expected the fields"),
        ({**CHECK, "test": "x = 1"}, "a function 'check'"),
        ({**CHECK, "test": "def check(c):\n    pass"}, "no tests"),
        ({**CHECK, "test": "def check(c):\n    for i in [3]:\n        assert c(i) == 4"}, "only assertions"),
        ({**CHECK, "test": "def check(c):\n    assert c(1, 2) > 2"}, "a call == a value"),
        ({**CHECK, "test": "def check(c):\n    assert c(1, 2) == {1, 2}"}, "JSON form"),
        ({**CHECK, "test": "def check(c):\n    assert c({1: 2}) == 2"}, "keys are texts"),
        ({**CHECK, "test": "def check(c):\n    assert len(c(1, 2)) == 2"}, "expected a call of c"),
        ({**CHECK, "test": "def ("}, "line 1"),
        ({**CHECK, "prompt": 5}, "prompt: expected a text"),
        ({**LISTED, "test_list": []}, "test_list: expected a list"),
        ({**LISTED, "test_list": ["x = 1"]}, "an assertion about a call"),
        ({**STREAMS, "input_output": {"inputs": ["1"], "outputs": []}}, "equal length"),
        ({**STREAMS, "input_output": {"inputs": ["1"], "outputs": [""]}}, "must expect output"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_line(tmp_path: Path, item: Any, words: str) -> None:
    path = _file(tmp_path, LISTED, item)
    with pytest.raises(ProblemFormatError) as caught:
        load_problems(path)
    assert caught.value.line == 2
    assert words in str(caught.value)
    assert len(load_problems(path, skip_unreadable=True)) == 1
