"""How models cross between a pool and its workers: as plain data, rebuilt as the class they were.

A model whose fields are plain (numbers, texts, arrays, lists and dicts of those) is rebuilt without being
validated a second time; any other is dumped and validated. What cannot be rebuilt exactly is rebuilt
without validation from what came.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, RootModel, ValidationError

_PLAIN = frozenset({str, int, float, bool, bytes, type(None), dict, list, Any, object})
_set = object.__setattr__


@lru_cache(maxsize=4096)
def is_plain(cls: type[BaseModel]) -> bool:
    """Whether a model's fields, as they are, say all there is to say of it."""
    if issubclass(cls, RootModel) or cls.__private_attributes__:
        return False
    fields = cls.model_fields
    extra = cls.model_config.get("extra") == "allow"
    return not extra and all(not field.exclude and _plain(field.annotation) for field in fields.values())


def _plain(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType, list, dict):
        return all(map(_plain, get_args(annotation)))
    if getattr(origin, "__module__", getattr(annotation, "__module__", "")) == "numpy":
        return getattr(origin or annotation, "__name__", "") == "ndarray"
    try:
        return annotation in _PLAIN
    except TypeError:  # not hashable, so not one of them
        return False


def dumped(model: BaseModel) -> dict[str, Any]:
    """A model's fields as data; validation of it gives the model again."""
    if is_plain(type(model)) and not _has_aliases(type(model)):
        return model.__dict__
    try:
        data = model.model_dump(by_alias=True, warnings=False)
    except Exception:  # Boundary: serializers are an author's code.
        return {**model.__dict__, **(model.__pydantic_extra__ or {})}
    return data if isinstance(data, dict) else {"root": data}


@lru_cache(maxsize=4096)
def _has_aliases(cls: type[BaseModel]) -> bool:
    return any(field.alias or field.validation_alias for field in cls.model_fields.values())


def fields_of(model: BaseModel) -> dict[str, Any]:
    """A model's fields for `reader` of the same class."""
    return model.__dict__ if is_plain(type(model)) else dumped(model)


def reader(cls: type[BaseModel]) -> Callable[[dict[str, Any]], Any]:
    """What makes a model of a class from the data of `fields_of`."""
    return _rebuild(cls) if is_plain(cls) else _revalidate(cls)


def _rebuild(cls: type[BaseModel]) -> Callable[[dict[str, Any]], Any]:
    new = cls.__new__
    # One set for all: every field is in it already, so nothing that a model does changes it.
    names = set(cls.model_fields)

    def read(data: dict[str, Any]) -> Any:
        model = new(cls)
        _set(model, "__dict__", data)
        _set(model, "__pydantic_fields_set__", names)
        _set(model, "__pydantic_extra__", None)
        _set(model, "__pydantic_private__", None)
        return model

    return read


def _revalidate(cls: type[BaseModel]) -> Callable[[dict[str, Any]], Any]:
    validate = cls.__pydantic_validator__.validate_python

    def read(data: dict[str, Any]) -> Any:
        try:
            return validate(data["root"] if issubclass(cls, RootModel) and "root" in data else data)
        except (ValidationError, ValueError, TypeError, AssertionError):
            # Boundary: what the environment returned was never validated, or its validators changed it.
            return cls.model_construct(**data)

    return read


def find_model(module: str, name: str) -> type[BaseModel] | None:
    """A model class by where it was defined, if that is loaded here. No code runs, nothing is imported."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None
