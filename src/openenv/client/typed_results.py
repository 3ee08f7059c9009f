"""From a server's payload to the models that a client class names in its bases.

``class MyEnv(EnvClient[MyAction, MyObservation, MyState])`` needs no further code: its observations and
states are validated into these models. Without models, or with `dict`, the data stay as they came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from functools import lru_cache
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from openenv.errors import ProtocolError
from openenv.types import Action, StepResult


@lru_cache(maxsize=1024)
def named_types(cls: type, base: type) -> tuple[Any, Any, Any]:
    """What `cls` gives for the three type parameters of `base`: models, or None where it gives none."""
    found: list[Any] = []
    for owner in cls.__mro__:
        for written in getattr(owner, "__orig_bases__", ()):
            origin = get_origin(written)
            if isinstance(origin, type) and issubclass(origin, base) and not found:
                found = list(get_args(written))
    if any(isinstance(kind, TypeVar) for kind in found):
        found = []
    models = [kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None for kind in found]
    padded = [*models, None, None, None]
    return padded[0], padded[1], padded[2]


def step_payload(action: Any) -> dict[str, Any]:
    """The data of a step message.

    Args:
        action: a mapping, a model, a dataclass or any object with attributes.
    """
    if isinstance(action, Mapping):
        return dict(action)
    if isinstance(action, BaseModel):
        data = action.model_dump()
        if isinstance(action, Action) and not action.metadata:
            data.pop("metadata", None)
        return data
    if is_dataclass(action) and not isinstance(action, type):
        return asdict(action)
    if hasattr(action, "__dict__"):
        return dict(vars(action))
    return dict(action)


def parse_result(payload: dict[str, Any], model: type[BaseModel] | None) -> StepResult[Any]:
    """A result with its observation as a model, or as a dict where there is none.

    Raises:
        ProtocolError: the observation does not fit the model.
    """
    observation: Any = payload.get("observation", {})
    reward, done, metadata = payload.get("reward"), bool(payload.get("done", False)), payload.get("metadata")
    if model is not None and isinstance(observation, dict):
        beside = {"reward": reward, "done": done}
        if metadata is not None:
            beside["metadata"] = metadata
        known = {key: value for key, value in beside.items() if key in model.model_fields}
        observation = validated(model, {**observation, **known})
    return StepResult(observation=observation, reward=reward, done=done, metadata=metadata)


def validated(model: type[BaseModel], data: Any) -> Any:
    """The model of the data.

    Raises:
        ProtocolError: the data do not fit.
    """
    try:
        return model.model_validate(data)
    except ValidationError as problem:
        raise ProtocolError(f"The server's data do not fit {model.__name__}: {problem}") from None


def complete(result: Any, facts: StepResult[Any]) -> Any:
    """Add what the server said of a step to the result that a client class made of its payload."""
    if isinstance(result, StepResult):
        for name in ("outcome", "status", "reason", "components", "seed", "episode_id", "step"):
            setattr(result, name, getattr(facts, name))
    return result
