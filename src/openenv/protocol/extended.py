"""The codecs of the extended protocol: the same messages in MessagePack and in JSON.

A message is a map with `type` and, where they apply, `id`, `session`, `timeout_s`, `data` and `result`. A
*body* is an encoded reply without `id` and `session`: it is made once, where the environment lives, kept for
a request that comes twice, and becomes a frame (`Codec.frame`) or one result among others (`Codec.batch`)
by adding a few bytes at its end.

Requests are decoded by msgspec in one pass; whatever that refuses is looked at again by a slow path that
names the field.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel

from openenv.errors import OpenEnvError, ProtocolError
from openenv.protocol.handshake import EXTENDED_SUBPROTOCOL, MSGPACK_SUBPROTOCOL
from openenv.protocol.jsonvalue import to_jsonable
from openenv.protocol.packing import pack, pack_plain, to_packable, unpack_extension
from openenv.protocol.plain import (
    Reply,
    decode_reply,
    encode_error,
    encode_json,
    encode_mcp,
    encode_result,
    encode_state,
    invalid_message,
    issue,
    protocol_error,
    result_facts,
)
from openenv.protocol.wire_errors import error_payload
from openenv.types import StepResult

MAX_ID = 2**63 - 1
"""Largest id of a request."""
_BESIDE = {"reward", "done"}
_BRACE = ord("{")
"""How a body in JSON begins, and none in MessagePack, where it is a small map."""


class ExtendedRequest(msgspec.Struct):
    """One message of a client.

    Attributes:
        type: what is asked.
        data: its payload, None if it has none.
        id: number that the reply echoes.
        session: the session it is for; the connection's own if absent.
        timeout_s: deadline of the call in seconds.
        arrays: whether the payload holds arrays.
    """

    type: str
    data: dict[str, Any] | None = None
    id: Annotated[int, msgspec.Meta(ge=0, le=MAX_ID)] | None = None
    session: str | None = None
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    arrays: bool = False


class Codec(ABC):
    """How messages become frames.

    Attributes:
        subprotocol: the name under which it is negotiated.
        binary: whether its frames are binary.
    """

    subprotocol: str
    binary: bool

    @abstractmethod
    def decode(self, raw: bytes) -> ExtendedRequest:
        """Decode a request.

        Raises:
            ProtocolError: it is no message at all.
            InvalidActionError: a field has the wrong form (`errors` says which). Where the id could be
                read, it is in the error's `data` as `request_id`.
        """

    @abstractmethod
    def decode_reply(self, raw: bytes) -> Reply:
        """Decode a reply or a notification.

        Raises:
            ProtocolError: it is none.
        """

    @abstractmethod
    def body(self, kind: str, data: Any) -> bytes:
        """Encode a body of any type."""

    @abstractmethod
    def result(self, result: StepResult[Any]) -> bytes:
        """Encode the body that answers `reset` and `step`."""

    @abstractmethod
    def state(self, state: Any) -> bytes:
        """Encode the body that answers `state`: a model, a dataclass or a dict."""

    def mcp(self, response: dict[str, Any]) -> bytes:
        """Encode the body that answers `mcp`."""
        return self.body("mcp", response)

    def error(self, error: OpenEnvError) -> bytes:
        """Encode the body of an error."""
        return self.body("error", error_payload(error))

    @abstractmethod
    def frame(self, body: bytes, id: int | None = None, session: str | None = None) -> bytes:
        """A body with its address, ready to send."""

    @abstractmethod
    def batch(self, bodies: Sequence[bytes], id: int | None) -> bytes:
        """The frame that answers a batch: one body for each call."""

    @abstractmethod
    def request(
        self,
        kind: str,
        data: Any = None,
        *,
        id: int | None = None,
        session: str | None = None,
        timeout_s: float | None = None,
    ) -> bytes:
        """Encode a request."""

    @abstractmethod
    def translated(self, body: bytes) -> bytes:
        """A body of either codec as one of this."""

    @abstractmethod
    def values(self, body: bytes) -> dict[str, Any]:
        """A body, decoded."""


class JsonCodec(Codec):
    """`openenv.2.json`: text frames."""

    subprotocol = EXTENDED_SUBPROTOCOL
    binary = False

    def decode(self, raw: bytes) -> ExtendedRequest:
        """Decode a request."""
        try:
            request = _decode_json(raw)
            request.arrays = False
            return request
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # the slow path below finds out what is wrong with it, if anything
        try:
            message = json.loads(raw)
        except (ValueError, RecursionError) as problem:
            raise protocol_error("INVALID_JSON", f"Invalid JSON: {problem}") from None
        return request_of(message)

    def decode_reply(self, raw: bytes) -> Reply:
        """Decode a reply or a notification."""
        return decode_reply(raw)

    def body(self, kind: str, data: Any) -> bytes:
        """Encode a body of any type."""
        return b'{"type":"%s","data":%s}' % (kind.encode(), encode_json(data))

    def result(self, result: StepResult[Any]) -> bytes:
        """Encode the body that answers `reset` and `step`."""
        return b'%s,"result":%s}' % (encode_result(result)[:-1], _encode_json(result_facts(result)))

    def state(self, state: Any) -> bytes:
        """Encode the body that answers `state`."""
        return encode_state(state)

    def mcp(self, response: dict[str, Any]) -> bytes:
        """Encode the body that answers `mcp`."""
        return encode_mcp(response)

    def error(self, error: OpenEnvError) -> bytes:
        """Encode the body of an error."""
        return encode_error(error)

    def frame(self, body: bytes, id: int | None = None, session: str | None = None) -> bytes:
        """A body with its address, ready to send."""
        if session is not None:
            if id is None:
                return b'%s,"session":%s}' % (body[:-1], _encode_json(session))
            return b'%s,"id":%d,"session":%s}' % (body[:-1], id, _encode_json(session))
        return body if id is None else b'%s,"id":%d}' % (body[:-1], id)

    def batch(self, bodies: Sequence[bytes], id: int | None) -> bytes:
        """The frame that answers a batch."""
        return self.frame(b'{"type":"batch","data":{"results":[%s]}}' % b",".join(bodies), id)

    def request(
        self,
        kind: str,
        data: Any = None,
        *,
        id: int | None = None,
        session: str | None = None,
        timeout_s: float | None = None,
    ) -> bytes:
        """Encode a request."""
        return encode_json(_message(kind, data, id, session, timeout_s))

    def translated(self, body: bytes) -> bytes:
        """A body of either codec as one of this."""
        return body if body[0] == _BRACE else encode_json(MsgpackCodec().values(body))

    def values(self, body: bytes) -> dict[str, Any]:
        """A body, decoded."""
        message: dict[str, Any] = json.loads(body)
        return message


class MsgpackCodec(Codec):
    """`openenv.2.msgpack`: binary frames. Not shared between threads that decode."""

    subprotocol = MSGPACK_SUBPROTOCOL
    binary = True

    def __init__(self) -> None:
        self._arrays = False
        self._decode = msgspec.msgpack.Decoder(ExtendedRequest, ext_hook=self._extension).decode
        self._decode_any = msgspec.msgpack.Decoder(ext_hook=self._extension).decode

    def _extension(self, code: int, data: memoryview) -> Any:
        self._arrays = True
        return unpack_extension(code, data)

    def decode(self, raw: bytes) -> ExtendedRequest:
        """Decode a request."""
        self._arrays = False
        try:
            request = self._decode(raw)
        except msgspec.ValidationError:
            request = request_of(self._decoded(raw))
        except _BROKEN as problem:
            raise _unreadable(problem) from None
        request.arrays = self._arrays
        return request

    def _decoded(self, raw: bytes) -> Any:
        try:
            return self._decode_any(raw)
        except _BROKEN as problem:
            raise _unreadable(problem) from None

    def decode_reply(self, raw: bytes) -> Reply:
        """Decode a reply or a notification."""
        message = self._decoded(raw)
        try:
            return msgspec.convert(message, Reply)
        except (msgspec.ValidationError, TypeError) as problem:
            raise _unreadable(problem) from None

    def body(self, kind: str, data: Any) -> bytes:
        """Encode a body of any type."""
        return pack({"type": kind, "data": data})

    def result(self, result: StepResult[Any]) -> bytes:
        """Encode the body that answers `reset` and `step`."""
        observation = result.observation
        if isinstance(observation, BaseModel):
            observation = _fields(observation, _BESIDE)
        elif isinstance(observation, dict):
            observation = to_packable({k: v for k, v in observation.items() if k not in _BESIDE})
        reward = result.reward
        data = {
            "observation": observation,
            "reward": reward if reward is None or type(reward) is float else to_packable(reward),
            "done": result.done,
        }
        if result.metadata:
            data["metadata"] = to_packable(result.metadata)
        facts = {
            "outcome": result.outcome._value_,  # `.value` is a Python-level descriptor, four times as slow
            "status": result.status._value_,
            "reason": result.reason,
            "components": result.components and to_packable(result.components),
            "seed": result.seed,
            "episode_id": result.episode_id,
            "step": result.step,
        }
        return pack_plain({"type": "observation", "data": data, "result": facts})

    def state(self, state: Any) -> bytes:
        """Encode the body that answers `state`."""
        data = _fields(state) if isinstance(state, BaseModel) else state
        return self.body("state", data)

    def frame(self, body: bytes, id: int | None = None, session: str | None = None) -> bytes:
        """A body with its address, ready to send."""
        count, tail = body[0], b""
        if id is not None:
            count, tail = count + 1, _ID + _encode_msgpack(id)
        if session is not None:
            count, tail = count + 1, tail + _SESSION + _encode_msgpack(session)
        return b"%c%b%b" % (count, body[1:], tail)

    def batch(self, bodies: Sequence[bytes], id: int | None) -> bytes:
        """The frame that answers a batch."""
        return self.frame(b"".join((_BATCH, _array_head(len(bodies)), *bodies)), id)

    def request(
        self,
        kind: str,
        data: Any = None,
        *,
        id: int | None = None,
        session: str | None = None,
        timeout_s: float | None = None,
    ) -> bytes:
        """Encode a request."""
        return pack(_message(kind, data, id, session, timeout_s))

    def translated(self, body: bytes) -> bytes:
        """A body of either codec as one of this."""
        return pack(json.loads(body)) if body[0] == _BRACE else body

    def values(self, body: bytes) -> dict[str, Any]:
        """A body, decoded."""
        message: dict[str, Any] = self._decode_any(body)
        return message


_BROKEN = (msgspec.DecodeError, ValueError, TypeError, RecursionError, OverflowError, ProtocolError)
_decode_json = msgspec.json.Decoder(ExtendedRequest).decode
_encode_json = msgspec.json.Encoder().encode
_encode_msgpack = msgspec.msgpack.Encoder().encode
_ID, _SESSION = _encode_msgpack("id"), _encode_msgpack("session")
_BATCH = _encode_msgpack({"type": "batch", "data": {"results": []}})[:-1]


def _array_head(length: int) -> bytes:
    if length < 16:
        return bytes((0x90 | length,))
    if length < 0x10000:
        return b"\xdc" + length.to_bytes(2, "big")
    return b"\xdd" + length.to_bytes(4, "big")


def codec_of(subprotocol: str | None) -> Codec | None:
    """The codec of a negotiated subprotocol; None for plain."""
    if subprotocol == MSGPACK_SUBPROTOCOL:
        return MsgpackCodec()
    return JsonCodec() if subprotocol == EXTENDED_SUBPROTOCOL else None


def _message(
    kind: str, data: Any, id: int | None, session: str | None, timeout_s: float | None
) -> dict[str, Any]:
    fields = {"type": kind, "id": id, "session": session, "timeout_s": timeout_s, "data": data}
    return {name: value for name, value in fields.items() if value is not None}


def _unreadable(problem: BaseException) -> ProtocolError:
    if isinstance(problem, ProtocolError):
        text = problem.message
    else:
        text = str(problem) or type(problem).__name__
    return protocol_error("INVALID_MSGPACK", f"Not a MessagePack message: {text:.200}")


# Requests that msgspec refused --------------------------------------------------------------------------


def request_of(message: Any) -> ExtendedRequest:
    """The request in a decoded message.

    Raises:
        InvalidActionError: a field has the wrong form.
        ProtocolError: `type` is missing, or no text.
    """
    if not isinstance(message, dict):
        raise invalid_message([issue("dict_type", [], "a message is an object", message)])
    number = message.get("id")
    try:
        return _checked(message)
    except OpenEnvError as error:
        if type(number) is int and 0 <= number <= MAX_ID:
            error.data["request_id"] = number
        raise


def _checked(message: dict[str, Any]) -> ExtendedRequest:
    kind = message.get("type")
    if not isinstance(kind, str):
        raise protocol_error(
            "UNKNOWN_TYPE", f"Unknown message type: {to_jsonable(kind)!s:.80} (expected a text)"
        )
    issues = list(_issues(message))
    if issues:
        raise invalid_message(issues)
    number, timeout_s = message.get("id"), message.get("timeout_s")
    return ExtendedRequest(kind, message.get("data"), number, message.get("session"), timeout_s)


def _issues(message: dict[str, Any]) -> Iterable[dict[str, Any]]:
    data, number = message.get("data"), message.get("id")
    session, timeout_s = message.get("session"), message.get("timeout_s")
    if data is not None and not (isinstance(data, dict) and all(isinstance(key, str) for key in data)):
        yield issue("dict_type", ["data"], "Input should be a valid dictionary", data)
    if number is not None and not (type(number) is int and 0 <= number <= MAX_ID):
        text = "Input should be an integer from 0 to 2**63 - 1"
        yield issue("int_type", ["id"], text, number)
    if session is not None and not isinstance(session, str):
        yield issue("string_type", ["session"], "Input should be a valid string", session)
    if timeout_s is not None and not (type(timeout_s) in (int, float) and timeout_s > 0):
        yield issue("greater_than", ["timeout_s"], "Input should be a number greater than 0", timeout_s)


# Models in MessagePack ----------------------------------------------------------------------------------


def _fields(model: BaseModel, exclude: set[str] | None = None) -> dict[str, Any]:
    """A model's fields as data for `pack_plain`."""
    cls = type(model)
    flat, loose = _plan(cls)
    if flat:
        data = dict(model.__dict__)
        if exclude:
            for name in exclude:
                data.pop(name, None)
    else:
        # Boundary: field serializers are an author's code and may raise anything; the step has run and
        # its observation must be sent.
        try:
            data = cls.__pydantic_serializer__.to_python(model, exclude=exclude, warnings=False)
        except Exception:
            data = {k: v for k, v in dict(model).items() if not exclude or k not in exclude}
        return {name: to_packable(value) for name, value in data.items()}
    for name in loose:
        value = data.get(name)
        if value is not None and not (type(value) is dict and not value):  # no metadata is the usual case
            data[name] = to_packable(value)
    return data


@lru_cache(maxsize=4096)
def _plan(cls: type[BaseModel]) -> tuple[bool, tuple[str, ...]]:
    """Whether a model's fields are written as they stand, and which of them must be looked at each time."""
    schema: Any = cls.__pydantic_core_schema__
    while schema.get("type") == "definitions":
        schema = schema["schema"]
    config = cls.model_config
    if schema.get("type") != "model" or "serialization" in schema or config.get("extra") == "allow":
        return False, ()
    inner = schema["schema"]
    if inner.get("type") != "model-fields" or inner.get("computed_fields") or "serialization" in inner:
        return False, ()
    fields = {name: field["schema"] for name, field in inner["fields"].items()}
    if any(_serializes(field) for field in inner["fields"].values()):
        return False, ()
    return True, tuple(name for name, field in fields.items() if not _is_plain(field))


def _serializes(node: Any) -> bool:
    """Whether an author's serializer, an exclusion or a nested model has a say in it."""
    if isinstance(node, dict):
        if "serialization" in node or node.get("serialization_exclude") or node.get("type") in _NESTED:
            return True
        return any(_serializes(item) for key, item in node.items() if key not in ("metadata", "default"))
    return isinstance(node, list | tuple) and any(map(_serializes, node))


_NESTED = frozenset({"model", "dataclass", "typed-dict", "definition-ref", "definitions"})
_PLAIN = frozenset({"str", "int", "float", "bool", "none"})


def _is_plain(node: dict[str, Any]) -> bool:
    kind = node.get("type")
    if kind in ("default", "nullable"):
        return _is_plain(node["schema"])
    if kind == "list":
        return "items_schema" in node and _is_plain(node["items_schema"])
    return kind in _PLAIN
