"""The published functions between JSON and actions or observations.

Sessions do not use them: a spec validates actions and the protocol's codec writes observations. They are
here for published code that calls them, and for pages whose forms send everything as text.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from typing import Any

from pydantic import ValidationError

from openenv.protocol.mcp_types import CallToolAction, ListToolsAction
from openenv.types import Action, Observation

_TOOL_ACTIONS: dict[str, type[Action]] = {"list_tools": ListToolsAction, "call_tool": CallToolAction}


def serialize_observation(observation: Observation) -> dict[str, Any]:
    """Give an observation in the shape of the plain protocol.

    Returns:
        ``observation`` (every field but reward and done), ``reward``, ``done``, and ``metadata`` if it is
        not empty.
    """
    payload: dict[str, Any] = {
        "observation": observation.model_dump(exclude={"reward", "done"}),
        "reward": observation.reward,
        "done": observation.done,
    }
    if observation.metadata:
        payload["metadata"] = observation.metadata
    return payload


def deserialize_action(action_data: dict[str, Any], action_cls: type[Action]) -> Action:
    """Build an action from its fields.

    Where the environment's actions are tool calls, ``type`` says which of the two it is; subclasses of
    `CallToolAction` can list tools too.

    Raises:
        pydantic.ValidationError: the fields do not fit.
    """
    kind = _TOOL_ACTIONS.get(str(action_data.get("type"))) if isinstance(action_data, dict) else None
    if kind is None or not (action_cls is Action or issubclass(action_cls, CallToolAction | ListToolsAction)):
        return action_cls.model_validate(action_data)
    if action_cls in (Action, CallToolAction, ListToolsAction):
        return kind.model_validate(action_data)
    try:
        return action_cls.model_validate(action_data)
    except ValidationError:
        if issubclass(action_cls, kind):
            raise
        return kind.model_validate(action_data)


def deserialize_action_with_preprocessing(action_data: dict[str, Any], action_cls: type[Action]) -> Action:
    """Build an action from fields that a form sent as text.

    ``arguments`` may be JSON, ``tokens`` JSON or numbers between commas (a tensor of them, where the
    action takes nothing else), ``action_id`` digits.

    Raises:
        pydantic.ValidationError: the fields do not fit.
    """
    data = dict(action_data)
    if "tokens" in action_cls.model_fields and isinstance(data.get("tokens"), str):
        data["tokens"] = _numbers(data["tokens"])
    if "action_id" in action_cls.model_fields and isinstance(data.get("action_id"), str):
        text = data["action_id"].strip()
        data["action_id"] = int(text) if text.lstrip("-").isdecimal() else data["action_id"]
    if data.get("type") == "call_tool" or issubclass(action_cls, CallToolAction):
        data = _parsed_arguments(data)
    try:
        return deserialize_action(data, action_cls)
    except ValidationError:
        tokens = data.get("tokens")
        if not isinstance(tokens, list) or importlib.util.find_spec("torch") is None:
            raise
        return deserialize_action({**data, "tokens": _tensor(tokens)}, action_cls)


def _parsed_arguments(data: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(data.get("arguments"), str):
        return data
    try:
        parsed = json.loads(data["arguments"] or "{}")
    except ValueError:  # validation names the field
        return data
    return {**data, "arguments": parsed}


def _numbers(text: str) -> Any:
    """The list that a text stands for; the text itself if it stands for none."""
    body = text.strip().removeprefix("[").removesuffix("]")
    try:
        return [int(part) for part in body.split(",") if part.strip()]
    except ValueError:  # validation names the field
        return text


def _tensor(tokens: list[int]) -> Any:
    torch = importlib.import_module("torch")
    return torch.tensor(tokens, dtype=torch.long)
