"""The shipped echo, in both forms. Expected bytes were read off a published echo server's environment."""

from __future__ import annotations

from openenv.environment import Episode, describe
from openenv.envs.echo import EchoEnvironment, TypedEcho
from openenv.protocol.mcp_types import CallToolAction, ListToolsAction
from openenv.types import StepOutcome

SPEC = describe(EchoEnvironment)

LISTED = (
    '{"done":false,"reward":null,"metadata":{},"tools":[{"name":"echo_message","description":'
    '"Echo back the provided message.","input_schema":{"additionalProperties":false,"properties":'
    '{"message":{"type":"string","description":"The message to echo back"}},"required":["message"],'
    '"type":"object"}},{"name":"echo_with_length","description":"Echo back the message with its length.",'
    '"input_schema":{"additionalProperties":false,"properties":{"message":{"type":"string","description":'
    '"The message to echo back"}},"required":["message"],"type":"object"}}]}'
)
ECHOED = (
    '{"done":false,"reward":null,"metadata":{},"tool_name":"echo_message","result":{"content":[{"type":'
    '"text","text":"hi","annotations":null,"meta":null}],"structured_content":{"result":"hi"},"meta":'
    '{"fastmcp":{"wrap_result":true}},"data":"hi","is_error":false},"error":null}'
)
WITH_LENGTH = (
    '{"done":false,"reward":null,"metadata":{},"tool_name":"echo_with_length","result":{"content":[{"type":'
    '"text","text":"{\\"message\\":\\"hi\\",\\"length\\":2}","annotations":null,"meta":null}],'
    '"structured_content":{"message":"hi","length":2},"meta":null,"data":{"message":"hi","length":2},'
    '"is_error":false},"error":null}'
)


def sent(data):
    env = SPEC.make()
    action = SPEC.validate_action(data)
    return SPEC.transition(env, action, SPEC.call_step(env, action))


def test_reset():
    env = SPEC.make()
    first = SPEC.initial(env, SPEC.call_reset(env, seed=1, episode_id="e", options={"ignored": 1}))
    assert first.observation.model_dump_json() == (
        '{"done":false,"reward":0.0,"metadata":{"status":"ready","message":"Echo environment ready!"}}'
    )


def test_tools_byte_for_byte():
    assert sent({"type": "list_tools"}).observation.model_dump_json() == LISTED
    message = {"type": "call_tool", "arguments": {"message": "hi"}}
    assert sent({**message, "tool_name": "echo_message"}).observation.model_dump_json() == ECHOED
    assert sent({**message, "tool_name": "echo_with_length"}).observation.model_dump_json() == WITH_LENGTH


def test_wrong_calls():
    assert sent({"type": "call_tool", "tool_name": "nope"}).outcome is StepOutcome.INVALID_ACTION
    missing = sent({"tool_name": "echo_message"})
    assert missing.observation.error.message.startswith(
        "1 validation error for call[echo_message]\nmessage\n"
    )


def test_by_hand():
    env = EchoEnvironment()
    assert [t.name for t in env.step(ListToolsAction()).tools] == ["echo_message", "echo_with_length"]
    call = CallToolAction(tool_name="echo_message", arguments={"message": "Hi!"})
    assert env.step(call).result["data"] == "Hi!"


def test_settings():
    assert (SPEC.name, SPEC.requires_reset, SPEC.concurrent) == ("echo", False, True)


def test_state():
    env = SPEC.make()
    SPEC.begin(env, Episode(id="e", seed=1, step=2))
    assert SPEC.read_state(env).model_dump() == {"episode_id": "e", "step_count": 2}


def test_typed():
    spec = describe(TypedEcho)
    env = spec.make()
    first = spec.initial(env, spec.call_reset(env, seed=1))
    assert first.observation.result == "Echo environment ready!"
    action = spec.validate_action({"message": "hello"})
    seen = spec.transition(env, action, spec.call_step(env, action))
    assert (seen.observation.result, seen.reward) == ("hello", 0.5)
    assert spec.action_schema()["properties"]["message"]["description"] == "The message to echo back"
