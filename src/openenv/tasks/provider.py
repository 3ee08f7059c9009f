"""What has tasks, and how an episode gets one.

The choice is a pure function of seed and split: ``random.Random(f"task/{split}/{seed}")`` draws the
index, so every rollout of a group that shares a seed works on the same task, on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Coroutine, Iterable, Mapping
from difflib import get_close_matches
from inspect import isawaitable
from typing import Any, Protocol, runtime_checkable

from openenv._drive import Steps, discard, drive
from openenv.errors import TaskNotFoundError, UsageError
from openenv.tasks.task import Task


@runtime_checkable
class TaskProvider(Protocol):
    """Anything with tasks, structurally: a `TaskSet`, or an environment with these methods.

    Each method may be sync or async. They describe tasks and change nothing; what they return may be
    shown to anybody, so answers are not in it.
    """

    def list_splits(self) -> Any:
        """Return the splits: names, or objects with a ``name``."""

    def list_tasks(self, split: str) -> Any:
        """Return the tasks of a split; a large one may return only its first ones."""

    def num_tasks(self, split: str) -> Any:
        """Return how many tasks a split has."""

    def get_task(self, split: str, index: int) -> Any:
        """Return one task; raise `IndexError` if there is none at `index`."""

    def get_task_range(self, split: str, start: int | None = None, stop: int | None = None) -> Any:
        """Return the tasks of a slice."""


def select(
    tasks: TaskProvider, *, seed: int, split: str | None = None, index: int | str | None = None
) -> Task:
    """Return the task of an episode.

    Args:
        tasks: where it comes from.
        seed: draws the task if `index` does not name one.
        split: the split to take it from; by default the one called ``train``, else the first.
        index: its place in the split, or its id.

    Raises:
        TaskNotFoundError: there is no such split or task.
        UsageError: the provider is async: use `select_async`.
    """
    found = _select(tasks, seed, split, index)
    if isawaitable(found):
        discard(found)
        raise UsageError(f"the task provider {type(tasks).__name__} is async: use select_async")
    return found


async def select_async(
    tasks: TaskProvider, *, seed: int, split: str | None = None, index: int | str | None = None
) -> Task:
    """Return the task of an episode, from a sync or async provider; see `select`."""
    found = _select(tasks, seed, split, index)
    return await found if isawaitable(found) else found


def draw_index(seed: int, split: str, size: int) -> int:
    """Return the index that `seed` draws from a split of `size` tasks."""
    if size < 1:
        raise task_not_found(f"split {split!r} has no tasks", "split", split)
    return random.Random(f"task/{split}/{seed}").randrange(size)  # noqa: S311 (reproducible by design)


def default_split(names: Iterable[str]) -> str:
    """Return the split taken when none is named: ``train``, else the first."""
    known = list(names)
    if not known:
        raise UsageError("the environment's task provider has no splits")
    return "train" if "train" in known else known[0]


def check_split(split: str, names: Iterable[str]) -> None:
    """Raise `TaskNotFoundError` with a suggestion unless `split` is one of `names`."""
    known = list(names)
    if split not in known:
        nearest = get_close_matches(str(split), known, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise task_not_found(f"no split {split!r}; there is {', '.join(known)}{hint}", "split", split)


def check_index(index: int, split: str, size: int) -> None:
    """Raise `TaskNotFoundError` unless `index` is a place in a split of `size` tasks."""
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < size:
        raise task_not_found(f"no task {index!r} in split {split!r}, which has {size} tasks", "task", index)


def task_not_found(message: str, option: str, value: Any) -> TaskNotFoundError:
    """Return the error for a reset option that names no task."""
    entry = {"type": "task_not_found", "loc": [option], "msg": message, "input": value}
    return TaskNotFoundError(message, errors=[entry])


def _select(
    tasks: TaskProvider, seed: int, split: str | None, index: int | str | None
) -> Task | Coroutine[Any, Any, Task]:
    own_select = getattr(tasks, "select", None)
    if callable(own_select):
        chosen: Task | Coroutine[Any, Any, Task] = own_select(seed=seed, split=split, index=index)
        return chosen
    return drive(_selection(tasks, seed, split, index))


def _selection(tasks: TaskProvider, seed: int, split: str | None, index: int | str | None) -> Steps[Task]:
    names = [_name(entry) for entry in (yield from _settled(tasks.list_splits()))]
    if split is None:
        split = default_split(names)
    check_split(split, names)
    if isinstance(index, str):
        index = _place_of(index, split, (yield from _settled(tasks.list_tasks(split))))
    size = yield from _settled(tasks.num_tasks(split))
    if index is None:
        index = draw_index(seed, split, size)
    check_index(index, split, size)
    return Task.of((yield from _settled(tasks.get_task(split, index))), index, split, hidden=())


def _settled(value: Any | Awaitable[Any]) -> Steps[Any]:
    return (yield value) if isawaitable(value) else value


def _name(split: Any) -> str:
    return str(split["name"] if isinstance(split, Mapping) else getattr(split, "name", split))


def _place_of(name: str, split: str, specs: Iterable[Any]) -> int:
    for place, spec in enumerate(specs):
        if Task.of(spec, place, split, hidden=()).id == name:
            return place
    raise task_not_found(f"no task with id {name!r} in split {split!r}", "task", name)
