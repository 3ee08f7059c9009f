from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from openenv.errors import UsageError
from openenv.server.settings import VARIABLES, ServerSettings, SettingError


def test_defaults_are_those_of_a_developers_machine() -> None:
    settings = ServerSettings()
    assert settings.token is None
    assert settings.host is None
    assert not settings.production
    assert settings.max_frame_bytes == 100 * 1024 * 1024
    assert settings.lease_s > 0


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ServerSettings().token = "x"  # type: ignore[misc]


def test_every_variable_names_a_setting() -> None:
    names = {field.name for field in dataclasses.fields(ServerSettings)}
    assert {name for name, _ in VARIABLES.values()} <= names


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("OPENENV_TOKEN", "s3cret", "token", "s3cret"),
        ("OPENENV_MODE", "Production", "mode", "production"),
        ("MAX_CONCURRENT_ENVS", "8", "max_sessions", 8),
        ("OPENENV_INSECURE", "yes", "insecure", True),
        ("OPENENV_ALLOWED_HOSTS", "a.example, b.example,", "allowed_hosts", ("a.example", "b.example")),
        ("OPENENV_LEASE_S", "1.5", "lease_s", 1.5),
        ("OPENENV_DEBUG", "0", "debug", False),
    ],
)
def test_variables_are_read(variable: str, text: str, name: str, value: Any) -> None:
    assert getattr(ServerSettings.from_environment({variable: text}), name) == value


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("OPENENV_TOKEN", ""),
        ("OPENENV_TOKEN", "with space"),
        ("OPENENV_MODE", "sandbox"),
        ("MAX_CONCURRENT_ENVS", "0"),
        ("MAX_CONCURRENT_ENVS", "many"),
        ("OPENENV_INSECURE", "maybe"),
        ("OPENENV_LEASE_S", "inf"),
        ("OPENENV_LEASE_S", "-1"),
        ("OPENENV_QUEUE_SIZE", "-1"),
        ("OPENENV_STEP_TIMEOUT_S", "0"),
        ("OPENENV_LOG_FORMAT", "xml"),
        ("OPENENV_LOG_LEVEL", "loud"),
    ],
)
def test_a_bad_value_names_its_variable(variable: str, text: str) -> None:
    with pytest.raises(UsageError, match=variable):
        ServerSettings.from_environment({variable: text})


def test_a_bad_token_is_not_repeated() -> None:
    with pytest.raises(SettingError) as caught:
        ServerSettings.from_environment({"OPENENV_TOKEN": "half a secret"})
    assert "half" not in str(caught.value)


def test_arguments_win_over_variables_and_none_means_absent() -> None:
    variables = {"OPENENV_MODE": "production", "OPENENV_TOKEN": "abc"}
    settings = ServerSettings.from_environment(variables, mode="simulation", token=None)
    assert settings.mode == "simulation"
    assert settings.token == "abc"


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENENV_TOKEN", "from-process")
    assert ServerSettings.from_environment().token == "from-process"


def test_a_setting_error_is_also_a_value_error() -> None:
    with pytest.raises(ValueError, match="mode"):
        ServerSettings(mode="bogus")


def test_replace_checks_again() -> None:
    assert ServerSettings().replace(lease_s=3.0).lease_s == 3.0
    with pytest.raises(SettingError, match="lease_s"):
        ServerSettings().replace(lease_s=0)
