import json

import pytest
from pydantic import TypeAdapter, ValidationError

from openenv.protocol import messages
from openenv.protocol.messages import (
    BaseMessage,
    ConcurrencyConfig,
    HealthResponse,
    ResetRequest,
    ResetResponse,
    SchemaResponse,
    ServerCapacityStatus,
    ServerMode,
    StepRequest,
    WSErrorCode,
    WSIncomingMessage,
    WSResetMessage,
    WSStepMessage,
)


@pytest.mark.parametrize(
    "model",
    [
        model
        for model in vars(messages).values()
        if isinstance(model, type) and issubclass(model, BaseMessage) and model is not BaseMessage
    ],
)
def test_messages_refuse_unknown_fields(model):
    with pytest.raises(ValidationError, match="extra_forbidden"):
        model.model_validate({"bogus": 1})


def test_requests_let_options_through():
    assert ResetRequest.model_validate({"seed": 1, "level": "hard"}).model_extra == {"level": "hard"}
    assert StepRequest.model_validate({"action": {}, "render": True}).model_extra == {"render": True}


@pytest.mark.parametrize(
    "body",
    [{"seed": -1}, {"episode_id": "x" * 256}, {"seed": "many"}],
)
def test_reset_request_bounds(body):
    with pytest.raises(ValidationError):
        ResetRequest.model_validate(body)


@pytest.mark.parametrize("body", [{}, {"action": {}, "timeout_s": 0}, {"action": []}])
def test_step_request_bounds(body):
    with pytest.raises(ValidationError):
        StepRequest.model_validate(body)


def test_response_reward_is_a_float():
    assert json.loads(ResetResponse(observation={}, reward=True).model_dump_json()) == {
        "observation": {},
        "reward": 1.0,
        "done": False,
        "metadata": None,
    }


def test_schema_response_leaves_out_an_absent_reset_observation():
    assert json.loads(SchemaResponse(action={}, observation={}, state={}).model_dump_json()) == {
        "action": {},
        "observation": {},
        "state": {},
    }
    assert SchemaResponse(action={}, observation={}, state={}, reset_observation={"a": 1}).model_dump()[
        "reset_observation"
    ] == {"a": 1}


def test_incoming_messages_are_told_apart_by_type():
    adapter = TypeAdapter(WSIncomingMessage)
    assert adapter.validate_python({"type": "reset"}) == WSResetMessage(data={})
    assert adapter.validate_python({"type": "step", "data": {"a": 1}}) == WSStepMessage(data={"a": 1})
    with pytest.raises(ValidationError):
        adapter.validate_python({"type": "step"})
    with pytest.raises(ValidationError, match="union_tag_invalid"):
        adapter.validate_python({"type": "jump"})


def test_capacity():
    status = ServerCapacityStatus.from_counts(1, 2)
    assert (status.available_slots, status.is_at_capacity) == (1, False)
    assert ServerCapacityStatus.from_counts(2, 2).is_at_capacity
    with pytest.raises(ValueError, match="cannot exceed"):
        ServerCapacityStatus.from_counts(3, 2)


def test_concurrency_config_bounds():
    assert ConcurrencyConfig().max_concurrent_envs == 1
    for wrong in ({"max_concurrent_envs": 0}, {"session_timeout": 0}):
        with pytest.raises(ValidationError):
            ConcurrencyConfig.model_validate(wrong)


def test_enumerations_are_strings():
    assert ServerMode("production") is ServerMode.PRODUCTION
    assert HealthResponse().model_dump_json() == '{"status":"healthy"}'
    assert [code.value for code in WSErrorCode] == [code.name for code in WSErrorCode]
