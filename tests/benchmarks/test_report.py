"""Ratios, goals and the blocks of pages that quote them."""

from __future__ import annotations

import os
import time
from typing import Any

from benchmarks.context import interleave, summarise
from benchmarks.process import cpu_ns, footprint
from benchmarks.report import Row, growth_table, render, rows, table

RESULTS: dict[str, Any] = {
    "machine": {
        "date": "2026-11-22",
        "cores": 2,
        "cpu": "a CPU",
        "kernel": "6",
        "python": "3.11",
        "openenv": "0.11",
    },
    "coldstart": {"published": {"cpu_ms": 1000, "wall_ms": 900}, "serve": {"cpu_ms": 250, "wall_ms": 300}},
    "churn": {"serve": {"cycles": 10, "uss_kib": 4, "descriptors": 0, "threads": 0, "cpu_us_per_cycle": 1.0}},
}


def test_a_ratio_below_the_goal_is_missed() -> None:
    assert Row("x", 100, 25, "ms", goal=4.0).met
    assert not Row("x", 100, 26, "ms", goal=4.0).met
    assert Row("x", 100, 400, "ms").met


def test_rows_exist_for_what_was_measured() -> None:
    (cpu, wall) = rows(RESULTS)
    assert (cpu.ratio, cpu.met) == (4.0, False)
    assert wall.goal is None
    assert "MISSED" in table(RESULTS, only_goals=True)
    assert len(table(RESULTS, only_goals=True).splitlines()) == 3


def test_blocks_of_a_page_are_filled_and_stay_so() -> None:
    page = "a\n<!-- measured: growth -->\nold\n<!-- /measured -->\nb\n"
    filled = render(page, RESULTS)
    assert growth_table(RESULTS) in filled
    assert render(filled, RESULTS) == filled


def test_medians_keep_their_rounds() -> None:
    assert summarise([{"a": 1.0}, {"a": 5.0}, {"a": 2.0}])["a"] == 2.0
    calls: list[str] = []

    def measure(item: str) -> dict[str, float]:
        calls.append(item)
        return {"n": float(len(calls))}

    taken = interleave(["x", "y"], 2, measure, str)
    assert sorted(calls[:2]) == sorted(calls[2:]) == ["x", "y"]
    assert len(taken["x"]["rounds"]) == 2


def test_the_kernel_is_asked_about_this_process() -> None:
    before = cpu_ns(os.getpid())
    deadline = time.thread_time() + 0.02
    while time.thread_time() < deadline:
        pass
    assert cpu_ns(os.getpid()) - before >= 19e6
    now = footprint(os.getpid())
    assert now.uss_kib > 1000
    assert now.threads >= 1
    assert now.descriptors >= 3
