"""Errors on the wire: a payload for every error, and the typed error for every payload.

`{"message", "code"}` are the published keys. Beside them travel the error's own facts (`errors`,
`active_sessions`, `factory_name` ...) and, for callers that mask or retry, `error` (class name),
`outcome`, `retryable`, `session_fate`, `episode` and `step`. A published server sends only the first
kind; the code then decides the class.
"""

from __future__ import annotations

from typing import Any

from openenv import errors
from openenv.errors import OpenEnvError
from openenv.protocol.jsonvalue import to_jsonable
from openenv.types import StepOutcome

_FACTS = ("retry_after", "timeout_s", "partial", "expected", "actual", "session_id", "reason")
_CONTEXT = ("episode", "step")
_OUTCOMES = frozenset(outcome.value for outcome in StepOutcome)


def _tree(root: type[OpenEnvError]) -> dict[str, type[OpenEnvError]]:
    found = {root.__name__: root}
    for cls in root.__subclasses__():
        if cls.__module__ == errors.__name__:
            found.update(_tree(cls))
    return found


_BY_NAME = _tree(OpenEnvError)
_BY_CODE: dict[str, type[OpenEnvError]] = {
    "INVALID_JSON": errors.ProtocolError,
    "INVALID_MSGPACK": errors.ProtocolError,
    "UNKNOWN_TYPE": errors.ProtocolError,
    "VALIDATION_ERROR": errors.InvalidActionError,
    "EXECUTION_ERROR": errors.EnvironmentFailedError,
    "CAPACITY_REACHED": errors.SessionCapacityError,
    "FACTORY_ERROR": errors.EnvironmentFactoryError,
    "SESSION_ERROR": errors.InfrastructureError,
    "SESSION_LOST": errors.SessionLost,
    "REPLY_GONE": errors.ReplyGoneError,
    "CANCELLED": errors.CallCancelledError,
}


def error_payload(error: OpenEnvError) -> dict[str, Any]:
    """The `data` of an error frame; always JSON-able."""
    payload: dict[str, Any] = {"message": error.message or type(error).__name__, "code": error.code}
    if isinstance(error, errors.InvalidActionError):
        payload["errors"] = error.errors
    payload.update(error.data)
    for name in _FACTS:
        if getattr(error, name, None) is not None and name not in payload:
            payload[name] = getattr(error, name)
    payload.update(
        error=_public_name(type(error)),
        outcome=error.outcome.value,
        retryable=error.retryable,
        session_fate=error.session_fate,
    )
    payload.update({name: getattr(error, name) for name in _CONTEXT if getattr(error, name) is not None})
    jsonable: dict[str, Any] = to_jsonable(payload)
    return jsonable


def _public_name(cls: type[OpenEnvError]) -> str:
    return next(base.__name__ for base in cls.__mro__ if base.__name__ in _BY_NAME)


def error_from_payload(data: Any) -> OpenEnvError:
    """The typed error that a server's error frame stands for.

    Args:
        data: the frame's `data`; anything a server may send is accepted.
    """
    if not isinstance(data, dict):
        data = {"message": str(data)}
    code = str(data.get("code", "EXECUTION_ERROR"))
    cls = _BY_NAME.get(str(data.get("error"))) or _BY_CODE.get(code, errors.EnvironmentFailedError)
    error = blank_error(cls)
    OpenEnvError.__init__(error, str(data.get("message", "")), episode=_text(data, "episode"))
    error.code = code
    error.data = dict(data)
    if str(data.get("outcome")) in _OUTCOMES:
        error.outcome = StepOutcome(str(data["outcome"]))
    error.retryable = bool(data.get("retryable", cls.retryable))
    error.session_fate = str(data.get("session_fate", cls.session_fate))
    step = data.get("step")
    error.step = step if type(step) is int else None
    for name, default in _own_facts(cls).items():
        setattr(error, name, data.get(name, default))
    if isinstance(error, errors.InvalidActionError):
        _name_the_field(error)
    return error


def _name_the_field(error: errors.InvalidActionError) -> None:
    """Say what is wrong where a published server says only that something is."""
    first = error.errors[0] if isinstance(error.errors, list) and error.errors else None
    if error.message == "Invalid message" and isinstance(first, dict) and "msg" in first:
        where = ".".join(map(str, first.get("loc") or ["message"]))
        error.message = f"Invalid message: {where}: {first['msg']}"
        error.args = (error.message,)


def blank_error(cls: type[OpenEnvError]) -> OpenEnvError:
    """An instance without its constructor's arguments, which need not be on the wire."""
    if issubclass(cls, OSError):  # its instances are laid out differently and insist on their own `__new__`
        error: OpenEnvError = OSError.__new__(cls)
        return error
    return cls.__new__(cls)


def _text(data: dict[str, Any], key: str) -> str | None:
    value = data.get(key)
    return value if isinstance(value, str) else None


def _own_facts(cls: type[OpenEnvError]) -> dict[str, Any]:
    """Attributes that the class's constructor would have set, with what they are if not sent."""
    if issubclass(cls, errors.InvalidActionError):
        return {"errors": []}
    if issubclass(cls, errors.OrderError):
        return {"expected": "", "actual": ""}
    if issubclass(cls, errors.StepTimeoutError):
        return {"timeout_s": None, "partial": None}
    if issubclass(cls, errors.SessionCapacityError):
        return {"active_sessions": 0, "max_sessions": 0, "retry_after": 1.0}
    if issubclass(cls, errors.SessionNotFoundError):
        return {"session_id": ""}
    if issubclass(cls, errors.SessionCreationError):
        return {"reason": ""}
    if issubclass(cls, errors.EnvironmentFactoryError):
        return {"factory_name": ""}
    if issubclass(cls, errors.MissingExtraError):
        return {"extra": ""}
    if issubclass(cls, errors.ConcurrencyConfigurationError):
        return {"environment_name": "", "max_concurrent_envs": 0}
    return {}
