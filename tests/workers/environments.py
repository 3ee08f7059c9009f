"""Environments for servers with workers."""

from __future__ import annotations

import ctypes
import os
import tempfile
import time

from openenv import Environment, tool

count = 0  # of this process: environments that keep state like this cannot share one


class Tally(Environment):
    """Adds up; every episode has a temporary folder."""

    total: int = 0

    def reset(self) -> str:
        self.total = 0
        return "go"

    def step(self, number: int) -> str:
        self.total += number
        return f"{self.total} in {os.getpid()}"


class Tools(Environment):
    """Counts the calls of its tool."""

    calls: int = 0

    @tool
    def count(self) -> int:
        """Count this call."""
        self.calls += 1
        return self.calls


class Slow(Environment):
    """Sleeps."""

    def reset(self) -> str:
        return "go"

    def step(self, seconds: float) -> str:
        time.sleep(seconds)
        return "slept"


class Careless(Environment):
    """Keeps its state in the module, prints, and dies of some actions."""

    SUPPORTS_CONCURRENT_SESSIONS = False

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)

    def reset(self) -> str:
        global count
        count = 0
        return f"process {os.getpid()}"

    def step(self, what: str) -> str:
        global count
        if what == "segfault":
            ctypes.string_at(0)
        if what == "exit":
            os._exit(3)
        if what == "hang":
            ctypes.PyDLL(None).sleep(1000)  # a call that keeps the interpreter's lock
        if what == "print":
            print("said by the environment", flush=True)
        if what == "raise":
            raise ValueError("raised by the environment")
        count += 1
        return f"{count} in {os.getpid()}"

    def close(self) -> None:
        self._folder.cleanup()
