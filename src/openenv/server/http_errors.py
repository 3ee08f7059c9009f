"""Errors as HTTP answers: a status for every class, `detail` as published, and the typed facts beside it."""

from __future__ import annotations

import math
from typing import Any, Self

from fastapi import Response

from openenv import errors
from openenv.errors import OpenEnvError
from openenv.protocol.plain import encode_json
from openenv.protocol.wire_errors import error_payload
from openenv.server.excerpts import issues_excerpt
from openenv.types import StepOutcome

_STATUS: tuple[tuple[type[OpenEnvError], int], ...] = (
    (errors.InvalidActionError, 422),
    (errors.OrderError, 409),
    (errors.StepTimeoutError, 504),
    (errors.SessionCapacityError, 503),
    (errors.SessionNotFoundError, 404),
    (errors.SessionLost, 410),
    (errors.SessionCreationError, 503),
    (errors.AuthenticationError, 401),
    (errors.ProtocolError, 400),
    (errors.UsageError, 400),
)


class BodyError(Exception):
    """A body that is not what the route takes.

    Attributes:
        issues: one entry per problem, as the web framework lists them.
    """

    def __init__(
        self, kind: str, loc: list[Any], message: str, value: Any, context: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        issue = {"type": kind, "loc": loc, "msg": message, "input": value}
        self.issues: list[dict[str, Any]] = [issue if context is None else {**issue, "ctx": context}]

    @classmethod
    def of(cls, issues: list[dict[str, Any]]) -> Self:
        """Build from a list of problems."""
        error = cls("", [], str(issues[0]["msg"]), None)
        error.issues = issues
        return error

    def response(self) -> Response:
        """The answer: 422 with the list as `detail`."""
        return _json(
            422,
            {"detail": issues_excerpt(self.issues)},
            {"X-OpenEnv-Outcome": StepOutcome.INVALID_ACTION.value},
        )


def status_of(error: OpenEnvError) -> int:
    """The HTTP status of an error."""
    return next((status for cls, status in _STATUS if isinstance(error, cls)), 500)


def error_response(error: OpenEnvError) -> Response:
    """The answer for an error."""
    payload = error_payload(error)
    message = payload.pop("message")
    detail = payload.pop("errors", None) or message
    headers = {"X-OpenEnv-Outcome": error.outcome.value}
    if isinstance(error, errors.SessionCapacityError):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return _json(status_of(error), {"detail": detail, "message": message, **payload}, headers)


def _json(status: int, content: Any, headers: dict[str, str]) -> Response:
    return Response(encode_json(content), status, headers, "application/json")
