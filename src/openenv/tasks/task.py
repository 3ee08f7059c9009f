"""One problem instance."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, final

from pydantic import BaseModel


@final
class Task:
    """One problem instance, as the environment sees it: with its answer.

    It is deliberately no dataclass or model: nothing that turns values into JSON sees inside, so a task
    put into an observation by mistake shows its id and not its answer. `public` is what may leave.

    Attributes:
        id: names it within the task set; ``"{split}-{index}"`` unless the item brought an ``id``.
        index: its place in the split, from 0.
        split: the split it belongs to.
        inputs: what the policy may know: a dict, or the item itself if it has no fields.
        hidden: what only the environment may know, such as the answer.
    """

    __slots__ = ("hidden", "id", "index", "inputs", "split")

    id: str
    index: int
    split: str
    inputs: Any
    hidden: dict[str, Any]

    def __init__(
        self, id: str, index: int, split: str, inputs: Any = None, hidden: Mapping[str, Any] | None = None
    ) -> None:
        self.id = id
        self.index = index
        self.split = split
        self.inputs = {} if inputs is None else inputs
        self.hidden = dict(hidden or {})

    @classmethod
    def of(cls, item: Any, index: int, split: str, hidden: Collection[str] = ("answer",)) -> Task:
        """Make the task of one item of a task set.

        Args:
            item: a mapping, dataclass or pydantic model (its fields are split into inputs and hidden
                ones, its ``id`` names the task), a task, or any other value.
            index: its place.
            split: its split.
            hidden: names of the fields that never leave the server; so do those with a leading underscore.
        """
        if isinstance(item, Task):
            return cls(item.id, index, split, _own(item.inputs), _own(item.hidden))
        fields = _fields(item)
        if fields is None:
            return cls(f"{split}-{index}", index, split, _own(item))
        name = fields.pop("id", None)
        secret = {key: fields.pop(key) for key in list(fields) if key in hidden or key.startswith("_")}
        return cls(
            f"{split}-{index}" if name is None else str(name), index, split, _own(fields), _own(secret)
        )

    @property
    def answer(self) -> Any:
        """The hidden field ``answer``, None if there is none."""
        return self.hidden.get("answer")

    def __getitem__(self, name: str) -> Any:
        """Return the field `name`, hidden or not."""
        if isinstance(self.inputs, Mapping) and name in self.inputs:
            return self.inputs[name]
        return self.hidden[name]

    def public(self) -> dict[str, Any]:
        """Return what may leave the server: id, index, split and the inputs, as one flat dict.

        Inputs without fields stand under ``"inputs"``.
        """
        inputs = self.inputs if isinstance(self.inputs, Mapping) else {"inputs": self.inputs}
        return {**inputs, "id": self.id, "index": self.index, "split": self.split}

    def __repr__(self) -> str:
        return f"Task(id={self.id!r}, split={self.split!r}, index={self.index})"


def _fields(item: Any) -> dict[str, Any] | None:
    """Return a shallow dict of an item's fields, None if it has none."""
    if isinstance(item, Mapping):
        return {str(key): value for key, value in item.items()}
    if isinstance(item, BaseModel):
        return dict(item)
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
    return None


def _own(value: Any) -> Any:
    """Copy lists and dicts, so that what an episode does to its task stays in that episode."""
    if isinstance(value, dict):
        return {key: _own(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_own(inner) for inner in value]
    if isinstance(value, set):
        return set(value)
    return value
