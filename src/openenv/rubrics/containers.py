"""Rubrics made of rubrics.

Wherever a container takes a rubric it also takes a plain reward function. In a list, children are
called ``rubric_0``, ``rubric_1`` ...; `WeightedSum` takes a mapping too and then uses its keys.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from inspect import isawaitable
from typing import Any, ClassVar

from openenv._drive import Steps, discard, drive
from openenv.rubrics.base import Rubric, Score
from openenv.rubrics.function import RewardFn, as_rubric

_WEIGHT_TOLERANCE = 1e-6


class Sequential(Rubric):
    """Runs rubrics in order and stops at the first that scores 0.

    The score is 0 if one of them scored 0, else the last one's; 1 if there are none.

    Args:
        *rubrics: what to run, cheapest first.
    """

    def __init__(self, *rubrics: Rubric | RewardFn) -> None:
        super().__init__()
        self._rubric_list = _register(self, rubrics)

    def forward(self, action: Any, observation: Any) -> Score:
        """Return 0, or the last rubric's score."""
        return drive(self._in_order(action, observation))

    def _in_order(self, action: Any, observation: Any) -> Steps[float]:
        score: float = 1.0
        for rubric in self._rubric_list:
            result = rubric(action, observation)
            score = (yield result) if isawaitable(result) else result
            if score == 0:
                return 0.0
        return score


class Gate(Rubric):
    """Passes a score on if it reaches a threshold, else 0.

    Args:
        rubric: what is scored.
        threshold: the least score that passes.
    """

    rubric: Rubric

    def __init__(self, rubric: Rubric | RewardFn, threshold: float = 1.0) -> None:
        super().__init__()
        if not math.isfinite(threshold):
            raise ValueError(f"threshold must be a finite number, got {threshold}")
        self.rubric = as_rubric(rubric)
        self.threshold = threshold

    def forward(self, action: Any, observation: Any) -> Score:
        """Return the score, or 0 below the threshold."""
        return drive(self._gated(action, observation))

    def _gated(self, action: Any, observation: Any) -> Steps[float]:
        result = self.rubric(action, observation)
        score: float = (yield result) if isawaitable(result) else result
        return score if score >= self.threshold else 0.0


class WeightedSum(Rubric):
    """The weighted mean of rubrics. Async ones run at the same time.

    Args:
        rubrics: what is scored; a mapping gives the parts their names.
        weights: one for each rubric, in the same form; they add up to 1.

    Raises:
        ValueError: the weights do not fit the rubrics, are not finite, or do not add up to 1.
    """

    def __init__(
        self,
        rubrics: Sequence[Rubric | RewardFn] | Mapping[str, Rubric | RewardFn],
        weights: Sequence[float] | Mapping[str, float],
    ) -> None:
        super().__init__()
        self._weights = _check_weights(rubrics, weights)
        self._rubric_list = _register(self, rubrics)

    @property
    def weights(self) -> list[float]:
        """The weights, in the order of the rubrics (a copy)."""
        return list(self._weights)

    def forward(self, action: Any, observation: Any) -> Score:
        """Return the weighted sum of all scores."""
        return drive(self._summed(action, observation))

    def _summed(self, action: Any, observation: Any) -> Steps[float]:
        scores: list[Any] = []
        try:
            for rubric in self._rubric_list:
                scores.append(rubric(action, observation))  # noqa: PERF401 (a failure must see the others)
        except BaseException:
            for score in scores:
                discard(score)
            raise
        if any(map(isawaitable, scores)):
            scores = yield _gather(scores)
        total: float = sum(score * weight for score, weight in zip(scores, self._weights, strict=True))
        return total


class RubricList(Rubric):
    """A list of rubrics for a parent that decides what to do with them; it has no score of its own.

    Args:
        rubrics: the first members.
    """

    _is_group: ClassVar[bool] = True

    def __init__(self, rubrics: Iterable[Rubric | RewardFn] | None = None) -> None:
        super().__init__()
        self._rubrics: list[Rubric] = []
        self.extend(rubrics or ())

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._is_group = cls.forward is RubricList.forward

    def forward(self, action: Any, observation: Any) -> Score:
        """Refuse: how to combine the members is the parent's business."""
        raise NotImplementedError("a RubricList has no score: call its members from the parent's forward()")

    def append(self, rubric: Rubric | RewardFn) -> None:
        """Add a rubric at the end."""
        member = as_rubric(rubric)
        self._rubric_children[name := f"rubric_{len(self._rubrics)}"] = member
        self.__dict__[name] = member
        self._rubrics.append(member)

    def extend(self, rubrics: Iterable[Rubric | RewardFn]) -> None:
        """Add several rubrics at the end."""
        for rubric in rubrics:
            self.append(rubric)

    def __len__(self) -> int:
        return len(self._rubrics)

    def __getitem__(self, index: int) -> Rubric:
        return self._rubrics[index]

    def __iter__(self) -> Iterator[Rubric]:
        return iter(self._rubrics)


class RubricDict(Rubric):
    """Rubrics by key for a parent that picks among them; it has no score of its own.

    A key is also an attribute, unless the class has an attribute of that name already.

    Args:
        rubrics: the first members.
    """

    _is_group: ClassVar[bool] = True

    def __init__(self, rubrics: Mapping[str, Rubric | RewardFn] | None = None) -> None:
        super().__init__()
        self._rubric_dict: dict[str, Rubric] = {}
        self.update(rubrics or {})

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._is_group = cls.forward is RubricDict.forward

    def forward(self, action: Any, observation: Any) -> Score:
        """Refuse: which member to call is the parent's business."""
        raise NotImplementedError("a RubricDict has no score: call its members from the parent's forward()")

    def __setitem__(self, key: str, rubric: Rubric | RewardFn) -> None:
        member = as_rubric(rubric)
        self._rubric_dict[key] = self._rubric_children[key] = member
        if not hasattr(type(self), key) and key not in ("_rubric_dict", "_rubric_children"):
            self.__dict__[key] = member

    def __getitem__(self, key: str) -> Rubric:
        return self._rubric_dict[key]

    def __contains__(self, key: object) -> bool:
        return key in self._rubric_dict

    def __len__(self) -> int:
        return len(self._rubric_dict)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rubric_dict)

    def keys(self) -> KeysView[str]:
        """Return the keys."""
        return self._rubric_dict.keys()

    def values(self) -> ValuesView[Rubric]:
        """Return the rubrics."""
        return self._rubric_dict.values()

    def items(self) -> ItemsView[str, Rubric]:
        """Return pairs of key and rubric."""
        return self._rubric_dict.items()

    def update(self, rubrics: Mapping[str, Rubric | RewardFn]) -> None:
        """Add or replace several rubrics."""
        for key, rubric in rubrics.items():
            self[key] = rubric


def _register(
    parent: Rubric, rubrics: Sequence[Rubric | RewardFn] | Mapping[str, Rubric | RewardFn]
) -> list[Rubric]:
    named = rubrics if isinstance(rubrics, Mapping) else {f"rubric_{i}": r for i, r in enumerate(rubrics)}
    members = {name: as_rubric(rubric) for name, rubric in named.items()}
    for name, member in members.items():
        parent._rubric_children[name] = member
        if not hasattr(type(parent), name):
            parent.__dict__.setdefault(name, member)
    return list(members.values())


def _check_weights(
    rubrics: Sequence[Any] | Mapping[str, Any], weights: Sequence[float] | Mapping[str, float]
) -> list[float]:
    values = _in_order_of(rubrics, weights)
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"weights must be finite numbers, got {values}")
    if abs(math.fsum(values) - 1.0) > _WEIGHT_TOLERANCE:
        raise ValueError(f"weights must add up to 1, these add up to {math.fsum(values)}: {values}")
    return values


def _in_order_of(
    rubrics: Sequence[Any] | Mapping[str, Any], weights: Sequence[float] | Mapping[str, float]
) -> list[float]:
    if isinstance(rubrics, Mapping):
        if not isinstance(weights, Mapping) or set(rubrics) != set(weights):
            raise ValueError(
                f"weights must be a mapping with the rubrics' keys {sorted(rubrics)}, got {weights}"
            )
        return [weights[name] for name in rubrics]
    if isinstance(weights, Mapping) or len(weights) != len(rubrics):
        raise ValueError(f"{len(rubrics)} rubrics need a list of as many weights, got {weights}")
    return list(weights)


async def _gather(scores: Iterable[Any]) -> list[float]:
    """Await every awaitable among `scores` at the same time; on a failure, stop the others."""
    pending = [asyncio.ensure_future(_value(score)) for score in scores]
    try:
        return await asyncio.gather(*pending)
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


async def _value(score: float | Awaitable[float]) -> float:
    return await score if isawaitable(score) else score
