"""What a call costs the client: CPU time and latency of one synchronous client, each against its own server.

The client is a process of its own, and so is the server. Beside them stands the floor: as many bytes to and
fro over a socket that an asyncio protocol echoes. All of them share one core: between two, waking the other
side costs more than the call, and how much depends on what else the machine does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from .context import Context, interleave, progress
from .servers import ours, published, running

_CORE = min(os.sched_getaffinity(0))
_LOOP = (
    f"import os; os.sched_setaffinity(0, {{{{{_CORE}}}}})\n"
    + """
import json, statistics, time
call = lambda: env.step({{"message": "hello", "tokens": []}})
for _ in range({calls} // 5):
    call()
times = []
cpu = time.process_time_ns()
for _ in range({calls}):
    began = time.perf_counter_ns()
    call()
    times.append(time.perf_counter_ns() - began)
cpu = time.process_time_ns() - cpu
print(json.dumps({{"cpu_us": cpu / 1e3 / {calls}, "p50_us": statistics.median(times) / 1e3}}))
"""
)

_OURS = (
    """
import openenv
env = openenv.make("http://127.0.0.1:{port}")
env.reset(seed=1)
"""
    + _LOOP
)

_PUBLISHED = (
    """
from openenv.core import GenericEnvClient
env = GenericEnvClient(base_url="http://127.0.0.1:{port}").sync()
env.connect()
env.reset(seed=1)
"""
    + _LOOP
)

_ECHO_SERVER = """
import asyncio
class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data)
async def main():
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
try:
    import uvloop
    uvloop.run(main())
except ImportError:
    asyncio.run(main())
"""

_ECHO_CLIENT = (
    """
import socket
sock = socket.create_connection(("127.0.0.1", {port}))
sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
class env:
    def step(action):
        sock.sendall(b"x" * 200)
        sock.recv(65536)
"""
    + _LOOP
)


@dataclass(frozen=True)
class Caller:
    """A client program with the server it calls."""

    name: str
    python: str
    source: str


def run(context: Context) -> dict[str, Any]:
    """Return ``{client: {cpu_us, p50_us}}``; ``echo`` is the floor."""
    progress("clients")
    calls = context.pick(3000, 500)
    mine = next(kind for kind in ours() if kind.name == "serve")
    echo = subprocess.Popen([sys.executable, "-c", _ECHO_SERVER], stdout=subprocess.PIPE)
    assert echo.stdout is not None
    try:
        with (
            echo.stdout,
            running(published(context.published_python), sessions=8) as theirs,
            running(mine, sessions=8) as server,
        ):
            port = int(echo.stdout.readline())
            for pid in (echo.pid, theirs.pid, server.pid):
                _pin(pid)
            callers = [
                Caller(
                    "published", context.published_python, _PUBLISHED.format(port=theirs.port, calls=calls)
                ),
                Caller("ours", sys.executable, _OURS.format(port=server.port, calls=calls)),
                Caller("echo", sys.executable, _ECHO_CLIENT.format(port=port, calls=calls)),
            ]
            for caller in callers:
                _measure(caller)
            return interleave(callers, context.pick(5, 1), _measure, lambda caller: caller.name)
    finally:
        echo.kill()
        echo.wait()


def _pin(pid: int) -> None:
    """Keep a process on one core, with every thread that it has and will have."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), {_CORE})


def _measure(caller: Caller) -> dict[str, float]:
    ran = subprocess.run([caller.python, "-c", caller.source], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"{caller.name}: {ran.stderr[-600:]}")
    figures: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return figures
