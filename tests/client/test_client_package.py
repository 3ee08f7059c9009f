"""The package's public surface, and what importing it costs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

from tests.client.scripted import ScriptedServer, environment

import openenv.client

Start = Callable[..., ScriptedServer]

HEAVY = (
    "asyncio",
    "ssl",
    "http.client",
    "websockets",
    "uvicorn",
    "fastapi",
    "starlette",
    "typer",
    "concurrent",
)
ROOMS = {"server", "session", "launch", "catalog", "cli"}


def modules_after(code: str) -> set[str]:
    """Names of the modules that a fresh interpreter has after running `code`."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(ran.stdout.splitlines()[-1]))


def test_every_name_is_there() -> None:
    for name in openenv.client.__all__:
        assert getattr(openenv.client, name).__name__ == name
    assert dir(openenv.client) == sorted(openenv.client.__all__)


def test_a_synchronous_session_loads_no_event_loop_and_no_server(scripted: Start) -> None:
    url = scripted(environment({"observation": {}}, lambda peer: peer.counter())).url
    for make in (f"make_remote({url!r})", f"GenericEnvClient({url!r}).sync()"):
        use = "e.reset(); e.step({}); e.close()"
        loaded = modules_after(f"import openenv.client as c; e = c.{make}; {use}")
        assert not loaded & set(HEAVY)
        assert not {name.split(".")[1] for name in loaded if name.startswith("openenv.")} & ROOMS


def test_a_session_costs_no_more_modules_than_gymnasium(scripted: Start) -> None:
    url = scripted(environment({"observation": {}}, lambda peer: peer.counter())).url
    code = f"import openenv.client as c; e = c.make_remote({url!r}); e.reset(); e.step(a=1); e.close()"
    assert len(modules_after(code)) < len(modules_after("import gymnasium"))
