"""What a server may be told: one frozen value, from keyword arguments and environment variables.

Every setting has a default that is safe on a developer's machine. Environment variables are read by
`ServerSettings.from_environment` only, so that an application built twice in one process is built the
same way twice; a variable with a bad value raises `SettingError`, which names it.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from openenv.errors import UsageError

SIMULATION = "simulation"
PRODUCTION = "production"
MODES = (SIMULATION, PRODUCTION)
LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
MIB = 1024 * 1024
_POSITIVE = (
    "max_body_bytes",
    "max_frame_bytes",
    "max_sessions",
    "queue_timeout_s",
    "lease_s",
    "step_timeout_s",
    "head_timeout_s",
)


class SettingError(UsageError, ValueError):
    """A setting with a value that makes no sense; the message names the setting or the variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Settings of one server.

    Attributes:
        host: address the server binds, if we bind it; None when somebody else does (plain uvicorn,
            `TestClient`), in which case nothing is known about the names it is reached by.
        token: bearer token that every request must carry; None asks for none.
        insecure: serve beyond this machine without a token.
        allowed_hosts: names, beside those that follow from `host`, that a `Host` header may hold;
            ``*`` allows any, ``*.example.org`` a domain's subdomains.
        allowed_origins: origins of web pages that may use the server, like ``https://lab.example.org``.
        max_body_bytes: largest HTTP request body.
        max_frame_bytes: largest WebSocket message.
        max_sessions: environments alive at once; None asks the environment: 1 unless it is concurrent.
        queue_size: callers that may wait for a free session.
        queue_timeout_s: how long each of them waits, in seconds.
        lease_s: seconds without a call after which a session that no socket holds is closed.
        step_timeout_s: deadline of calls that name none and whose environment names none, in seconds.
        drain_s: how long running calls may finish when the server stops, in seconds.
        head_timeout_s: how long a client may take for the head of a request, in seconds.
        ready_cache_s: how long one answer of ``/ready`` stands, in seconds.
        mode: ``simulation`` or ``production`` (tools only: no reset, step or state on any door).
        log_format: ``text`` for people, ``json`` for machines.
        log_level: least level that is logged.
        debug: send tracebacks of the environment's errors to clients.
    """

    host: str | None = None
    token: str | None = None
    insecure: bool = False
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    max_body_bytes: int = 100 * MIB
    max_frame_bytes: int = 100 * MIB
    max_sessions: int | None = None
    queue_size: int = 64
    queue_timeout_s: float = 5.0
    lease_s: float = 600.0
    step_timeout_s: float | None = None
    drain_s: float = 10.0
    head_timeout_s: float = 10.0
    ready_cache_s: float = 5.0
    mode: str = SIMULATION
    log_format: str = "text"
    log_level: str = "info"
    debug: bool = False

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            _require(getattr(self, name), name, lambda value: value is None or value > 0, "greater than 0")
        for name in ("queue_size", "drain_s", "ready_cache_s"):
            _require(getattr(self, name), name, lambda value: value >= 0, "0 or more")
        _require(self.mode, "mode", MODES.__contains__, " or ".join(MODES))
        _require(self.log_format, "log_format", LOG_FORMATS.__contains__, " or ".join(LOG_FORMATS))
        _require(self.log_level, "log_level", LOG_LEVELS.__contains__, ", ".join(LOG_LEVELS))
        if self.token is not None:
            _require_token(self.token)

    @property
    def production(self) -> bool:
        """Whether every simulation control is absent."""
        return self.mode == PRODUCTION

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some settings changed.

        Raises:
            SettingError: a changed setting makes no sense.
        """
        return dataclasses.replace(self, **changes)

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] | None = None, **settings: Any) -> Self:
        """Build settings from environment variables; keyword arguments that are not None win.

        Args:
            variables: the environment; None reads the process's own.
            settings: settings by name.

        Raises:
            SettingError: a variable or an argument has a value that makes no sense.
        """
        variables = os.environ if variables is None else variables
        given = {name: value for name, value in settings.items() if value is not None}
        found = {}
        for variable, (name, parse) in VARIABLES.items():
            text = variables.get(variable)
            if text is not None and name not in given:
                found[name] = _from_variable(cls, variable, name, text, parse)
        return cls(**found, **given)


def _flag(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False}
    return known[text.strip().lower()]


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _word(text: str) -> str:
    return text.strip().lower()


def _seconds(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


VARIABLES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "OPENENV_TOKEN": ("token", str),
    "OPENENV_MODE": ("mode", _word),
    "MAX_CONCURRENT_ENVS": ("max_sessions", int),
    "OPENENV_INSECURE": ("insecure", _flag),
    "OPENENV_ALLOWED_HOSTS": ("allowed_hosts", _names),
    "OPENENV_ALLOWED_ORIGINS": ("allowed_origins", _names),
    "OPENENV_MAX_BODY_BYTES": ("max_body_bytes", int),
    "OPENENV_MAX_FRAME_BYTES": ("max_frame_bytes", int),
    "OPENENV_QUEUE_SIZE": ("queue_size", int),
    "OPENENV_QUEUE_TIMEOUT_S": ("queue_timeout_s", _seconds),
    "OPENENV_LEASE_S": ("lease_s", _seconds),
    "OPENENV_STEP_TIMEOUT_S": ("step_timeout_s", _seconds),
    "OPENENV_DRAIN_S": ("drain_s", _seconds),
    "OPENENV_HEAD_TIMEOUT_S": ("head_timeout_s", _seconds),
    "OPENENV_LOG_FORMAT": ("log_format", _word),
    "OPENENV_LOG_LEVEL": ("log_level", _word),
    "OPENENV_DEBUG": ("debug", _flag),
}
"""Environment variable -> setting and the function that reads its text."""


def _from_variable(
    cls: type[ServerSettings], variable: str, name: str, text: str, parse: Callable[[str], Any]
) -> Any:
    shown = "" if name == "token" else f"={text!r}"
    try:
        value = parse(text)
    except (ValueError, KeyError):
        raise SettingError(f"The environment variable {variable}{shown} is not a valid {name}.") from None
    try:
        cls(**{name: value})
    except SettingError as problem:
        raise SettingError(f"The environment variable {variable}{shown} is not usable: {problem}") from None
    return value


def _require(value: Any, name: str, test: Callable[[Any], bool], expected: str) -> None:
    if not test(value):
        raise SettingError(f"Invalid {name}: {value!r}. It must be {expected}.")


def _require_token(token: str) -> None:
    if not token:
        raise SettingError("The token is empty. Give it a value, or leave it out to ask for no token.")
    if not all("!" <= char <= "~" for char in token):
        raise SettingError("The token must be visible ASCII characters without spaces.")
