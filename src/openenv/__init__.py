"""OpenEnv: create, isolate, serve and use execution environments for agents.

An author writes an `Environment`; anyone uses it through `make` (in process, or any server by URL) or
`connect` (asynchronous)::

    import openenv

    with openenv.make("echo") as env:
        observation = env.reset(seed=1)
        observation, reward, done, info = env.step(env.action_space.sample())

Importing this package loads nothing else: every name is imported when it is first used, so that a command
line that prints its help and a client that knows no pydantic model pay for neither.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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
    from openenv.environment import Environment, action, hidden
    from openenv.errors import (
        ActionError,
        AuthenticationError,
        ConcurrencyConfigurationError,
        DefinitionError,
        EnvironmentFactoryError,
        EnvironmentFailedError,
        InfrastructureError,
        InvalidActionError,
        LaunchError,
        OpenEnvError,
        OrderError,
        PoolBusyError,
        ProtocolError,
        ServerUnreachableError,
        SessionCapacityError,
        SessionCreationError,
        SessionLost,
        SessionNotFoundError,
        StepTimeoutError,
        TargetError,
        TaskNotFoundError,
        ToolCallError,
        UsageError,
    )
    from openenv.pool import AsyncPool, Pool, connect_pool, make_pool
    from openenv.rubrics import Rubric
    from openenv.tasks import Task, TaskSet
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

    __version__: str

__all__ = [
    "Action",
    "ActionError",
    "AsyncEnv",
    "AsyncPool",
    "AuthenticationError",
    "ConcurrencyConfigurationError",
    "DefinitionError",
    "Env",
    "EnvClient",
    "Environment",
    "EnvironmentFactoryError",
    "EnvironmentFailedError",
    "EpisodeStatus",
    "GenericAction",
    "GenericEnvClient",
    "InfrastructureError",
    "InvalidActionError",
    "LaunchError",
    "MCPToolClient",
    "Observation",
    "OpenEnvError",
    "OrderError",
    "Outcome",
    "Pool",
    "PoolBusyError",
    "ProtocolError",
    "Rubric",
    "ServerUnreachableError",
    "SessionCapacityError",
    "SessionCreationError",
    "SessionLost",
    "SessionNotFoundError",
    "State",
    "StepOutcome",
    "StepResult",
    "StepTimeoutError",
    "SyncEnvClient",
    "TargetError",
    "Task",
    "TaskNotFoundError",
    "TaskSet",
    "ToolCallError",
    "UsageError",
    "__version__",
    "action",
    "cli",
    "connect",
    "connect_pool",
    "core",
    "hidden",
    "make",
    "make_pool",
    "tool",
]

_LAZY = {
    "Action": "openenv.types",
    "ActionError": "openenv.errors",
    "AsyncEnv": "openenv.client",
    "AsyncPool": "openenv.pool",
    "AuthenticationError": "openenv.errors",
    "ConcurrencyConfigurationError": "openenv.errors",
    "DefinitionError": "openenv.errors",
    "Env": "openenv.client",
    "EnvClient": "openenv.client",
    "Environment": "openenv.environment",
    "EnvironmentFactoryError": "openenv.errors",
    "EnvironmentFailedError": "openenv.errors",
    "EpisodeStatus": "openenv.types",
    "GenericAction": "openenv.client",
    "GenericEnvClient": "openenv.client",
    "InfrastructureError": "openenv.errors",
    "InvalidActionError": "openenv.errors",
    "LaunchError": "openenv.errors",
    "MCPToolClient": "openenv.client",
    "Observation": "openenv.types",
    "OpenEnvError": "openenv.errors",
    "OrderError": "openenv.errors",
    "Outcome": "openenv.types",
    "Pool": "openenv.pool",
    "PoolBusyError": "openenv.errors",
    "ProtocolError": "openenv.errors",
    "Rubric": "openenv.rubrics",
    "ServerUnreachableError": "openenv.errors",
    "SessionCapacityError": "openenv.errors",
    "SessionCreationError": "openenv.errors",
    "SessionLost": "openenv.errors",
    "SessionNotFoundError": "openenv.errors",
    "State": "openenv.types",
    "StepOutcome": "openenv.types",
    "StepResult": "openenv.types",
    "StepTimeoutError": "openenv.errors",
    "SyncEnvClient": "openenv.client",
    "TargetError": "openenv.errors",
    "Task": "openenv.tasks",
    "TaskNotFoundError": "openenv.errors",
    "TaskSet": "openenv.tasks",
    "ToolCallError": "openenv.errors",
    "UsageError": "openenv.errors",
    "action": "openenv.environment",
    "connect": "openenv.client",
    "connect_pool": "openenv.pool",
    "hidden": "openenv.environment",
    "make": "openenv.catalog",
    "make_pool": "openenv.pool",
    "tool": "openenv.tools",
}
_MODULES = frozenset({"cli", "core"})


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _load_package_version()
    if name in _LAZY:
        value = globals()[name] = getattr(importlib.import_module(_LAZY[name]), name)
        return value
    if name in _MODULES:
        return importlib.import_module(f"openenv.{name}")
    if name in ("AutoEnv", "AutoAction"):
        from openenv.errors import NotAvailableError

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
