"""The plain HTTP door: reset, step, state and close, on sessions that last from call to call.

Bodies are read by hand and not through the web framework's models: a step is validated once, by the
environment's own action model, where the environment lives, and its observation is written once, to bytes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from fastapi import Request, Response
from pydantic import BaseModel, ValidationError

from openenv.errors import OpenEnvError, OrderError
from openenv.protocol.jsonvalue import to_jsonable
from openenv.protocol.messages import ResetRequest, StepRequest
from openenv.protocol.plain import encode_json, encode_result
from openenv.server.http_errors import BodyError, error_response
from openenv.server.http_sessions import Caller, read_caller
from openenv.server.scope import client_of, headers_of, query_of
from openenv.session.handle import HostedSession, Prepare
from openenv.types import StepResult

if TYPE_CHECKING:
    from openenv.server.runtime import ServerRuntime

ModelT = TypeVar("ModelT", bound=BaseModel)
_DATA_BEGINS = len(b'{"type":"observation","data":')
_HEADER_TEXT = "!#$&'()*+,-./:;<=>?@[]^_`{|}~ "


class HttpDoor:
    """Endpoints of the simulation's controls.

    Args:
        runtime: the server.
    """

    def __init__(self, runtime: ServerRuntime) -> None:
        self._runtime = runtime

    async def reset(self, request: Request) -> Response:
        """Begin an episode."""
        return await self._serve(self._reset, request)

    async def step(self, request: Request) -> Response:
        """Take a step."""
        return await self._serve(self._step, request)

    async def state(self, request: Request) -> Response:
        """Tell the public state."""
        return await self._serve(self._state, request)

    async def close(self, request: Request) -> Response:
        """Close the session."""
        return await self._serve(self._close, request)

    async def _serve(self, endpoint: Any, request: Request) -> Response:
        runtime = self._runtime
        caller = caller_of(runtime, request)
        try:
            response: Response = await endpoint(request, caller)
        except BodyError as problem:
            response = problem.response()
        except OpenEnvError as error:
            response = error_response(runtime.presentable(error))
            if error.session is not None:
                response.headers["X-OpenEnv-Session"] = error.session
        runtime.metrics.sent.add(len(response.body), "http")
        return response

    async def _reset(self, request: Request, caller: Caller) -> Response:
        given = validate(ResetRequest, await self._body(request, default={}))
        options = dict(given.model_extra or {})
        timeout_s = options.get("timeout_s")
        arguments = {
            "seed": given.seed,
            "episode_id": given.episode_id,
            "options": options,
            "timeout_s": timeout_s if _is_deadline(timeout_s) else None,
        }
        sessions = self._runtime.http
        hosted = await sessions.find_or_open(caller)
        sessions.remember(hosted, caller)
        return self._session_response(hosted, *await self._run(hosted, "reset", arguments))

    async def _step(self, request: Request, caller: Caller) -> Response:
        given = validate(StepRequest, await self._body(request))
        extra = dict(given.model_extra or {})
        if given.request_id is not None:
            extra["request_id"] = given.request_id
        hosted = await self._running(caller)
        arguments = {"action": given.action, "timeout_s": given.timeout_s, "extra": extra}
        return self._session_response(hosted, *await self._run(hosted, "step", arguments))

    async def _running(self, caller: Caller) -> HostedSession:
        """The session of a step; an environment that may be stepped before a reset gets one here."""
        hosted = self._runtime.http.find(caller)
        if hosted is not None:
            return hosted
        if self._runtime.spec.requires_reset:
            raise OrderError("No session yet: POST /reset first", expected="POST /reset", actual="POST /step")
        return await self._runtime.http.open(caller)

    async def _state(self, request: Request, caller: Caller) -> Response:
        runtime = self._runtime
        hosted = runtime.http.find(caller)
        if hosted is not None:
            body = await call(runtime, hosted, lambda: ("state", {}), encode_json)
            return self._session_response(hosted, body, {})
        if runtime.spec.requires_reset:
            raise OrderError("No session yet: POST /reset first", expected="POST /reset", actual="GET /state")
        # As published: the state of an environment that nobody has reset. It is closed again.
        state = await runtime.consult("state", runtime.spec.read_state)
        return Response(encode_json(state), media_type="application/json")

    async def _close(self, request: Request, caller: Caller) -> Response:
        runtime = self._runtime
        hosted = runtime.http.find(caller)
        if hosted is None:
            raise OrderError("There is no session to close", expected="POST /reset", actual="POST /close")
        closed = await runtime.close_session(hosted.id)
        response = Response(
            encode_json({"session_id": hosted.id, "closed": closed}), media_type="application/json"
        )
        response.delete_cookie(runtime.http.cookie_name, httponly=True, samesite="strict")
        return response

    async def _body(self, request: Request, **default: Any) -> Any:
        raw = await request.body()
        self._runtime.metrics.received.add(len(raw), "http")
        return parse(raw, **default)

    async def _run(
        self, hosted: HostedSession, kind: Any, arguments: dict[str, Any]
    ) -> tuple[bytes, dict[str, str]]:
        def encode(result: StepResult[Any]) -> tuple[bytes, dict[str, str]]:
            return _result_body(result), _result_headers(result)

        answer: tuple[bytes, dict[str, str]] = await call(
            self._runtime, hosted, lambda: (kind, arguments), encode
        )
        return answer

    def _session_response(self, hosted: HostedSession, body: bytes, headers: dict[str, str]) -> Response:
        response = Response(
            body, media_type="application/json", headers={"X-OpenEnv-Session": hosted.id, **headers}
        )
        response.set_cookie(self._runtime.http.cookie_name, hosted.id, httponly=True, samesite="strict")
        return response


def caller_of(runtime: ServerRuntime, request: Request) -> Caller:
    """Who makes a request, and the session it names."""
    scope = request.scope
    return read_caller(headers_of(scope), query_of(scope), client_of(scope), runtime.http.cookie_name)


async def call(
    runtime: ServerRuntime, hosted: HostedSession, prepare: Prepare, encode: Callable[[Any], Any]
) -> Any:
    """Put a call to a session and encode its value where the environment lives.

    Raises:
        OpenEnvError: what the call raised.
    """
    future: Future[Any] = Future()

    def done(value: Any, error: OpenEnvError | None) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            if error is not None:
                raise error
            future.set_result(encode(value))
        except OpenEnvError as problem:
            future.set_exception(problem)
        # Boundary: encoding runs an author's serializers.
        except Exception as problem:
            future.set_exception(runtime.internal_error(problem))

    hosted.post(prepare, done)
    return await asyncio.wrap_future(future)


def parse(raw: bytes, **default: Any) -> Any:
    """Decode a body.

    Args:
        raw: the body.
        **default: `default`, what an empty body means.

    Raises:
        BodyError: it is not JSON, or empty without a default.
    """
    if not raw:
        if "default" in default:
            return default["default"]
        raise BodyError("missing", ["body"], "Field required", None)
    try:
        return json.loads(raw)
    except json.JSONDecodeError as problem:
        raise BodyError(
            "json_invalid", ["body", problem.pos], "JSON decode error", {}, {"error": problem.msg}
        ) from None
    except (ValueError, RecursionError) as problem:
        raise BodyError(
            "json_invalid", ["body", 0], "JSON decode error", {}, {"error": str(problem)}
        ) from None


def validate(model: type[ModelT], data: Any) -> ModelT:
    """Check a decoded body against a message model.

    Raises:
        BodyError: it does not fit.
    """
    if type(data) is not dict:
        text = "Input should be a valid dictionary or object to extract fields from"
        raise BodyError("model_attributes_type", ["body"], text, data)
    try:
        return model.model_validate(data)
    except ValidationError as problem:
        issues = problem.errors(include_url=False)
        raise BodyError.of([{**issue, "loc": ["body", *issue["loc"]]} for issue in issues]) from None


def _is_deadline(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _result_body(result: StepResult[Any]) -> bytes:
    """The published body: reward is a float, `metadata` is always there."""
    if result.reward is not None:
        result.reward = float(result.reward)
    body = encode_result(result)[_DATA_BEGINS:-1]
    return body if result.metadata else body[:-1] + b',"metadata":null}'


def _result_headers(result: StepResult[Any]) -> dict[str, str]:
    facts = {
        "X-OpenEnv-Outcome": result.outcome.value,
        "X-OpenEnv-Status": result.status.value,
        "X-OpenEnv-Seed": result.seed,
        "X-OpenEnv-Episode": result.episode_id,
        "X-OpenEnv-Step": result.step,
    }
    known = {name: value for name, value in facts.items() if value is not None}
    return {name: quote(str(to_jsonable(value)), safe=_HEADER_TEXT) for name, value in known.items()}
