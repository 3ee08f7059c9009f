"""`python -m openenv.doctor [--json]`: the diagnosis when the `openenv` command itself was overwritten."""

from __future__ import annotations

import json
import sys

from openenv.doctor.findings import diagnose
from openenv.doctor.report import render


def main(arguments: list[str]) -> int:
    """Print the diagnosis; 1 if something is broken."""
    diagnosis = diagnose()
    if "--json" in arguments:
        text = json.dumps({"schema_version": 1, **diagnosis.to_dict()}, indent=2)
    else:
        text = render(diagnosis, unicode=(sys.stdout.encoding or "").lower().startswith("utf"))
    sys.stdout.write(text + "\n")
    return 0 if diagnosis.ok else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
