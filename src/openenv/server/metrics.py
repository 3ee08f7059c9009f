"""Counters, gauges and histograms in the text format of Prometheus (version 0.0.4).

Every update takes the lock of one metric for a few additions; updates come from session threads, reads
from `GET /metrics`. Numbers that somebody else keeps are read when asked for, by a function.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from openenv.session.manager import ManagerStatistics
from openenv.types import StepOutcome

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

STEP_BUCKETS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds, in seconds, of the step-duration histogram: a no-op game to a long tool call."""


class Counter:
    """A number that only grows, one per combination of label values.

    Args:
        name: name of the metric, which ends in ``_total``.
        text: what it counts.
        labels: names of its labels.
    """

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        self.name, self.text, self.labels = name, text, tuple(labels)
        self._values: dict[tuple[str, ...], float] = {} if labels else {(): 0.0}
        self._cells: set[Cell] = set()
        self._lock = threading.Lock()

    def add(self, amount: float = 1.0, *values: str) -> None:
        """Add `amount` at the given label values."""
        with self._lock:
            self._values[values] = self._values.get(values, 0.0) + amount

    def cell(self, *values: str) -> Cell:
        """A part of the count at the given label values that one writer at a time adds to."""
        cell = Cell(self, values)
        with self._lock:
            self._cells.add(cell)
        return cell

    def settle(self, cell: Cell) -> None:
        """Take over what a cell has counted; the cell is used no more."""
        with self._lock:
            if cell in self._cells:
                self._cells.remove(cell)
                self._values[cell.values] = self._values.get(cell.values, 0.0) + cell.amount

    def value(self, *values: str) -> float:
        """The count at the given label values."""
        return self._totals().get(values, 0.0)

    def _totals(self) -> dict[tuple[str, ...], float]:
        with self._lock:
            totals = dict(self._values)
            for cell in self._cells:
                totals[cell.values] = totals.get(cell.values, 0.0) + cell.amount
        return totals

    def lines(self) -> Iterator[str]:
        """Yield the metric in Prometheus's text format."""
        yield from _head(self.name, self.text, "counter")
        for values, amount in sorted(self._totals().items()):
            yield f"{self.name}{_labels(self.labels, values)} {_number(amount)}"


class Cell:
    """One connection's share of a counter: no lock, for it has one writer at a time.

    Attributes:
        amount: what it has counted.
        values: its label values.
    """

    __slots__ = ("_counter", "amount", "values")

    def __init__(self, counter: Counter, values: tuple[str, ...]) -> None:
        self._counter = counter
        self.values = values
        self.amount = 0.0

    def settle(self) -> None:
        """Hand the count over; call it when the connection ends."""
        self._counter.settle(self)


class Reading:
    """A number that somebody else keeps, read at the moment of asking.

    Args:
        name: name of the metric.
        text: what it measures.
        read: gives the value.
        kind: ``gauge``, or ``counter`` for a number that only grows.
    """

    def __init__(self, name: str, text: str, read: Callable[[], float], kind: str = "gauge") -> None:
        self.name, self.text, self.kind, self._read = name, text, kind, read

    def lines(self) -> Iterator[str]:
        """Yield the metric in Prometheus's text format."""
        yield from _head(self.name, self.text, self.kind)
        yield f"{self.name} {_number(self._read())}"


class Histogram:
    """How often values fell under each of some bounds.

    Args:
        name: name of the metric.
        text: what it measures, with its unit.
        bounds: upper bounds of the buckets, ascending.
    """

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self.name, self.text, self.bounds = name, text, tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, value: float) -> None:
        """Count one value."""
        bucket = bisect_left(self.bounds, value)
        with self._lock:
            self._counts[bucket] += 1
            self._sum += value

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self._counts)

    def lines(self) -> Iterator[str]:
        """Yield the metric in Prometheus's text format."""
        yield from _head(self.name, self.text, "histogram")
        with self._lock:
            counts, total = list(self._counts), self._sum
        below = 0
        for bound, count in zip((*map(_number, self.bounds), "+Inf"), counts, strict=True):
            below += count
            yield f'{self.name}_bucket{{le="{bound}"}} {below}'
        yield f"{self.name}_sum {_number(total)}"
        yield f"{self.name}_count {below}"


class Registry:
    """The metrics of one server."""

    def __init__(self) -> None:
        self._metrics: list[Counter | Reading | Histogram] = []

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        """Register and return a counter."""
        metric = Counter(name, text, labels)
        self._metrics.append(metric)
        return metric

    def reading(self, name: str, text: str, read: Callable[[], float], kind: str = "gauge") -> None:
        """Register a number that `read` gives."""
        self._metrics.append(Reading(name, text, read, kind))

    def histogram(self, name: str, text: str, bounds: Sequence[float]) -> Histogram:
        """Register and return a histogram."""
        metric = Histogram(name, text, bounds)
        self._metrics.append(metric)
        return metric

    def render(self) -> str:
        """All metrics in Prometheus's text format."""
        return "".join(f"{line}\n" for metric in self._metrics for line in metric.lines())


class ServerMetrics:
    """What a server counts.

    Args:
        statistics: gives the session manager's counts.
        quarantined: gives how many environments were abandoned so far.
    """

    def __init__(self, statistics: Callable[[], ManagerStatistics], quarantined: Callable[[], int]) -> None:
        self.registry = make = Registry()
        make.reading("openenv_sessions_active", "Sessions alive.", lambda: statistics().active)
        make.reading("openenv_sessions_max", "Session slots.", lambda: statistics().max_sessions)
        make.reading(
            "openenv_sessions_queued", "Callers that wait for a session slot.", lambda: statistics().queued
        )
        make.reading(
            "openenv_sessions_opened_total", "Sessions opened.", lambda: statistics().opened, "counter"
        )
        make.reading(
            "openenv_sessions_reaped_total",
            "Sessions closed because their lease ran out.",
            lambda: statistics().reaped,
            "counter",
        )
        make.reading(
            "openenv_environments_quarantined_total",
            "Environments abandoned because a call passed its deadline.",
            quarantined,
            "counter",
        )
        self.refused = make.counter(
            "openenv_sessions_refused_total", "Sessions that could not be opened, by error code.", ["code"]
        )
        self.resets = make.counter("openenv_resets_total", "Resets, by outcome.", ["outcome"])
        self.steps = make.counter("openenv_steps_total", "Steps, by outcome.", ["outcome"])
        self.step_seconds = make.histogram(
            "openenv_step_duration_seconds", "Time a step took, in seconds.", STEP_BUCKETS
        )
        self.received = make.counter("openenv_received_bytes_total", "Payload bytes received.", ["door"])
        self.sent = make.counter("openenv_sent_bytes_total", "Payload bytes sent.", ["door"])
        self.rejected = make.counter(
            "openenv_requests_rejected_total", "Requests refused by the security policy.", ["status"]
        )

    def observe(self, call: str, outcome: StepOutcome, seconds: float) -> None:
        """Count one call of a session; an observer of `openenv.session`."""
        if call == "step":
            self.steps.add(1, outcome._value_)
            self.step_seconds.observe(seconds)
        else:
            self.resets.add(1, outcome._value_)


def _head(name: str, text: str, kind: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    if not names:
        return ""
    pairs = (f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True))
    return "{" + ",".join(pairs) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
