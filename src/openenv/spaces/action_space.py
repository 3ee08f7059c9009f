"""The space of valid actions of an environment."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, ValidationError

from openenv.errors import InvalidActionError, SamplingError
from openenv.protocol.jsonvalue import to_jsonable
from openenv.spaces.drawing import Drawer
from openenv.spaces.validation import Place, conforms

_ATTEMPTS = 100
"""Draws until an action is given up that only the environment's own validators refuse."""


@runtime_checkable
class ActionSpec(Protocol):
    """What a space needs to know of an environment; `EnvironmentSpec` has it."""

    def action_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of an action."""

    def validate_action(self, value: Any, /) -> Any:
        """Return the action model of `value`, or raise `InvalidActionError`."""


class ActionSpace:
    """The valid actions of an environment, to draw from and to test membership in.

    It has a generator of its own: no global one is read or touched.

    Args:
        source: an environment's spec, an action model, or a JSON Schema.
        tools: the tools of a tool environment, in the wire form (``name``, ``input_schema``) or as
            objects with these attributes. Actions then call one of them with arguments that fit it. A
            spec's own tools are the default.
        seed: seeds the draws; None for a different sequence each time.
    """

    def __init__(
        self,
        source: ActionSpec | type[BaseModel] | Mapping[str, Any],
        *,
        tools: Iterable[Any] | None = None,
        seed: int | None = None,
    ) -> None:
        self._source = source
        self._rng = random.Random(seed)  # noqa: S311 (not for secrets)
        if isinstance(source, Mapping):
            self.schema: dict[str, Any] = dict(source)
        elif isinstance(source, type):
            self.schema = source.model_json_schema()
        else:
            self.schema = source.action_schema()
        known = getattr(source, "tools", ()) if tools is None else tools
        self._arguments = dict(map(_tool, known or ()))
        self._tools = {name: Drawer(schema, self._rng) for name, schema in self._arguments.items()}
        self._drawer = Drawer(self.schema, self._rng)

    def seed(self, seed: int | None = None) -> None:
        """Start the sequence of draws that belongs to `seed`."""
        self._rng.seed(seed)

    def sample(self) -> Any:
        """Return a random valid action: a model if the source has one, else a dict.

        Raises:
            SamplingError: no valid action was found; it names the field and the reason.
        """
        errors: list[dict[str, Any]] = []
        for _ in range(_ATTEMPTS):
            drawn, drawer, prefix = self._draw()
            try:
                action = self._accept(drawn)
            except InvalidActionError as error:
                errors = error.errors or [{"loc": [], "msg": error.message}]
            else:
                drawer.accept()
                return action
            for entry in errors:
                drawer.refuse(_place(entry.get("loc", ()), drawn)[len(prefix) :])
        raise _refused(errors[0])

    def contains(self, action: Any) -> bool:
        """Say whether `action` (a dict or a model) is valid; the arguments of a tool call count too."""
        plain = to_jsonable(action)
        arguments = self._arguments.get(str(plain.get("tool_name"))) if isinstance(plain, dict) else None
        if arguments is not None and not conforms(plain.get("arguments", {}), arguments):
            return False
        if isinstance(self._source, Mapping):
            return conforms(plain, self.schema)
        try:
            self._accept(action)
        except InvalidActionError:
            return False
        return True

    def __contains__(self, action: Any) -> bool:
        return self.contains(action)

    def __repr__(self) -> str:
        kinds = f"tools={list(self._tools)}" if self._tools else repr(self.schema.get("title", "schema"))
        return f"ActionSpace({kinds})"

    def _draw(self) -> tuple[Any, Drawer, Place]:
        """Return drawn data, what drew it, and where in the data that stands."""
        if not self._tools:
            return self._drawer.draw(), self._drawer, ()
        name = self._rng.choice(list(self._tools))
        arguments = self._tools[name].draw()
        call = {"type": "call_tool", "tool_name": name, "arguments": arguments}
        return call, self._tools[name], ("arguments",)

    def _accept(self, value: Any) -> Any:
        if isinstance(self._source, Mapping):
            if not self._tools and not conforms(value, self.schema):
                raise InvalidActionError("the value does not conform to the schema")
            return value
        if not isinstance(self._source, type):
            return self._source.validate_action(value)
        if isinstance(value, self._source):
            return value
        try:
            return self._source.model_validate_json(json.dumps(to_jsonable(value)))
        except ValidationError as error:
            raise InvalidActionError(str(error), errors=[dict(entry) for entry in error.errors()]) from error


def _refused(entry: Mapping[str, Any]) -> SamplingError:
    field = ".".join(map(str, entry.get("loc", ())))
    reason = f"{_ATTEMPTS} drawn actions were refused, the last because: {entry.get('msg', 'it is invalid')}"
    return SamplingError(f"{field}: {reason}" if field else reason, field=field)


def _tool(tool: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(tool, Mapping):
        return str(tool["name"]), dict(
            tool.get("input_schema") or tool.get("inputSchema") or {"type": "object"}
        )
    return str(tool.name), dict(tool.input_schema or {"type": "object"})


def _place(location: Iterable[Any], value: Any) -> Place:
    """Return the part of an error's location that is a path in `value`: validators add names of their own."""
    place: list[str | int] = []
    for part in location:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            continue
        place.append(part)
    return tuple(place)
