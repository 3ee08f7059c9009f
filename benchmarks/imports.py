"""What it costs a program to start: CPU time and modules of import alone, and of import, connect and step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from .context import Context, interleave, progress
from .servers import ours, published, running

_COUNT = "\nimport sys, json; print(json.dumps(len(sys.modules)))"

_OUR_CLIENT = """
import openenv
with openenv.connect("http://127.0.0.1:{port}").sync() as env:
    env.reset(seed=1)
    env.step({{"message": "hello", "tokens": []}})
"""

_PUBLISHED_CLIENT = """
from openenv.core import GenericEnvClient
with GenericEnvClient(base_url="http://127.0.0.1:{port}").sync() as env:
    env.reset(seed=1)
    env.step({{"message": "hello", "tokens": []}})
"""


@dataclass(frozen=True)
class Program:
    """A program to run to its end.

    Attributes:
        name: key in the results.
        python: the interpreter.
        source: what it runs.
    """

    name: str
    python: str
    source: str


def run(context: Context) -> dict[str, Any]:
    """Return ``{program: {cpu_ms, modules}}``; CPU includes the interpreter's own start, the same for all."""
    progress("imports")
    mine = next(kind for kind in ours() if kind.name == "serve")
    with (
        running(published(context.published_python), sessions=8) as theirs,
        running(mine, sessions=8) as server,
    ):
        programs = [
            Program("python", sys.executable, "pass"),
            Program("gymnasium", sys.executable, "import gymnasium"),
            Program("openenv", sys.executable, "import openenv"),
            Program("client", sys.executable, _OUR_CLIENT.format(port=server.port)),
            Program("published_core", context.published_python, "import openenv.core"),
            Program("published_client", context.published_python, _PUBLISHED_CLIENT.format(port=theirs.port)),
        ]
        for program in programs:  # bytecode caches and the page cache
            _cost(program)
        return interleave(programs, context.pick(5, 1), _cost, lambda program: program.name)


def _cost(program: Program) -> dict[str, float]:
    process = subprocess.Popen([program.python, "-c", program.source + _COUNT], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{program.name} ended with {process.returncode}")
    return {"cpu_ms": (usage.ru_utime + usage.ru_stime) * 1e3, "modules": float(json.loads(output))}
