"""A client whose connection drops comes back to the worker that has its session."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import openenv

from .served import TOKEN, served


class Proxy:
    """Passes bytes on, and drops every connection when told to."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._all: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._start(self._accept)

    def _start(self, run: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=run, args=arguments)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            self._open += [near, far]
            self._all += [near, far]
            self._start(self._pump, near, far)
            self._start(self._pump, far, near)

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for sock in (one, other):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def drop(self) -> int:
        """Drop every connection; returns how many sockets that were."""
        dropped, self._open = self._open, []
        for sock in dropped:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        return len(dropped)

    def close(self) -> None:
        """Stop."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()
        for thread in self._threads:
            thread.join(30)
        for sock in self._all:
            sock.close()


@contextlib.contextmanager
def proxied(url: str) -> Iterator[Proxy]:
    proxy = Proxy(int(url.rpartition(":")[2]))
    try:
        yield proxy
    finally:
        proxy.close()


def test_a_client_whose_connection_dropped_goes_on_where_it_was(tmp_path: Path) -> None:
    with served(tmp_path) as server, proxied(server.url) as proxy:
        envs = [openenv.make(proxy.url, token=TOKEN) for _ in range(4)]
        pids = []
        for env in envs:
            env.reset()
            pids.append(env.step(number=1).observation.result.split()[-1])
        assert len(set(pids)) == 2
        for turn in (2, 3, 4):
            assert proxy.drop() >= 8
            for env, pid in zip(envs, pids, strict=True):
                assert env.step(number=1).observation.result == f"{turn} in {pid}"
        for env in envs:
            env.close()
