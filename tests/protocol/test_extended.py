from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, computed_field, field_serializer

from openenv import Observation
from openenv.errors import InvalidActionError, OpenEnvError, ProtocolError, SessionLost
from openenv.protocol.extended import (
    MAX_ID,
    Codec,
    ExtendedRequest,
    JsonCodec,
    MsgpackCodec,
    codec_of,
    request_of,
)
from openenv.protocol.packing import pack
from openenv.protocol.wire_errors import error_from_payload
from openenv.types import StepResult

CODECS: list[Codec] = [JsonCodec(), MsgpackCodec()]
both = pytest.mark.parametrize("codec", CODECS, ids=["json", "msgpack"])


class Inner(BaseModel):
    n: int = 3


class Flat(Observation):
    text: str = "a"
    n: int | None = 1
    tokens: list[int] = []
    anything: Any = None


class Nested(Observation):
    inner: Inner = Inner()


class Doubling(Observation):
    n: int = 2

    @field_serializer("n")
    def double(self, value: int) -> int:
        return 2 * value


class Failing(Observation):
    n: int = 2

    @field_serializer("n")
    def fail(self, value: int) -> int:
        raise RuntimeError("no")


class Secretive(Observation):
    n: int = 2
    hidden: int = Field(default=5, exclude=True)


class Computing(Observation):
    n: int = 2

    @computed_field  # type: ignore[prop-decorator]
    @property
    def square(self) -> int:
        return self.n**2


class Open(Observation, extra="allow"):
    pass


def encoded(codec: Codec, message: dict[str, Any]) -> bytes:
    return pack(message) if codec.binary else json.dumps(message).encode()


def test_subprotocols_have_codecs() -> None:
    assert isinstance(codec_of("openenv.2.json"), JsonCodec)
    assert isinstance(codec_of("openenv.2.msgpack"), MsgpackCodec)
    assert codec_of(None) is None
    assert codec_of("openenv.bearer.x") is None


@both
def test_a_request_is_read_and_written(codec: Codec) -> None:
    frame = codec.request("step", {"guess": 5}, id=3, session="s", timeout_s=0.5)
    assert codec.decode(frame) == ExtendedRequest("step", {"guess": 5}, 3, "s", 0.5)
    assert codec.decode(codec.request("state")) == ExtendedRequest("state")


@both
def test_unknown_fields_are_ignored(codec: Codec) -> None:
    message = {"type": "state", "id": 3, "more": [1], "arrays": "x"}
    assert codec.decode(encoded(codec, message)) == ExtendedRequest("state", None, 3)


def test_arrays_are_noticed() -> None:
    codec = MsgpackCodec()
    request = codec.decode(codec.request("step", {"a": np.arange(3)}))
    assert request.arrays
    assert request.data is not None
    assert request.data["a"].tolist() == [0, 1, 2]
    assert not codec.decode(codec.request("step", {"a": 1})).arrays


@both
@pytest.mark.parametrize(
    ("message", "field"),
    [
        ([], "message"),
        (None, "message"),
        ({"type": "step", "data": 5}, "data"),
        ({"type": "step", "id": -1}, "id"),
        ({"type": "step", "id": MAX_ID + 1}, "id"),
        ({"type": "step", "id": 1.5}, "id"),
        ({"type": "step", "id": True}, "id"),
        ({"type": "step", "session": 5}, "session"),
        ({"type": "step", "timeout_s": 0}, "timeout_s"),
        ({"type": "step", "timeout_s": "soon"}, "timeout_s"),
        ({"type": "step", "timeout_s": True}, "timeout_s"),
    ],
)
def test_a_field_of_the_wrong_form_is_named(codec: Codec, message: Any, field: str) -> None:
    with pytest.raises(InvalidActionError, match=f"{field}:") as caught:
        codec.decode(encoded(codec, message))
    assert "request_id" not in caught.value.data


@both
@pytest.mark.parametrize("message", [{"id": 7}, {"type": 5, "id": 7}, {"type": None, "id": 7}])
def test_a_missing_type_is_unknown_and_keeps_the_id(codec: Codec, message: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        codec.decode(encoded(codec, message))
    assert caught.value.code == "UNKNOWN_TYPE"
    assert caught.value.data["request_id"] == 7


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 100_000])
def test_broken_json(raw: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        JsonCodec().decode(raw)
    assert caught.value.code == "INVALID_JSON"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc1",
        b"\x81\xa4type",
        b"\x91" * 100_000,
        b"\x81\xa1\xff\x00",
        b"\x82\xa4type\xa4step\xa4data\xd4\x07\x00",
        b"\x82\xa4type\x05\xa4data\xd4\x07\x00",
        b"\x81\x81\x01\x02\x03",
    ],
)
def test_broken_msgpack(raw: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        MsgpackCodec().decode(raw)
    assert caught.value.code == "INVALID_MSGPACK"


@given(st.binary(max_size=80))
def test_any_bytes_are_a_request_or_a_typed_error(raw: bytes) -> None:
    for codec in CODECS:
        code = "none"
        try:
            assert isinstance(codec.decode(raw), ExtendedRequest)
        except OpenEnvError as error:
            code = error.code
        assert code in ("none", "INVALID_JSON", "INVALID_MSGPACK", "VALIDATION_ERROR", "UNKNOWN_TYPE")


def test_keys_that_are_no_text() -> None:
    with pytest.raises(InvalidActionError, match="data:"):
        request_of({"type": "step", "data": {5: 1}})


@both
def test_frames_carry_their_address(codec: Codec) -> None:
    body = codec.body("pong", {"a": 1})
    assert codec.values(codec.frame(body)) == {"type": "pong", "data": {"a": 1}}
    assert codec.values(codec.frame(body, 7)) == {"type": "pong", "data": {"a": 1}, "id": 7}
    assert codec.values(codec.frame(body, 0, "κ"))["session"] == "κ"
    assert codec.values(codec.frame(body, None, "s")) == {"type": "pong", "data": {"a": 1}, "session": "s"}


@both
@pytest.mark.parametrize("count", [0, 1, 15, 16, 70_000])
def test_a_batch_holds_its_bodies(codec: Codec, count: int) -> None:
    reply = codec.decode_reply(codec.batch([codec.body("state", {})] * count, 5))
    assert (reply.type, reply.id) == ("batch", 5)
    assert reply.data == {"results": [{"type": "state", "data": {}}] * count}


@both
@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        (Flat(), {"metadata": {}, "text": "a", "n": 1, "tokens": [], "anything": None}),
        (
            Flat(anything={1, 2}, metadata={"k": (1,)}),
            {"metadata": {"k": [1]}, "text": "a", "n": 1, "tokens": [], "anything": [1, 2]},
        ),
        (Nested(), {"metadata": {}, "inner": {"n": 3}}),
        (Doubling(), {"metadata": {}, "n": 4}),
        (Failing(), {"metadata": {}, "n": 2}),
        (Secretive(), {"metadata": {}, "n": 2}),
        (Computing(), {"metadata": {}, "n": 2, "square": 4}),
        (Open(more=2**80), {"metadata": {}, "more": 2**80}),
        ({"a": 1, "reward": 3, "done": True}, {"a": 1}),
        ("text", "text"),
    ],
)
def test_observations(codec: Codec, observation: Any, expected: Any) -> None:
    result = StepResult(observation, 1, False, {"m": 1}, components={"c": 0.5}, episode_id="e", step=2)
    reply = codec.decode_reply(codec.frame(codec.result(result), 4))
    assert reply.id == 4
    assert reply.data == {"observation": expected, "reward": 1, "done": False, "metadata": {"m": 1}}
    assert reply.result == {
        "outcome": "ok",
        "status": "running",
        "reason": None,
        "components": {"c": 0.5},
        "seed": None,
        "episode_id": "e",
        "step": 2,
    }


def test_arrays_travel_as_buffers_in_msgpack_and_as_lists_in_json() -> None:
    result = StepResult(Flat(anything=np.arange(4, dtype="u1").reshape(2, 2)), np.float32(0.5))  # type: ignore[arg-type]
    binary, text = MsgpackCodec(), JsonCodec()
    found = binary.decode_reply(binary.frame(binary.result(result)))
    assert found.data["observation"]["anything"].dtype == np.uint8
    assert found.data["reward"] == 0.5
    assert text.decode_reply(text.result(result)).data["observation"]["anything"] == [[0, 1], [2, 3]]


@both
def test_states_errors_and_mcp(codec: Codec) -> None:
    assert codec.values(codec.state(Inner())) == {"type": "state", "data": {"n": 3}}
    assert codec.values(codec.state({"n": {1}})) == {"type": "state", "data": {"n": [1]}}
    assert codec.values(codec.mcp({"id": 1})) == {"type": "mcp", "data": {"id": 1}}
    error = error_from_payload(codec.values(codec.error(SessionLost("gone", episode="e", step=3)))["data"])
    assert isinstance(error, SessionLost)
    assert (error.message, error.episode, error.step) == ("gone", "e", 3)


@both
@pytest.mark.parametrize("source", CODECS, ids=["from json", "from msgpack"])
def test_a_body_is_translated(codec: Codec, source: Codec) -> None:
    assert codec.values(codec.translated(source.body("x", {"a": [1]}))) == {
        "type": "x",
        "data": {"a": [1]},
    }


@pytest.mark.parametrize("raw", [b"\xc1", pack(5), pack({"type": 5})])
def test_a_reply_that_is_none(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        MsgpackCodec().decode_reply(raw)
