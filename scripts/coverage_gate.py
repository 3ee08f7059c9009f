"""Read `coverage json` from standard input; fail if a gated room covers less than 95 % of its branches."""

from __future__ import annotations

import json
import sys

ROOMS = ("session", "protocol", "server")
GATE = 95.0


def main() -> int:
    """Print branch and line coverage per room; return 1 if one is below the gate."""
    totals = {room: [0, 0, 0, 0] for room in ROOMS}
    missing: list[str] = []
    for path, file in json.load(sys.stdin)["files"].items():
        room = next((name for name in ROOMS if f"openenv/{name}/" in path), None)
        if room is None:
            continue
        figures = file["summary"]
        keys = ("covered_branches", "num_branches", "covered_lines", "num_statements")
        totals[room] = [total + figures[key] for total, key in zip(totals[room], keys, strict=True)]
        if figures["missing_branches"] or figures["missing_lines"]:
            missing.append(f"  {path}: lines {file['missing_lines']} branches {file['missing_branches']}")
    passed = True
    for room, (branches, of_branches, lines, of_lines) in totals.items():
        share = 100.0 * branches / of_branches if of_branches else 0.0
        passed &= share >= GATE
        line_share = 100 * lines / max(of_lines, 1)
        print(f"coverage {room}: {share:.1f} % of branches (gate {GATE:g} %), {line_share:.1f} % of lines")
    if not passed:
        print("\n".join(missing))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
