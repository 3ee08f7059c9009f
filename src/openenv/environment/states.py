"""The public state of an environment: its own `state`, or the declared fields that are not hidden."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from openenv.environment.annotations import evaluate, method_hints
from openenv.environment.episode import attached
from openenv.environment.fields import MISSING, Field, class_fields
from openenv.environment.models import build_model, is_missing, is_model
from openenv.protocol.jsonvalue import to_jsonable
from openenv.types import State

_DERIVED = "_openenv_state_model"
"""Class attribute that holds the derived state model of that very class."""


def state_model(cls: type) -> type[State]:
    """Return ``{Class}State``, derived from the public fields of `cls`."""
    found = vars(cls).get(_DERIVED)
    if found is None:
        fields = {f.name: _model_field(f) for f in class_fields(cls).values() if f.public}
        found = build_model(f"{cls.__name__}State", State, fields, cls, f"Public state of {cls.__name__}.")
        setattr(cls, _DERIVED, found)
    return found  # type: ignore[no-any-return]


def _model_field(field: Field) -> tuple[Any, Any]:
    annotation = evaluate(field.owner, field.annotation, None, field.name)
    return (annotation, None if field.default is MISSING else field.default)


def derived_state(env: Any) -> State:
    """Return the public fields of an instance, copied, with id and step count of its episode."""
    model = state_model(type(env))
    values: dict[str, Any] = {}
    episode = attached(env).episode
    if episode is not None:
        values = {"episode_id": episode.id, "step_count": episode.step}
    for field in class_fields(type(env)).values():
        if field.public and hasattr(env, field.name):
            values[field.name] = _snapshot(getattr(env, field.name))
    return model.model_construct(**values)


def _snapshot(value: Any) -> Any:
    """Copy containers and models, so that later steps do not change a state already read."""
    if isinstance(value, BaseModel):
        return value.model_copy(deep=True)
    if type(value) is dict:
        return {key: _snapshot(item) for key, item in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(_snapshot(item) for item in value)
    return value


def public_state(state: Any) -> BaseModel | dict[str, Any]:
    """Return what an author's `state` gives as a model or a dict of public keys."""
    if isinstance(state, BaseModel):
        return state
    if state is None:
        return {}
    if dataclasses.is_dataclass(state) and not isinstance(state, type):
        state = {f.name: getattr(state, f.name) for f in dataclasses.fields(state)}
    elif not isinstance(state, Mapping):
        state = getattr(state, "__dict__", None) or {"value": to_jsonable(state)}
    return {str(key): value for key, value in state.items() if not str(key).startswith("_")}


def state_annotation(cls: type, argument: Any) -> Any:
    """Return the type of an author's own `state`: its annotation, else the generic argument, else `State`."""
    accessor = inspect.getattr_static(cls, "state", None)
    getter = getattr(accessor, "fget", accessor)
    if inspect.isfunction(getter) and "return" in getattr(getter, "__annotations__", {}):
        hint = method_hints(cls, getter)["return"]
        if not is_missing(hint) and hint is not Any:
            return hint
    return argument if is_model(argument) else State
