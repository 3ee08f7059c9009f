"""What every suite is given, and the interleaving they share."""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class Context:
    """How much to measure, and with what.

    Attributes:
        published_python: interpreter of a venv that holds the published package.
        quick: fewer rounds and sessions: for a look, not for a claim.
    """

    published_python: str
    quick: bool

    def pick(self, full: ItemT, quick: ItemT) -> ItemT:
        """`quick` in a quick run, else `full`."""
        return quick if self.quick else full


def interleave(
    items: Sequence[ItemT],
    rounds: int,
    measure: Callable[[ItemT], dict[str, float]],
    name: Callable[[ItemT], str],
) -> dict[str, dict[str, Any]]:
    """Measure every item once per round, in a new order each round, and take medians.

    Interleaving spreads a drift of the machine over all candidates alike.
    """
    samples: dict[str, list[dict[str, float]]] = {name(item): [] for item in items}
    for number in range(rounds):
        order = list(items)
        random.Random(number).shuffle(order)
        for item in order:
            samples[name(item)].append(measure(item))
    return {key: summarise(rows) for key, rows in samples.items()}


def summarise(rows: Iterable[dict[str, float]]) -> dict[str, Any]:
    """Medians of each figure, with the rounds they come from."""
    kept = list(rows)
    medians: dict[str, Any] = {key: statistics.median(row[key] for row in kept) for key in kept[0]}
    return {**medians, "rounds": kept}


def progress(text: str) -> None:
    """Say on standard error what is being measured."""
    print(text, file=sys.stderr, flush=True)
