"""The names that users import: adding or removing one is a decision, so it shows up here."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import openenv

SURFACE = """
Action ActionError AsyncEnv AsyncPool AuthenticationError ConcurrencyConfigurationError DefinitionError Env
EnvClient Environment EnvironmentFactoryError EnvironmentFailedError EpisodeStatus GenericAction
GenericEnvClient InfrastructureError InvalidActionError LaunchError MCPToolClient Observation OpenEnvError
OrderError Outcome Pool PoolBusyError ProtocolError Rubric ServerUnreachableError SessionCapacityError
SessionCreationError SessionLost SessionNotFoundError State StepOutcome StepResult StepTimeoutError
SyncEnvClient TargetError Task TaskNotFoundError TaskSet ToolCallError UsageError __version__ action cli
connect connect_pool core hidden make make_pool tool
""".split()


def test_the_surface_is_what_is_written_here() -> None:
    assert sorted(openenv.__all__) == sorted(SURFACE)
    assert dir(openenv) == sorted(SURFACE)


@pytest.mark.parametrize("name", SURFACE)
def test_every_name_resolves_and_says_what_it_is(name: str) -> None:
    value = getattr(openenv, name)
    assert name == "__version__" or value.__doc__


@pytest.mark.parametrize("name", ["AutoEnv", "AutoAction"])
def test_what_is_not_there_yet_says_so(name: str) -> None:
    with pytest.raises(ImportError, match="not there yet"):
        getattr(openenv, name)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        openenv.nonsense  # type: ignore[attr-defined]  # noqa: B018


ROOMS = [
    module.name
    for module in pkgutil.iter_modules(openenv.__path__, "openenv.")
    if module.ispkg and module.name not in ("openenv.core", "openenv.cli", "openenv.integrations")
]


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_a_room_offers_is_there(room: str) -> None:
    module = importlib.import_module(room)
    for name in getattr(module, "__all__", ()):
        assert getattr(module, name) is not None
