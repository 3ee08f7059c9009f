"""Serve the no-op environment as published packages do: `create_app` under plain uvicorn.

The same file runs under the published package's interpreter and under ours. The first line of standard
output is the port.
"""

from __future__ import annotations

import socket
import sys

import uvicorn
from openenv.core.env_server import create_app

from noop import NoopAction, NoopEnvironment, NoopObservation


def main() -> None:
    app = create_app(
        NoopEnvironment,
        NoopAction,
        NoopObservation,
        env_name="noop",
        max_concurrent_envs=int(sys.argv[1]),
    )
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


main()
