"""The built-in problems are solvable and not for free; how values are compared."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

import pytest

from openenv.envs.coding import CodingTasks, Problem, RunCase, grade
from openenv.envs.coding.grading import Finding, same
from openenv.envs.coding.workspace import Confinement
from openenv.errors import TaskNotFoundError
from openenv.sandbox import Snapshot

TASKS = CodingTasks()
PLACES = [(split, index) for split in ("train", "test") for index in range(TASKS.num_tasks(split))]


def _snapshot(files: Mapping[str, str]) -> Snapshot:
    return Snapshot({name: (text.encode(), 0o644) for name, text in files.items()})


@pytest.mark.parametrize(("split", "index"), PLACES, ids=lambda place: str(place))
def test_the_oracle_passes_and_what_is_given_does_not(
    split: str, index: int, confinement: Confinement
) -> None:
    problem = TASKS.problem(split, index)
    assert len(problem.cases) >= 3
    solved = grade(problem, _snapshot({**problem.files, **problem.oracle}), confinement)
    assert solved.all_passed, (problem.id, solved)
    assert grade(problem, Snapshot(), confinement).passed == 0
    assert not grade(problem, _snapshot(problem.files), confinement).all_passed


def test_the_splits() -> None:
    assert (TASKS.num_tasks("train"), TASKS.num_tasks("test")) == (40, 20)
    problems = TASKS.problems("train") + TASKS.problems("test")
    assert len({problem.id for problem in problems}) == 60
    for split in ("train", "test"):
        assert {problem.kind for problem in TASKS.problems(split)} == {"function", "program", "repository"}
    assert shutil.which("cc")
    assert [problem.id for problem in problems if problem.build] == ["repository_fraction_c"]


def test_what_callers_see_of_a_task_holds_no_answer() -> None:
    for split in ("train", "test"):
        for task in TASKS.list_tasks(split):
            assert set(task) == {
                "id", "index", "split", "kind", "prompt", "submission", "entry_point", "files",
                "test_command",
            }  # fmt: skip
            oracle = TASKS.problem(split, task["index"]).oracle
            assert not any(text in str(task) for text in oracle.values())


def test_tests_are_the_same_every_time() -> None:
    first, second = (CodingTasks().problem("train", "run_lengths").cases for _ in range(2))
    assert first == second
    with pytest.raises(TaskNotFoundError):
        TASKS.problem("train", "no_such_problem")


def test_a_build_that_fails(confinement: Confinement) -> None:
    problem = TASKS.problem("test", "repository_fraction_c")
    verdict = grade(problem, _snapshot({"fraction.c": "int main(void) { return x; }"}), confinement)
    assert set(verdict.findings) == {Finding.BUILD}
    assert "fraction.c" in verdict.detail


def test_exit_codes_count(confinement: Confinement) -> None:
    case = RunCase(("sh", "a.sh"), "in\n", "in", exit_code=3)
    problem = Problem("p", "program", "", (case,), submission="a.sh")
    for text, finding in [
        ("cat; exit 3", Finding.PASSED),
        ("cat", Finding.CRASHED),
        ("echo out; exit 3", Finding.WRONG),
        ("cat; kill -9 $$", Finding.CRASHED),
    ]:
        assert grade(problem, _snapshot({"a.sh": text}), confinement).findings == (finding,)


@pytest.mark.parametrize(
    ("said", "expected", "equal"),
    [
        (1, 1, True), (1, 2, False), (1, True, False), (True, 1, False), (2, 2.0, True),
        (0.1 + 0.2, 0.3, True),
        (0.3001, 0.3, False), (float("nan"), float("nan"), True), (1.0, float("nan"), False),
        (10**400, 1.0, False), ("a", "a", True), ("1", 1, False), (None, None, True), (None, 0, False),
        ([1, 2], (1, 2), True), ([1], [1, 2], False), ({"a": [1]}, {"a": [1]}, True),
        ({"a": 1}, {"b": 1}, False),
        ([], {}, False), ({}, [], False), ("", None, False),
    ],
)  # fmt: skip
def test_values_are_compared_strictly(said: Any, expected: Any, equal: bool) -> None:
    assert same(said, expected) is equal


def test_a_value_too_deep_to_compare_is_wrong(confinement: Confinement) -> None:
    text = "def digit_sum(n):\n    v = []\n    for _ in range(900): v = [v]\n    return v\n"
    verdict = grade(TASKS.problem("train", "digit_sum"), _snapshot({"solution.py": text}), confinement)
    assert verdict.passed == 0
