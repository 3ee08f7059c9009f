"""Pydantic models derived from signatures, return annotations and fields, and their JSON Schemas."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import typing
import warnings
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, Field, TypeAdapter, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, JsonSchemaWarningKind
from pydantic_core import SchemaError

from openenv.environment.annotations import EMPTY
from openenv.environment.source import definition_error

UNUSABLE = (PydanticUserError, SchemaError, NameError, TypeError, ValueError)
"""What pydantic raises for declarations it can make no model of."""


class JsonSchemas(GenerateJsonSchema):
    """JSON Schema of anything: a type without one is unrestricted instead of an error."""

    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"skipped-choice", "non-serializable-default"}

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
        """Describe a type that JSON Schema cannot express: any value."""
        return {}


def schema_of(kind: Any) -> dict[str, Any]:
    """Return the JSON Schema of a model class or of any annotation."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.model_json_schema(schema_generator=JsonSchemas)
    return TypeAdapter(kind).json_schema(schema_generator=JsonSchemas)


def is_model(annotation: Any) -> bool:
    """Whether an annotation is a pydantic model class."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def described(annotation: Any, description: str | None) -> Any:
    """Attach a description to an annotation that has none of its own."""
    if not description or _has_description(annotation):
        return annotation
    return Annotated[annotation, Field(description=description)]


def _has_description(annotation: Any) -> bool:
    if get_origin(annotation) is not Annotated:
        return False
    extras = annotation.__metadata__
    return any(isinstance(extra, FieldInfo) and extra.description for extra in extras)


def build_model(name: str, base: type[BaseModel], fields: Mapping[str, Any], where: Any, doc: str) -> Any:
    """Build a model class, or say which declaration pydantic cannot use.

    Args:
        name: name of the class.
        base: its base.
        fields: per field ``(annotation, default)``, default `...` for none.
        where: the class or method that declares the fields, for errors.
        doc: docstring of the model; becomes the schema's description.

    Raises:
        DefinitionError: a type that pydantic cannot validate.
    """
    with warnings.catch_warnings():
        # A field may be called like a method of BaseModel (`copy`, `schema`): the author's name wins.
        warnings.filterwarnings("ignore", message="Field .* (shadows an attribute|has conflict)")
        try:
            return create_model(name, __base__=base, __module__=_module(where), __doc__=doc or None, **fields)
        except UNUSABLE as error:
            raise definition_error(
                where, f"no model can be made of {name}: {error}", "Use names and types that pydantic takes"
            ) from error


def _module(where: Any) -> str:
    return getattr(where, "__module__", None) or __name__


def parameter_fields(
    parameters: Iterable[inspect.Parameter], hints: Mapping[str, Any], docs: Mapping[str, str]
) -> dict[str, Any]:
    """Return model fields for parameters: annotation with description, and default."""
    fields: dict[str, Any] = {}
    for parameter in parameters:
        annotation = described(hints.get(parameter.name, Any), docs.get(parameter.name))
        required = parameter.default is inspect.Parameter.empty
        fields[parameter.name] = (annotation, ... if required else parameter.default)
    return fields


def value_fields(annotation: Any) -> dict[str, Any] | None:
    """Return the fields of a dataclass, model or TypedDict; None for any other type."""
    if is_model(annotation):
        return {name: (info.annotation, _own_name(info)) for name, info in annotation.model_fields.items()}
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        hints = _hints(annotation)
        return {f.name: (hints[f.name], _dataclass_default(f)) for f in dataclasses.fields(annotation)}
    if hasattr(annotation, "__required_keys__"):
        return _typed_dict_fields(annotation)
    return None


def _own_name(info: FieldInfo) -> FieldInfo:
    """Return a field without aliases: values are read off the author's object by attribute name."""
    info = copy.copy(info)
    info.alias = info.validation_alias = info.serialization_alias = None
    return info


def _hints(annotation: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(annotation, include_extras=True)
    except NameError as error:
        raise definition_error(
            annotation,
            f"the annotations of {annotation.__name__} cannot be evaluated ({error})",
            "Import the names at run time, or define the class at the top of its module",
        ) from error


def _dataclass_default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return Field(default_factory=field.default_factory)
    return ... if field.default is dataclasses.MISSING else field.default


def _typed_dict_fields(annotation: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, hint in _hints(annotation).items():
        # Under `from __future__ import annotations` the class itself does not see the marks.
        optional = get_origin(hint) is typing.NotRequired or name not in annotation.__required_keys__
        inner = get_args(hint)[0] if get_origin(hint) in (typing.NotRequired, typing.Required) else hint
        fields[name] = (inner | None, None) if optional else (inner, ...)
    return fields


def is_missing(annotation: Any) -> bool:
    """Whether there is no annotation, or one that promises no value."""
    return annotation is EMPTY or annotation is None or annotation is type(None)
