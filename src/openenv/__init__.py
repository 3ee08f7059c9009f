"""OpenEnv: create, isolate, serve and use execution environments for agents.

An author writes an `Environment`; anyone uses it through `make` (in process, or any server by URL) or
`connect` (asynchronous)::

    import openenv

    with openenv.make("echo") as env:
        observation = env.reset(seed=1)
        observation, reward, done, info = env.step(env.action_space.sample())

Importing this package loads what authors write against and nothing else; clients, servers and the
catalogue are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from openenv.environment import Environment, action, hidden
from openenv.errors import NotAvailableError, OpenEnvError, SessionLost
from openenv.tools import tool
from openenv.types import (
    Action,
    EpisodeStatus,
    Observation,
    Outcome,
    State,
    StepOutcome,
    StepResult,
)

if TYPE_CHECKING:
    from openenv import cli, core
    from openenv.catalog import make
    from openenv.client import (
        AsyncEnv,
        Env,
        EnvClient,
        GenericAction,
        GenericEnvClient,
        MCPToolClient,
        SyncEnvClient,
        connect,
    )
    from openenv.rubrics import Rubric
    from openenv.tasks import Task, TaskSet

    __version__: str

__all__ = [
    "Action",
    "AsyncEnv",
    "Env",
    "EnvClient",
    "Environment",
    "EpisodeStatus",
    "GenericAction",
    "GenericEnvClient",
    "MCPToolClient",
    "Observation",
    "OpenEnvError",
    "Outcome",
    "Rubric",
    "SessionLost",
    "State",
    "StepOutcome",
    "StepResult",
    "SyncEnvClient",
    "Task",
    "TaskSet",
    "__version__",
    "action",
    "cli",
    "connect",
    "core",
    "hidden",
    "make",
    "tool",
]

_LAZY = {
    "AsyncEnv": "openenv.client",
    "Env": "openenv.client",
    "EnvClient": "openenv.client",
    "GenericAction": "openenv.client",
    "GenericEnvClient": "openenv.client",
    "MCPToolClient": "openenv.client",
    "Rubric": "openenv.rubrics",
    "SyncEnvClient": "openenv.client",
    "Task": "openenv.tasks",
    "TaskSet": "openenv.tasks",
    "connect": "openenv.client",
    "make": "openenv.catalog",
}
_MODULES = frozenset({"cli", "core"})


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _load_package_version()
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"openenv.{name}")
    if name in ("AutoEnv", "AutoAction"):
        raise NotAvailableError(
            f"openenv.{name} is not there yet: name the environment's own client class, or use "
            "openenv.make(TARGET) or openenv.connect(URL)"
        )
    raise AttributeError(f"module 'openenv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


def _load_package_version() -> str:
    """Version of the installed distribution, "0.0.0" when run from a bare source tree."""
    from importlib.metadata import PackageNotFoundError, version

    for distribution in ("openenv", "openenv-core"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "0.0.0"
