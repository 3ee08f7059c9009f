"""`scripts/bench [--quick] [--only NAME] [--gate] [--save]`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .context import Context
from .report import growth_table, render, rows, table

SUITES = ("steps", "doors", "clients", "imports", "coldstart", "idle", "churn", "pool", "sandbox")
HERE = Path(__file__).resolve().parent
MEASURED = HERE / "measured.json"
"""The run that the README and the docs quote; written by `--save`."""
QUOTING = (HERE.parent / "README.md", HERE.parent / "docs" / "reference" / "benchmarks.md")


def main() -> int:
    """Run the suites, print the tables, write the results."""
    options = _options()
    context = Context(published_python=options.published_python, quick=options.quick)
    results: dict[str, Any] = {"machine": machine(), "quick": options.quick}
    started = time.monotonic()
    for name in options.only or SUITES:
        results[name] = importlib.import_module(f"benchmarks.{name}").run(context)
    results["seconds"] = round(time.monotonic() - started, 1)
    path = _write(results, save=options.save)
    print(table(results))
    print("\n" + growth_table(results))
    print(f"\n{results['seconds']:.0f} s; results in {path}")
    missed = [row.what for row in rows(results) if not row.met]
    if missed:
        print("goals missed: " + "; ".join(missed), file=sys.stderr)
    return 1 if missed and options.gate else 0


def machine() -> dict[str, Any]:
    """Where the run took place, so that figures are not compared across machines."""
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    return {
        "cpu": cpu.partition(":")[2].strip(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_at_start": round(os.getloadavg()[0], 2),
        "openenv": version("openenv"),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _write(results: dict[str, Any], *, save: bool) -> Path:
    text = json.dumps(results, indent=1) + "\n"
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    path.write_text(text)
    if save:
        MEASURED.write_text(text)
        for page in QUOTING:
            page.write_text(render(page.read_text(), results))
    return path


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute; for a look, not for a claim")
    parser.add_argument("--only", action="append", choices=SUITES, help="run one suite (may be repeated)")
    parser.add_argument("--gate", action="store_true", help="exit 1 if a goal is missed")
    parser.add_argument(
        "--save", action="store_true", help="also write benchmarks/measured.json and the tables that quote it"
    )
    parser.add_argument("--published-python", required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
