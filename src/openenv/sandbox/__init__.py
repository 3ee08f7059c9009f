"""Running code that nobody trusts: confined by the kernel's own means, in milliseconds, without a daemon.

    from openenv.sandbox import Limits, Sandbox

    with Sandbox.create(limits=Limits(wall_s=5)) as sandbox:
        sandbox.exec("total = sum(range(10))")
        print(sandbox.exec("total").value)

What isolates, and what does not: docs/explanation/what-isolates-your-code.md.
"""

from __future__ import annotations

from .limits import Limits, NetworkPolicy, Packages
from .pool import SandboxPool
from .python_session import PythonSession
from .results import (
    CellError,
    Entry,
    ExecResult,
    Image,
    RunResult,
    Snapshot,
    Status,
    Trusted,
    Usage,
)
from .sandbox import Sandbox
from .tiers import Layer, Report, Standing, Tier

__all__ = [
    "CellError",
    "Entry",
    "ExecResult",
    "Image",
    "Layer",
    "Limits",
    "NetworkPolicy",
    "Packages",
    "PythonSession",
    "Report",
    "RunResult",
    "Sandbox",
    "SandboxPool",
    "Snapshot",
    "Standing",
    "Status",
    "Tier",
    "Trusted",
    "Usage",
]
