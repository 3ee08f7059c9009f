"""A set of tasks from data in memory, from anything indexable, or from a seeded generator."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol, runtime_checkable

from openenv.errors import UsageError
from openenv.tasks.provider import check_index, check_split, default_split, draw_index, task_not_found
from openenv.tasks.task import Task

MakeItem = Callable[[random.Random, int], Any]
"""``make(rng, index) -> item``: builds the item at an index from a generator seeded for that place."""

_PREVIEW = 1000
"""Most tasks that `TaskSet.list_tasks` returns."""


@runtime_checkable
class Items(Protocol):
    """The items of one split: indexable, of known length."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


Source = Iterable[Any] | Items | MakeItem


class TaskSet:
    """Tasks in splits; a `TaskProvider`.

    One source makes the split ``train``; a mapping names its splits. A source is

    * a list of items, or another iterable (read once, at once),
    * something with a length and an index, such as a dataset (items are read when they are needed), or
    * a function ``make(rng, index)`` that builds items; `sizes` says how many there are. Its `rng` is
      seeded by `seed`, split and index alone.

    An item is a mapping, dataclass or pydantic model, whose ``id`` names the task, or any other value.

    Example::

        TaskSet({"train": [{"question": "6 * 7", "answer": "42"}], "test": [...]})
        TaskSet(make_sum, sizes={"train": 10_000, "test": 500})
        TaskSet(questions, fractions={"train": 0.8, "validation": 0.1, "test": 0.1})

    Args:
        source: where the items come from.
        hidden: fields that never leave the server; so do those with a leading underscore.
        sizes: number of generated tasks, for all splits or by split.
        fractions: deal one source out to these splits at random; they add up to 1.
        seed: seeds generated items and the dealing.

    Raises:
        UsageError: the arguments do not fit together.
    """

    def __init__(
        self,
        source: Source | Mapping[str, Source],
        *,
        hidden: Collection[str] = ("answer",),
        sizes: int | Mapping[str, int] | None = None,
        fractions: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        self._hidden = frozenset([hidden] if isinstance(hidden, str) else hidden)
        self._places: dict[str, dict[str, int]] = {}
        if fractions is not None:
            if isinstance(source, Mapping) or callable(source):
                raise UsageError("fractions deal out one list of items; this source already has its splits")
            self._splits = _deal(_items(source, "", None, seed), fractions, seed)
            return
        named = source if isinstance(source, Mapping) else dict.fromkeys(_split_names(sizes), source)
        self._splits = {
            name: _items(
                one, name, sizes[name] if isinstance(sizes, Mapping) and name in sizes else sizes, seed
            )
            for name, one in named.items()
        }
        default_split(self._splits)

    def list_splits(self) -> list[str]:
        """Return the names of the splits."""
        return list(self._splits)

    def num_tasks(self, split: str) -> int:
        """Return how many tasks a split has."""
        return len(self._of(split))

    def list_tasks(self, split: str) -> list[dict[str, Any]]:
        """Return the public part of a split's tasks, the first 1000 of a larger one."""
        return [self.get_task(split, index) for index in islice(range(self.num_tasks(split)), _PREVIEW)]

    def get_task(self, split: str, index: int) -> dict[str, Any]:
        """Return the public part of one task.

        Raises:
            TaskNotFoundError: there is none at that place.
        """
        return self.task(split, index).public()

    def get_task_range(
        self, split: str, start: int | None = None, stop: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the public part of the tasks that a Python slice would take."""
        return [
            self.get_task(split, index) for index in range(*slice(start, stop).indices(self.num_tasks(split)))
        ]

    def task(self, split: str, index: int) -> Task:
        """Return a task with its hidden part, for the environment's own use.

        Raises:
            TaskNotFoundError: there is none at that place.
        """
        items = self._of(split)
        check_index(index, split, len(items))
        task = Task.of(items[index], index, split, self._hidden)
        if isinstance(items, _Generated):
            task.id = f"{split}-{index}"
        return task

    def select(self, *, seed: int, split: str | None = None, index: int | str | None = None) -> Task:
        """Return the task of an episode: by place or id, or as the seed draws it.

        Args:
            seed: draws the task if `index` does not name one.
            split: the split to take it from; by default ``train``, else the first. An id without a
                split is looked up in all of them.
            index: its place in the split, or its id.

        Raises:
            TaskNotFoundError: there is no such split or task.
        """
        if isinstance(index, str):
            return self._by_id(index, split)
        if split is None:
            split = default_split(self._splits)
        return self.task(split, draw_index(seed, split, self.num_tasks(split)) if index is None else index)

    def __repr__(self) -> str:
        return f"TaskSet({', '.join(f'{name}={len(items)}' for name, items in self._splits.items())})"

    def _of(self, split: str) -> Items:
        check_split(split, self._splits)
        return self._splits[split]

    def _by_id(self, name: str, split: str | None) -> Task:
        for one in self._splits if split is None else [split]:
            place = self._place(one, name)
            if place is not None:
                return self.task(one, place)
        where = "" if split is None else f" in split {split!r}"
        raise task_not_found(f"no task with id {name!r}{where}", "task", name)

    def _place(self, split: str, name: str) -> int | None:
        items = self._of(split)
        if isinstance(items, _Generated):
            number = name.removeprefix(f"{split}-")
            known = number.isdecimal() and name == f"{split}-{int(number)}" and int(number) < len(items)
            return int(number) if known else None
        if split not in self._places:
            self._places[split] = {self.task(split, place).id: place for place in range(len(items))}
        return self._places[split].get(name)


class _Generated:
    """Items built when they are asked for, each from its own seeded generator."""

    def __init__(self, make: MakeItem, size: int, split: str, seed: int) -> None:
        self._make, self._size, self._key = make, size, f"item/{split}/{seed}"

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int, /) -> Any:
        rng = random.Random(f"{self._key}/{index}")  # noqa: S311 (reproducible by design)
        return self._make(rng, index)


class _Dealt:
    """The items of another source at some of its places."""

    def __init__(self, items: Items, places: Sequence[int]) -> None:
        self._items, self._places = items, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int, /) -> Any:
        return self._items[self._places[index]]


def _split_names(sizes: int | Mapping[str, int] | None) -> list[str]:
    return list(sizes) if isinstance(sizes, Mapping) else ["train"]


def _items(source: Source, split: str, size: Any, seed: int) -> Items:
    if callable(source):
        if not isinstance(size, int) or size < 0:
            raise UsageError(f"a generator of tasks needs sizes=, the number of tasks, for split {split!r}")
        return _Generated(source, size, split, seed)
    if size is not None and not isinstance(size, Mapping):
        raise UsageError(f"sizes= is for generated tasks; split {split!r} is a list, which has its length")
    if isinstance(source, (str, bytes)):
        raise UsageError("a string is not a list of tasks: read the file and pass its items")
    if isinstance(source, Items) and not isinstance(source, list):
        return source
    if isinstance(source, Iterable):
        return tuple(source)
    raise UsageError(f"{type(source).__name__} is no source of tasks: give a list, a dataset or a function")


def _deal(items: Items, fractions: Mapping[str, float], seed: int) -> dict[str, Items]:
    if not fractions or min(fractions.values()) < 0 or abs(sum(fractions.values()) - 1) > 1e-6:
        raise UsageError(f"fractions must be positive and add up to 1, got {dict(fractions)}")
    places = list(range(len(items)))
    random.Random(f"deal/{seed}").shuffle(places)  # noqa: S311 (reproducible by design)
    dealt: dict[str, Items] = {}
    start, total = 0, 0.0
    for name, fraction in fractions.items():
        total += fraction
        stop = round(total * len(places))
        dealt[name] = _Dealt(items, sorted(places[start:stop]))
        start = stop
    return dealt
