from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ConfigDict, field_serializer

from openenv.errors import (
    InvalidActionError,
    OpenEnvError,
    OrderError,
    ProtocolError,
    SessionCapacityError,
    StepTimeoutError,
)
from openenv.protocol import plain
from openenv.protocol.wire_errors import _BY_NAME, blank_error, error_from_payload, error_payload
from openenv.types import EpisodeStatus, Observation, StepOutcome, StepResult

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Board(Observation):
    cells: list[int] = [1, 2]
    value: Any = None


class Rounded(Observation):
    value: float = 1.234

    @field_serializer("value", when_used="json")
    def _round(self, value: float) -> float:
        return round(value, 1)


class Explosive(Observation):
    value: int = 1

    @field_serializer("value")
    def _explode(self, value: int) -> int:
        raise ZeroDivisionError(value)


class Base64(Observation):
    model_config = ConfigDict(ser_json_bytes="base64")
    value: bytes = b"ab"


def test_a_reply_has_exactly_the_published_keys() -> None:
    result = StepResult(Board(reward=1.5, metadata={"a": 1}), 1.5, False, {"a": 1})
    assert plain.encode_result(result) == (
        b'{"type":"observation","data":{"observation":{"metadata":{"a":1},"cells":[1,2],"value":null},'
        b'"reward":1.5,"done":false,"metadata":{"a":1}}}'
    )
    assert plain.encode_result(StepResult(Board())) == (
        b'{"type":"observation","data":{"observation":{"metadata":{},"cells":[1,2],"value":null},'
        b'"reward":null,"done":false}}'
    )


@pytest.mark.parametrize(
    ("reward", "text"),
    [(1, "1"), (True, "true"), (False, "false"), (1.0, "1.0"), (math.nan, "null"), (None, "null"),
     (10**30, str(10**30)), (np.float64(0.5), "0.5")],
)  # fmt: skip
def test_rewards_keep_their_kind(reward: Any, text: str) -> None:
    assert f'"reward":{text},'.encode() in plain.encode_result(StepResult(Board(), reward))


@pytest.mark.parametrize(
    "value",
    [np.zeros(3), np.float32(1), b"\xff", math.nan, {1, 2}, 10**40, "\ud800", object, {(1, 2): 3}],
)
def test_no_value_stops_an_observation(value: Any) -> None:
    frame = plain.encode_result(
        StepResult(Board(value=value, metadata={"m": value}), 1.0, True, {"m": value})
    )
    data = json.loads(frame)["data"]
    assert data["reward"] == 1.0
    assert data["observation"]["cells"] == [1, 2]


def test_serializers_of_an_author() -> None:
    assert json.loads(plain.encode_result(StepResult(Rounded())))["data"]["observation"]["value"] == 1.234
    assert json.loads(plain.encode_result(StepResult(Explosive())))["data"]["observation"]["value"] == 1
    assert json.loads(plain.encode_result(StepResult(Base64())))["data"]["observation"]["value"] == "ab"


def test_the_extended_reply_echoes_the_id_and_says_what_became_of_the_step() -> None:
    request = plain.decode_request(b'{"type":"step","data":{"x":1},"id":7,"timeout_s":0.5}', extended=True)
    assert (request.id, request.timeout_s, request.data) == (7, 0.5, {"x": 1})
    result = StepResult(
        Board(), 0.5, True, status=EpisodeStatus.TRUNCATED, reason="max_steps", components={"a": 0.5},
        seed=3, episode_id="e", step=9,
    )  # fmt: skip
    reply = plain.decode_reply(plain.encode_result(result, request))
    back = plain.result_from_reply(reply, reply.data["observation"])
    assert reply.id == 7
    assert (back.status, back.reason, back.components, back.seed, back.step, back.done, back.truncated) == (
        EpisodeStatus.TRUNCATED, "max_steps", {"a": 0.5}, 3, 9, True, True,
    )  # fmt: skip
    assert back.outcome is StepOutcome.OK
    assert back.info["episode_id"] == "e"


def test_a_published_reply_is_understood() -> None:
    reply = plain.decode_reply('{"type":"observation","data":{"observation":{"a":NaN},"done":true}}')
    result = plain.result_from_reply(reply, reply.data["observation"])
    assert (result.reward, result.done, result.status) == (None, True, "terminated")


@pytest.mark.parametrize("raw", [b"", b"[]", b"3", b'{"type":5}', b"\xff"])
def test_a_reply_that_is_no_message(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        plain.decode_reply(raw)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"{", "INVALID_JSON"),
        (b"\xff", "INVALID_JSON"),
        (b"[" * 100_000, "INVALID_JSON"),
        (b"[]", "VALIDATION_ERROR"),
        (b"null", "VALIDATION_ERROR"),
        (b"{}", "UNKNOWN_TYPE"),
        (b'{"type":"jump"}', "UNKNOWN_TYPE"),
        (b'{"type":["step"]}', "UNKNOWN_TYPE"),
        (b'{"type":"step","data":[]}', "VALIDATION_ERROR"),
        (b'{"type":"step"}', "VALIDATION_ERROR"),
        (b'{"type":"mcp"}', "VALIDATION_ERROR"),
        (b'{"type":"reset","data":null}', "VALIDATION_ERROR"),
        (b'{"type":"step","data":{},"timeout_s":3}', "VALIDATION_ERROR"),
        (b'{"type":"step","data":{},"x":NaN}', "VALIDATION_ERROR"),
    ],
)
def test_what_is_wrong_with_a_request(raw: bytes, code: str) -> None:
    with pytest.raises(OpenEnvError) as caught:
        plain.decode_request(raw)
    assert caught.value.code == code
    json.loads(plain.encode_error(caught.value))


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b'{"type":"step","data":{},"id":"x"}', "id"),
        (b'{"type":"step","data":{},"timeout_s":0}', "timeout_s"),
        (b'{"type":"step","data":{},"timeout_s":true}', "timeout_s"),
        (b'{"type":"step","data":{},"id":4,"extra":1}', "extra"),
    ],
)
def test_extended_fields_are_checked_and_named(raw: bytes, field: str) -> None:
    with pytest.raises(InvalidActionError, match=field) as caught:
        plain.decode_request(raw, extended=True)
    reply = plain.decode_reply(plain.encode_error(caught.value))
    assert reply.id == (4 if b'"id":4' in raw else None)


@pytest.mark.parametrize("kind", ["reset", "state", "close"])
def test_messages_that_need_no_payload(kind: str) -> None:
    raw = f'{{"type":"{kind}"}}'.encode()
    assert plain.decode_request(raw).data == {}
    assert plain.decode_request(raw, extended=True).type == kind


def test_nan_in_a_request_is_read_as_published_servers_read_it() -> None:
    assert math.isnan(plain.decode_request(b'{"type":"step","data":{"x":NaN}}').data["x"])


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_request_or_a_typed_error(raw: bytes) -> None:
    for extended in (False, True):
        try:
            request = plain.decode_request(raw, extended=extended)
        except OpenEnvError as error:
            json.loads(plain.encode_error(error))
        else:
            assert request.type in plain.REQUEST_TYPES


@given(JSON)
def test_what_goes_in_comes_out(value: Any) -> None:
    frame = plain.encode_result(StepResult(Board(value=value)))
    assert plain.decode_reply(frame).data["observation"]["value"] == json.loads(json.dumps(value))


def test_state_and_mcp_frames() -> None:
    request = plain.Request("state", id=3)
    assert plain.encode_state({"a": {1}}, request) == b'{"type":"state","data":{"a":[1]},"id":3}'
    assert plain.encode_state(Board()).startswith(b'{"type":"state","data":{"done":false')
    assert plain.encode_mcp({"jsonrpc": "2.0"}) == b'{"type":"mcp","data":{"jsonrpc":"2.0"}}'


def test_result_payload_is_data() -> None:
    assert plain.result_payload(StepResult({"a": 1, "done": True}, 2.0))["observation"] == {"a": 1}
    assert plain.result_payload(StepResult("text"))["observation"] == "text"


@pytest.mark.parametrize("name", sorted(_BY_NAME))
def test_every_error_crosses_the_wire_as_itself(name: str) -> None:
    cls = _BY_NAME[name]
    error = blank_error(cls)
    OpenEnvError.__init__(error, "what", episode="e", step=4)
    if isinstance(error, InvalidActionError):
        error.errors = [{"loc": ["x"], "msg": "bad"}]
    back = error_from_payload(json.loads(json.dumps(error_payload(error))))
    assert type(back) is cls
    assert (back.message, back.code, back.outcome) == ("what", error.code, error.outcome)
    assert (back.retryable, back.session_fate, back.episode, back.step) == (
        error.retryable, error.session_fate, "e", 4,
    )  # fmt: skip
    str(back), repr(back), error_payload(back)


def test_facts_of_errors_cross_the_wire() -> None:
    capacity = error_from_payload(error_payload(SessionCapacityError(1, 2, retry_after=3.0)))
    assert isinstance(capacity, SessionCapacityError)
    assert (capacity.active_sessions, capacity.max_sessions, capacity.retry_after) == (1, 2, 3.0)
    timeout = error_from_payload(error_payload(StepTimeoutError("t", timeout_s=0.2, partial=b"\xff")))
    assert isinstance(timeout, StepTimeoutError)
    assert timeout.timeout_s == 0.2
    order = error_from_payload(error_payload(OrderError("o", expected="reset()", actual="step")))
    assert isinstance(order, OrderError)
    assert (order.expected, order.actual) == ("reset()", "step")


@pytest.mark.parametrize(
    "data",
    [
        "text",
        None,
        {},
        {"code": 5, "message": None},
        {"error": "Nope", "outcome": [], "step": "x", "episode": 3},
    ],
)
def test_errors_of_any_server_become_typed(data: Any) -> None:
    assert isinstance(error_from_payload(data), OpenEnvError)


def test_published_codes_decide_the_class() -> None:
    assert isinstance(error_from_payload({"code": "VALIDATION_ERROR", "errors": []}), InvalidActionError)
    assert isinstance(error_from_payload({"code": "CAPACITY_REACHED"}), SessionCapacityError)


def test_what_a_published_server_found_wrong_is_said() -> None:
    found = [{"type": "missing", "loc": ["move", "x"], "msg": "Field required"}]
    error = error_from_payload({"code": "VALIDATION_ERROR", "message": "Invalid message", "errors": found})
    assert str(error) == "Invalid message: move.x: Field required"
