"""The sandbox suite measures real sandboxes, and its goals are those of the project."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import report, sandbox

FIGURES: dict[str, Any] = {
    "true_ms": 0.7,
    "create_ms": 5.0,
    "create_and_run_ms": 6.0,
    "bwrap_ms": 15.5,
    "pooled_ms": 0.3,
    "exec_ms": 0.15,
    "exec_here_ms": 0.005,
    "branch_100mb_ms": 4.0,
    "pss_mib_each": 4.5,
    "first_cycles_ms": 7.0,
    "last_cycles_ms": 7.0,
}


def missed(**changed: float) -> list[str]:
    return [row.what for row in report.rows({"sandbox": {**FIGURES, **changed}}) if not row.met]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"create_ms": 5.7, "bwrap_ms": 20}, "/bin/true"),
        ({"bwrap_ms": 14}, "bwrap"),
        ({"runsc_ms": 120}, "runsc"),
        ({"pooled_ms": 0.6}, "ready sandbox"),
        ({"exec_ms": 0.3}, "a cell, beyond"),
        ({"branch_100mb_ms": 11}, "branch"),
        ({"pss_mib_each": 5.5}, "memory per idle"),
        ({"last_cycles_ms": 12}, "a life"),
    ],
)
def test_a_goal_that_is_missed_is_named(changed: dict[str, float], what: str) -> None:
    assert missed() == []
    (line,) = missed(**changed)
    assert what in line


def test_the_ways_to_run_are_real() -> None:
    sandbox._create_and_run()
    sandbox._LIVE.pop().kill()
    sandbox._true()
    assert sandbox._many(3)["pss_mib_each"] > 1
    assert sandbox._soak(10)["descriptors_left"] <= 0  # other tests may let go of some meanwhile
    assert not sandbox._works(["no-such-program"])
    assert sandbox._works(["python3", "-c", "print(2)"])
