"""Numbers in the README and the docs are those of the run in benchmarks/measured.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.report import render, rows

from .snippets import ROOT

MEASURED = json.loads((ROOT / "benchmarks" / "measured.json").read_text())
PAGES = [ROOT / "README.md", ROOT / "docs" / "reference" / "benchmarks.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_quote_the_measured_run(page: Path) -> None:
    text = page.read_text()
    assert "<!-- measured: " in text
    assert render(text, MEASURED) == text


def test_the_measured_run_is_a_full_one() -> None:
    assert MEASURED["quick"] is False
    assert {"steps", "imports", "coldstart", "idle", "churn"} <= set(MEASURED)
    assert {"1", "8", "64", "512"} == set(MEASURED["steps"])


def test_goals_are_named_and_a_missed_one_is_shown_as_missed() -> None:
    goals = [row for row in rows(MEASURED) if row.goal is not None]
    assert len(goals) >= 9
    readme = (ROOT / "README.md").read_text()
    for row in goals:
        line = next(line for line in readme.splitlines() if line.startswith(f"| {row.what} |"))
        assert line.endswith(" met |" if row.met else " MISSED |")
