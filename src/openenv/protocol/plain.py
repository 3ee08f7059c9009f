"""The JSON codec of the WebSocket protocols, plain and `openenv.2.json`: bytes in, bytes out, no I/O.

A request is decoded by msgspec in one pass. Whatever that refuses (broken JSON, an unknown or missing
type, stray keys, NaN) goes through a slow path that names the problem as a typed error. An observation
is written once, by its model's own serializer, and spliced into the envelope; models with JSON-only
serializers and values that JSON lacks take a slower path with the same result (`jsonvalue`).

On the plain protocol a frame holds exactly the published keys. On `openenv.2.json` a request may add
`id` and `timeout_s`, and a reply echoes `id` and adds `result`: outcome, status, reason, components,
seed, episode_id and step.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import msgspec
from pydantic import BaseModel

from openenv.errors import InvalidActionError, OpenEnvError, ProtocolError
from openenv.protocol.jsonvalue import to_jsonable
from openenv.protocol.wire_errors import error_payload
from openenv.types import EpisodeStatus, StepOutcome, StepResult

SUBPROTOCOL = "openenv.2.json"
"""Name under which the JSON form of the extended protocol is negotiated."""

REQUEST_TYPES = frozenset({"reset", "step", "state", "mcp", "close"})
_BESIDE = {"reward", "done"}
_PYDANTIC_URL = "https://errors.pydantic.dev/2/v/"


class Request(msgspec.Struct):
    """One message of a client.

    Attributes:
        type: `reset`, `step`, `state`, `mcp` or `close`.
        data: its payload: options of reset, fields of the action, or a JSON-RPC request.
        id: number that the reply echoes (extended protocol only).
        timeout_s: deadline of the call in seconds (extended protocol only).
    """

    type: str
    data: dict[str, Any] = {}
    id: int | None = None
    timeout_s: float | None = None


class Reply(msgspec.Struct):
    """One message of a server, as a client reads it.

    Attributes:
        type: `observation`, `state`, `mcp` or `error`.
        data: its payload.
        id: id of the request it answers (extended protocol only).
        result: what became of the step (extended protocol only).
        session: the session it is about, where the request named one (extended protocol only).
    """

    type: str = ""
    data: Any = None
    id: int | None = None
    result: dict[str, Any] | None = None
    session: str | None = None


class _PlainRequest(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    data: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class _ExtendedRequest(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    data: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    id: int | None = None
    timeout_s: float | None = None


_WITH_DATA = frozenset({"step", "mcp"})
"""Messages that say nothing without their payload."""
_decode_extended = msgspec.json.Decoder(_ExtendedRequest).decode
_decode_plain = msgspec.json.Decoder(_PlainRequest).decode
_decode_reply = msgspec.json.Decoder(Reply).decode
_encode = msgspec.json.Encoder().encode


def decode_request(
    raw: bytes | str, *, extended: bool = False, offered: frozenset[str] = REQUEST_TYPES
) -> Request:
    """Decode one text frame.

    Args:
        raw: the frame's payload.
        extended: whether `id` and `timeout_s` are allowed.
        offered: the types that an unknown one is told of; a server may offer fewer.

    Raises:
        ProtocolError: not JSON (`INVALID_JSON`) or not a known message (`UNKNOWN_TYPE`).
        InvalidActionError: a known message of a wrong shape (`VALIDATION_ERROR`, with `errors`).
    """
    try:
        if extended:
            message = _decode_extended(raw)
            request = _usable(message.type, message.data)
            if request is not None and (message.timeout_s is None or message.timeout_s > 0):
                request.id, request.timeout_s = message.id, message.timeout_s
                return request
        else:
            plain = _decode_plain(raw)
            request = _usable(plain.type, plain.data)
            if request is not None:
                return request
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # the slow path below finds out what is wrong with it, if anything
    return _decode_slowly(raw, extended, offered)


def _usable(kind: str, data: dict[str, Any] | msgspec.UnsetType) -> Request | None:
    if kind not in REQUEST_TYPES:
        return None
    if data is msgspec.UNSET:
        return None if kind in _WITH_DATA else Request(kind, {})
    return Request(kind, data)


def _decode_slowly(raw: bytes | str, extended: bool, offered: frozenset[str]) -> Request:
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError) as problem:
        raise protocol_error("INVALID_JSON", f"Invalid JSON: {problem}") from None
    if not isinstance(message, dict):
        raise invalid_message([issue("dict_type", [], "a message is a JSON object", message)])
    kind = message.get("type", "")
    request_id = message.get("id") if extended else None
    if not isinstance(kind, str) or kind not in REQUEST_TYPES:
        known = ", ".join(sorted(offered))
        error: OpenEnvError = protocol_error(
            "UNKNOWN_TYPE", f"Unknown message type: {kind!s:.80} (one of {known})"
        )
    else:
        issues = list(_envelope_issues(message, extended))
        if not issues:
            return Request(kind, message.get("data", {}), message.get("id"), message.get("timeout_s"))
        error = invalid_message(issues)
    if type(request_id) is int:
        error.data["request_id"] = request_id
    raise error


def _envelope_issues(message: dict[str, Any], extended: bool) -> list[dict[str, Any]]:
    issues = []
    if "data" not in message and message["type"] in _WITH_DATA:
        issues.append(issue("missing", ["data"], "Field required", message))
    elif not isinstance(message.get("data", {}), dict):
        issues.append(issue("dict_type", ["data"], "Input should be a valid dictionary", message["data"]))
    allowed = {"type", "data", "id", "timeout_s"} if extended else {"type", "data"}
    issues += [
        issue("extra_forbidden", [key], "Extra inputs are not permitted", message[key])
        for key in message
        if key not in allowed
    ]
    if extended:
        request_id, timeout_s = message.get("id"), message.get("timeout_s")
        if request_id is not None and type(request_id) is not int:
            issues.append(issue("int_type", ["id"], "Input should be a valid integer", request_id))
        if timeout_s is not None and (
            isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not timeout_s > 0
        ):
            issues.append(
                issue("greater_than", ["timeout_s"], "Input should be a number greater than 0", timeout_s)
            )
    return issues


def issue(kind: str, loc: list[str], msg: str, value: Any) -> dict[str, Any]:
    """One entry of a validation error: what is wrong with which field."""
    return {"type": kind, "loc": loc, "msg": msg, "input": to_jsonable(value), "url": _PYDANTIC_URL + kind}


def invalid_message(issues: list[dict[str, Any]]) -> InvalidActionError:
    """The error for a message whose fields have the wrong form."""
    first = issues[0]
    where = ".".join(first["loc"]) or "message"
    return InvalidActionError(f"Invalid message: {where}: {first['msg']}", errors=issues)


def protocol_error(code: str, message: str) -> ProtocolError:
    """The error for what is no message at all, with its code."""
    error = ProtocolError(message)
    error.code = code
    return error


def encode_result(result: StepResult[Any], request: Request | None = None) -> bytes:
    """Encode the reply to `reset` or `step`.

    Args:
        result: what the session returned; its observation is a model or a dict.
        request: the request it answers; one with an `id` gets the extended form.
    """
    reward = result.reward
    parts = [
        b'{"type":"observation","data":{"observation":',
        _observation(result.observation),
        b',"reward":',
        b"null" if reward is None else _number(reward),
        b',"done":true' if result.done else b',"done":false',
    ]
    if result.metadata:
        parts += (b',"metadata":', encode_json(result.metadata))
    if request is None or request.id is None:
        parts.append(b"}}")
    else:
        parts += (b'},"id":%d,"result":' % request.id, _encode(result_facts(result)), b"}")
    return b"".join(parts)


def encode_state(state: Any, request: Request | None = None) -> bytes:
    """Encode the reply to `state`: a model, a dataclass or a dict."""
    body = _model(state) if isinstance(state, BaseModel) else encode_json(state)
    return _envelope(b"state", body, request)


def encode_mcp(response: dict[str, Any], request: Request | None = None) -> bytes:
    """Encode the reply to `mcp`: a JSON-RPC response."""
    return _envelope(b"mcp", encode_json(response), request)


def encode_error(error: OpenEnvError, request: Request | None = None) -> bytes:
    """Encode an error reply. Works for every error, whatever it carries.

    Without a request, the id is the one that `decode_request` could read from a broken message.
    """
    if request is None and "request_id" in error.data:
        request = Request("", id=error.data["request_id"])
    return _envelope(b"error", encode_json(error_payload(error)), request)


def _envelope(kind: bytes, body: bytes, request: Request | None) -> bytes:
    tail = b"}" if request is None or request.id is None else b',"id":%d}' % request.id
    return b'{"type":"%s","data":%s%s' % (kind, body, tail)


def result_facts(result: StepResult[Any]) -> dict[str, Any]:
    """What the extended protocol says about a step beside its observation."""
    return {
        "outcome": result.outcome.value,
        "status": result.status.value,
        "reason": result.reason,
        "components": result.components,
        "seed": result.seed,
        "episode_id": result.episode_id,
        "step": result.step,
    }


def result_payload(result: StepResult[Any]) -> dict[str, Any]:
    """The reply to `reset` or `step` as JSON-able data: observation, reward, done[, metadata]."""
    payload: dict[str, Any] = msgspec.json.decode(encode_result(result))["data"]
    return payload


def decode_reply(raw: bytes | str) -> Reply:
    """Decode a server's frame.

    Raises:
        ProtocolError: it is not a JSON object with a text `type`.
    """
    try:
        return _decode_reply(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass  # published servers may write NaN, which msgspec refuses and the standard library reads
    try:
        message = json.loads(raw)
        return msgspec.convert(message, Reply)
    except (ValueError, TypeError, RecursionError, msgspec.ValidationError) as problem:
        raise protocol_error("INVALID_JSON", f"The server's reply is not a message: {problem}") from None


def result_from_reply(reply: Reply, observation: Any) -> StepResult[Any]:
    """Build the caller's result from an observation reply.

    Args:
        reply: a reply of type `observation`.
        observation: its observation, parsed or not.
    """
    data = reply.data
    facts = reply.result or {}
    done = bool(data.get("done", False))
    status = EpisodeStatus(facts["status"]) if "status" in facts else None
    return StepResult(
        observation=observation,
        reward=data.get("reward"),
        done=done,
        metadata=data.get("metadata"),
        outcome=StepOutcome(facts.get("outcome", "ok")),
        status=status or (EpisodeStatus.TERMINATED if done else EpisodeStatus.RUNNING),
        reason=facts.get("reason"),
        components=facts.get("components") or {},
        seed=facts.get("seed"),
        episode_id=facts.get("episode_id"),
        step=facts.get("step"),
    )


def encode_json(value: Any) -> bytes:
    """Encode any value as JSON, by the table of `openenv.protocol.jsonvalue`."""
    plain = to_jsonable(value)
    try:
        return _encode(plain)
    except (OverflowError, msgspec.EncodeError, RecursionError):
        return _json_slowly(plain)


def _json_slowly(value: Any) -> bytes:
    # The standard library writes integers of any size, which msgspec does not.
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()


def _number(reward: Any) -> bytes:
    if reward is True or reward is False:
        return b"true" if reward else b"false"
    return _encode(reward) if type(reward) is float else encode_json(reward)


def _observation(observation: Any) -> bytes:
    if isinstance(observation, BaseModel):
        return _model(observation, _BESIDE)
    if isinstance(observation, dict):
        return encode_json({k: v for k, v in observation.items() if k not in _BESIDE})
    return encode_json(observation)


def _model(model: BaseModel, exclude: set[str] | None = None) -> bytes:
    cls = type(model)
    try:
        if _writes_itself(cls):
            body = cls.__pydantic_serializer__.to_json(model, exclude=exclude, fallback=to_jsonable)
        else:
            body = encode_json(model.model_dump(exclude=exclude, warnings=False))
    # Boundary: field serializers are an author's code and may raise anything; the step has run and
    # its observation must be sent.
    except Exception:
        fields = to_jsonable(model)
        return encode_json({k: v for k, v in fields.items() if not exclude or k not in exclude})
    return bytes(body)


@lru_cache(maxsize=4096)
def _writes_itself(cls: type[BaseModel]) -> bool:
    """Whether the model's JSON serializer gives what its Python dump, encoded, would give.

    Published servers dump first and encode after, so serializers that act on JSON only have no effect
    on their wire.
    """
    if any(key.startswith("ser_json") for key in cls.model_config):
        return False
    return not _has_json_only(cls.__pydantic_core_schema__)


def _has_json_only(node: Any) -> bool:
    stack, seen = [node], set()
    while stack:
        item = stack.pop()
        if not isinstance(item, dict | list | tuple) or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, dict):
            if item.get("when_used") in ("json", "json-unless-none"):
                return True
            if any(key.startswith("ser_json") for key in item if isinstance(key, str)):
                return True
            stack.extend(item.values())
        else:
            stack.extend(item)
    return False
