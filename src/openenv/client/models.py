"""Pydantic models from JSON Schema documents, for clients that learn an environment from `GET /schema`.

Objects become models, `$defs` become models that may refer to each other, unions keep their
discriminator, bounds and patterns become constraints. What a schema can say and pydantic cannot is typed
`Any`: the server validates every action anyway.
"""

from __future__ import annotations

import datetime as dt
import keyword
import logging
import re
import uuid
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, ForwardRef, Literal, Union, get_origin

import msgspec
from pydantic import BaseModel, ConfigDict, Field, RootModel, create_model, model_serializer

from openenv.types import Observation

logger = logging.getLogger("openenv.client")

Extra = Literal["allow", "forbid", "ignore"]
Schema = dict[str, Any]

_MAX_DEPTH = 64

_FORMATS: dict[str, Any] = {
    "date-time": dt.datetime,
    "date": dt.date,
    "time": dt.time,
    "duration": dt.timedelta,
    "uuid": uuid.UUID,
}
_SCALARS: dict[str, Any] = {"string": str, "integer": int, "number": float, "boolean": bool, "null": None}
_CONSTRAINTS: dict[str, dict[str, str]] = {
    "string": {"minLength": "min_length", "maxLength": "max_length", "pattern": "pattern"},
    "number": {
        "minimum": "ge",
        "maximum": "le",
        "exclusiveMinimum": "gt",
        "exclusiveMaximum": "lt",
        "multipleOf": "multiple_of",
    },
    "array": {"minItems": "min_length", "maxItems": "max_length"},
}
_CONSTRAINTS["integer"] = _CONSTRAINTS["number"]
_TAKEN = frozenset(dir(BaseModel))


class GenericObservation(Observation):
    """An observation whose model is not known: every field is an attribute, nothing is validated."""

    model_config = ConfigDict(extra="allow", validate_assignment=False)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class _Sparse(BaseModel):
    """Leaves fields without a default out of its JSON while they are None."""

    sparse_fields: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: Any) -> Any:
        return {k: v for k, v in handler(self).items() if v is not None or k not in self.sparse_fields}


def model_from_schema(
    schema: Mapping[str, Any],
    name: str | None = None,
    *,
    base: type[BaseModel] = BaseModel,
    extra: Extra | None = None,
) -> type[BaseModel]:
    """Build a model from a JSON Schema. Equal schemas give the same class.

    Args:
        schema: the schema of an object, or of a union of objects, with its `$defs`.
        name: name of the model; the schema's title if absent.
        base: class the model derives from, for instance `Action` or `Observation`.
        extra: what to do with unknown fields, here and in nested models; as the schema says if absent.

    Returns:
        A model; for a union a `RootModel` over its variants; for a document that makes no sense a model
        that takes anything.
    """
    title = _class_name(name or str(schema.get("title") or "Model"))
    try:
        return _cached(msgspec.json.encode(schema), title, base, extra)
    # Boundary: the document is a stranger's, and there is no end to what in it may displease pydantic.
    except Exception:
        logger.debug("No model can be made of the schema %s", title, exc_info=True)
        return _permissive(title, base)


@lru_cache(maxsize=256)
def _permissive(name: str, base: type[BaseModel]) -> type[BaseModel]:
    holder: Any = type(name, (base,), {"__module__": __name__, "model_config": ConfigDict(extra="allow")})
    return create_model(name, __base__=holder, __module__=__name__)


@lru_cache(maxsize=256)
def _cached(document: bytes, name: str, base: type[BaseModel], extra: Extra | None) -> type[BaseModel]:
    return _Builder(msgspec.json.decode(document), extra).build(name, base)


class _Builder:
    """Builds the models of one document."""

    def __init__(self, document: Schema, extra: Extra | None) -> None:
        self._document = document
        self._extra = extra
        self._models: dict[str, type[BaseModel]] = {}
        self._keys: dict[str, str] = {}
        self._open: set[str] = set()
        self._recursive = False

    def build(self, name: str, base: type[BaseModel]) -> type[BaseModel]:
        schema = self._resolved(self._document, 0)
        if _is_model(schema) or not _variants(schema):
            model = self._model(schema, name, base, 0)
        else:
            root: Any = RootModel[self._type(schema, name, 0)]  # type: ignore[misc]
            model = create_model(name, __base__=root, __module__=__name__)
        if self._recursive:
            made: list[type[BaseModel]] = [*self._models.values(), model]
            for known in made:
                known.model_rebuild(force=True, _types_namespace=self._models)
        return model

    def _model(self, schema: Schema, name: str, base: type[BaseModel], depth: int) -> type[BaseModel]:
        required = schema.get("required", ())
        fields: dict[str, Any] = {}
        sparse: set[str] = set()
        for key, part in schema.get("properties", {}).items():
            kind, options = self._field(part, name + _class_name(key), key in required, depth + 1)
            attribute = _attribute(key, fields)
            if options.pop("absent", False):
                sparse |= {key, attribute}
            if attribute != key:
                options["alias"] = key
            fields[attribute] = (kind, Field(**options))
        namespace: dict[str, Any] = {
            "__module__": __name__,
            "model_config": ConfigDict(
                extra=self._extra or _extra(schema),
                populate_by_name=True,
                protected_namespaces=(),
                regex_engine="python-re",
            ),
        }
        if sparse:
            namespace["sparse_fields"] = frozenset(sparse)
            namespace["__annotations__"] = {"sparse_fields": ClassVar[frozenset[str]]}
        holder: Any = type(name, (_Sparse, base) if sparse else (base,), namespace)
        return create_model(
            name, __base__=holder, __module__=__name__, __doc__=schema.get("description"), **fields
        )

    def _field(self, schema: Any, hint: str, required: bool, depth: int) -> tuple[Any, dict[str, Any]]:
        """A field's type and the arguments of its `Field`; `absent` marks one that may be left out."""
        kind = self._type(schema, hint, depth)
        schema = schema if isinstance(schema, dict) else {}
        options: dict[str, Any] = {"description": schema.get("description")}
        if required:
            return kind, options
        if schema.get("default") is not None:
            default = schema["default"]
            simple = isinstance(default, bool | int | float) or (
                isinstance(default, str) and "format" not in schema
            )
            return kind, {**options, "default": default, "validate_default": not simple}
        if "default" not in schema:
            resolved = self._resolved(schema, depth)
            if resolved.get("type") == "object" and not _is_model(resolved):
                return kind, {**options, "default_factory": dict}
            if resolved.get("type") == "array" and not resolved.get("minItems"):
                return kind, {**options, "default_factory": list}
            options["absent"] = True
        return Union[kind, None], {**options, "default": None}  # noqa: UP007 - `kind` may be a ForwardRef

    def _type(self, schema: Any, hint: str, depth: int) -> Any:
        """The annotation that a schema stands for."""
        if depth > _MAX_DEPTH or not isinstance(schema, dict):
            return Any
        if "$ref" in schema and not _siblings(schema):
            return self._reference(schema["$ref"], depth)
        schema = self._resolved(schema, depth)
        if "const" in schema:
            return _literal([schema["const"]])
        if "enum" in schema:
            return _literal(schema["enum"])
        variants = _variants(schema)
        if variants and not _is_model(schema):
            return self._union(schema, variants, hint, depth)
        kind = schema.get("type")
        if isinstance(kind, list):
            return self._union({}, [{**schema, "type": one} for one in kind], hint, depth)
        if kind == "object" or _is_model(schema):
            return self._object(schema, hint, depth)
        if kind == "array":
            return self._array(schema, hint, depth)
        if kind in _SCALARS:
            return _constrained(_FORMATS.get(str(schema.get("format")), _SCALARS[kind]), schema)
        return Any

    def _reference(self, reference: str, depth: int) -> Any:
        target = self._definition(reference)
        key = self._key(reference)
        if key in self._models:
            return self._models[key]
        if key in self._open:
            self._recursive = True
            return ForwardRef(key) if _is_model(target) else Any
        self._open.add(key)
        try:
            if not _is_model(target):
                return self._type(target, key, depth + 1)
            self._models[key] = self._model(target, key, BaseModel, depth + 1)
            return self._models[key]
        finally:
            self._open.discard(key)

    def _key(self, reference: str) -> str:
        """The class name for a reference, one of its own for each."""
        if reference not in self._keys:
            key = name = _class_name(reference.rpartition("/")[2])
            while key in self._keys.values():
                key = f"{name}{len(self._keys)}"
            self._keys[reference] = key
        return self._keys[reference]

    def _union(self, schema: Schema, variants: list[Any], hint: str, depth: int) -> Any:
        kinds = [self._type(one, f"{hint}{number}", depth + 1) for number, one in enumerate(variants, 1)]
        union = Union[tuple(kinds)]  # type: ignore[valid-type]  # noqa: UP007
        tag = (schema.get("discriminator") or {}).get("propertyName")
        if tag and len(kinds) > 1 and all(_is_tagged(kind, tag) for kind in kinds):
            return Annotated[union, Field(discriminator=tag)]
        return union

    def _object(self, schema: Schema, hint: str, depth: int) -> Any:
        if _is_model(schema):
            return self._model(schema, _class_name(str(schema.get("title") or hint)), BaseModel, depth)
        values = schema.get("additionalProperties")
        return dict[str, self._type(values, hint, depth + 1)] if isinstance(values, dict) else dict[str, Any]  # type: ignore[misc]

    def _array(self, schema: Schema, hint: str, depth: int) -> Any:
        parts = schema.get("prefixItems")
        if isinstance(parts, list) and parts and len(parts) == schema.get("maxItems", len(parts)):
            return tuple[tuple(self._type(one, f"{hint}{n}", depth + 1) for n, one in enumerate(parts, 1))]  # type: ignore[misc]
        items = self._type(schema.get("items"), f"{hint}Item", depth + 1)
        return _constrained(list[items], schema)  # type: ignore[valid-type]

    def _definition(self, reference: str) -> Schema:
        node: Any = self._document
        for part in reference.removeprefix("#").strip("/").split("/"):
            node = node.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(node, dict) else None
        return node if isinstance(node, dict) else {}

    def _resolved(self, schema: Schema, depth: int) -> Schema:
        """The schema with its own `$ref` followed and its `allOf` merged in."""
        result = dict(schema)
        while depth < _MAX_DEPTH and ("$ref" in result or "allOf" in result):
            depth += 1
            parts = [self._definition(result.pop("$ref"))] if "$ref" in result else []
            parts += result.pop("allOf", ())
            for part in parts:
                merged = {**part, **result}
                for key in ("properties", "$defs"):
                    if key in part and key in result:
                        merged[key] = {**part[key], **result[key]}
                if "required" in part and "required" in result:
                    merged["required"] = [*part["required"], *result["required"]]
                result = merged
        return result


def _siblings(schema: Schema) -> bool:
    """Whether a reference stands beside keywords that change what it means."""
    return bool(schema.keys() - {"$ref", "default", "title", "description", "examples", "deprecated"})


def _is_model(schema: Schema) -> bool:
    return bool(schema.get("properties"))


def _variants(schema: Schema) -> list[Any]:
    return schema.get("anyOf") or schema.get("oneOf") or []


def _extra(schema: Schema) -> Extra:
    return "forbid" if schema.get("additionalProperties") is False else "allow"


def _is_tagged(kind: Any, tag: str) -> bool:
    field = getattr(kind, "model_fields", {}).get(tag)
    return field is not None and get_origin(field.annotation) is Literal


def _literal(values: Any) -> Any:
    plain = isinstance(values, list) and all(v is None or isinstance(v, str | int) for v in values)
    return Literal[tuple(values)] if plain and values else Any


def _constrained(kind: Any, schema: Schema) -> Any:
    """The type with the bounds that the schema sets."""
    names = _CONSTRAINTS.get(str(schema.get("type")), {})
    bounds = {ours: schema[theirs] for theirs, ours in names.items() if schema.get(theirs) is not None}
    if kind not in (str, int, float) and "min_length" not in bounds and "max_length" not in bounds:
        return kind
    if kind not in (str, int, float) and schema.get("type") != "array":
        return kind
    if "pattern" in bounds and not _compiles(bounds["pattern"]):
        del bounds["pattern"]
    return Annotated[kind, Field(**bounds)] if bounds else kind


def _compiles(pattern: Any) -> bool:
    """Whether Python can read a pattern that may have been written for another language."""
    try:
        re.compile(str(pattern))
    except re.error:
        return False
    return True


def _class_name(text: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", text)
    joined = "".join(word[0].upper() + word[1:] for word in words)
    return joined if joined and joined[0].isalpha() else f"Model{joined}"


def _attribute(key: str, fields: Mapping[str, Any]) -> str:
    """A field name for a property that may not be a Python name, or would hide a method of the model."""
    name = re.sub(r"\W", "_", key).lstrip("_") or "field"
    if name[0].isdigit():
        name = f"field_{name}"
    if keyword.iskeyword(name) or name in _TAKEN:
        name += "_"
    while name in fields:
        name += "_"
    return name
