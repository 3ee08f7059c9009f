"""Numbers in the README and the docs are those of the run in benchmarks/measured.json."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from .snippets import ROOT

MEASURED = json.loads((ROOT / "benchmarks" / "measured.json").read_text())
PAGES = [ROOT / "README.md", ROOT / "docs" / "reference" / "benchmarks.md"]


def _report() -> ModuleType:
    spec = importlib.util.spec_from_file_location("report", ROOT / "benchmarks" / "report.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_quote_the_measured_run(page: Path) -> None:
    text = page.read_text()
    assert "<!-- measured: " in text
    assert _report().render(text, MEASURED) == text


def test_the_measured_run_is_a_full_one() -> None:
    assert MEASURED["quick"] is False
    assert {"steps", "imports", "coldstart", "idle", "churn"} <= set(MEASURED)
    assert {"1", "8", "64", "512"} == set(MEASURED["steps"])


def test_goals_are_named_and_met() -> None:
    rows = [row for row in _report().rows(MEASURED) if row.goal is not None]
    assert len(rows) == 7
    assert [row.what for row in rows if not row.met] == []
