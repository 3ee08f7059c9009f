"""Stand-ins for `docker` and `uv` on PATH that note their arguments and really start servers."""

import json
import os
import stat
import sys
from pathlib import Path

import pytest

SERVER = """
import os, signal, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

if os.environ.get("FAIL"):
    print("no such module: marlin")
    sys.exit(3)

if os.environ.get("STUBBORN"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        slow = time.monotonic() < READY_AT
        self.send_response(503 if slow else 200)
        self.end_headers()
        self.wfile.write(os.environ.get("SAY", "").encode())

    def log_message(self, *args):
        pass

READY_AT = time.monotonic() + float(os.environ.get("SLOW", "0"))
host, port = sys.argv[1], int(sys.argv[2])
HTTPServer((host, port), Handler).serve_forever()
"""

COMMON = """#!{python}
import json, os, signal, subprocess, sys
from pathlib import Path
state = Path({state!r})
argv = sys.argv[1:]
with (state / "calls").open("a") as calls:
    calls.write(json.dumps([Path(sys.argv[0]).name, *argv]) + "\\n")
"""

DOCKER = (
    COMMON
    + """
def pid():
    return int((state / "pid").read_text())

def alive():
    try:
        os.kill(pid(), 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{{pid()}}/stat").read_text().split()[2] != "Z"

if argv[0] == "version":
    print("28.0")
elif argv[0] == "run":
    if "missing:latest" in argv:
        print("Unable to find image", file=sys.stderr)
        sys.exit(125)
    host, port, _ = argv[argv.index("--publish") + 1].split(":")
    env = dict(argv[i + 1].split("=", 1) for i, flag in enumerate(argv) if flag == "--env")
    log = (state / "log").open("wb")
    command = [{python!r}, "-c", {server!r}, host, port]
    if "echo:latest" in argv:
        command = [{python!r}, "-m", "openenv.cli", "serve", "echo", "--host", host, "--port", port]
    process = subprocess.Popen(
        command, env={{**os.environ, **env}}, stdout=log, stderr=log, start_new_session=True
    )
    (state / "pid").write_text(str(process.pid))
    print("Pulling image")
    print("c0ffee")
elif argv[0] == "inspect":
    print("running" if alive() else "exited")
elif argv[0] == "logs":
    print((state / "log").read_text())
elif argv[0] == "stop":
    os.kill(pid(), signal.SIGTERM)
elif argv[0] == "rm" and alive():
    os.kill(pid(), signal.SIGKILL)
"""
)

UV = (
    COMMON
    + """
host = argv[argv.index("--host") + 1]
port = argv[argv.index("--port") + 1]
os.execv({python!r}, [{python!r}, "-c", {server!r}, host, port])
"""
)


class Fake:
    """A stand-in program: what it was called with, and the server it started."""

    def __init__(self, state: Path) -> None:
        self.state = state

    @property
    def calls(self):
        file = self.state / "calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def pid(self):
        return int((self.state / "pid").read_text())


@pytest.fixture
def fake(tmp_path, monkeypatch):
    folder, state = tmp_path / "bin", tmp_path / "state"
    folder.mkdir()
    state.mkdir()
    for name, text in {"docker": DOCKER, "uv": UV}.items():
        program = folder / name
        program.write_text(text.format(python=sys.executable, state=str(state), server=SERVER))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return Fake(state)


@pytest.fixture
def no_programs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
