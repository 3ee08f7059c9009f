from __future__ import annotations

import threading

from openenv.server.metrics import Counter, Histogram, Reading, Registry, ServerMetrics
from openenv.session.manager import ManagerStatistics
from openenv.types import StepOutcome


def test_a_counter_counts_by_label() -> None:
    counter = Counter("steps_total", "Steps.", ["outcome"])
    counter.add(1, "ok")
    counter.add(2, "ok")
    counter.add(1, "timeout")
    assert counter.value("ok") == 3
    assert counter.value("never") == 0
    assert list(counter.lines()) == [
        "# HELP steps_total Steps.",
        "# TYPE steps_total counter",
        'steps_total{outcome="ok"} 3',
        'steps_total{outcome="timeout"} 1',
    ]


def test_a_counter_without_labels_is_there_from_the_start() -> None:
    assert list(Counter("n_total", "N.").lines())[-1] == "n_total 0"


def test_label_values_are_escaped() -> None:
    counter = Counter("n_total", "N.", ["what"])
    counter.add(1, 'a"b\\c\nd')
    assert list(counter.lines())[-1] == r'n_total{what="a\"b\\c\nd"} 1'


def test_a_reading_is_read_when_asked() -> None:
    values = iter([1.0, 2.5])
    reading = Reading("level", "Level.", lambda: next(values))
    assert list(reading.lines())[1:] == ["# TYPE level gauge", "level 1"]
    assert list(reading.lines())[-1] == "level 2.5"
    assert "# TYPE n_total counter" in list(Reading("n_total", "N.", lambda: 1, "counter").lines())


def test_a_histogram_is_cumulative() -> None:
    histogram = Histogram("seconds", "Seconds.", (0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(value)
    assert histogram.count == 4
    assert list(histogram.lines())[2:] == [
        'seconds_bucket{le="0.1"} 2',
        'seconds_bucket{le="1"} 3',
        'seconds_bucket{le="+Inf"} 4',
        "seconds_sum 7.65",
        "seconds_count 4",
    ]


def test_updates_from_threads_are_not_lost() -> None:
    counter = Counter("n_total", "N.")
    histogram = Histogram("s", "S.", (1.0,))

    def work() -> None:
        for _ in range(2000):
            counter.add()
            histogram.observe(0.5)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.value() == 8000
    assert histogram.count == 8000


def test_a_registry_renders_what_was_registered_in_order() -> None:
    registry = Registry()
    registry.counter("a_total", "A.")
    registry.reading("b", "B.", lambda: 1)
    registry.histogram("c", "C.", (1.0,))
    names = [line.split()[2] for line in registry.render().splitlines() if line.startswith("# TYPE")]
    assert names == ["a_total", "b", "c"]
    assert registry.render().endswith("\n")


def test_the_servers_metrics() -> None:
    statistics = ManagerStatistics(2, 1, 8, 5, 3, 1, 0, 0, {}, False)
    metrics = ServerMetrics(lambda: statistics, lambda: 4)
    metrics.observe("step", StepOutcome.OK, 0.002)
    metrics.observe("reset", StepOutcome.ENV_ERROR, 0.1)
    text = metrics.registry.render()
    assert "openenv_sessions_active 2\n" in text
    assert "openenv_sessions_max 8\n" in text
    assert "openenv_sessions_queued 1\n" in text
    assert "openenv_sessions_opened_total 5\n" in text
    assert "openenv_sessions_reaped_total 1\n" in text
    assert "openenv_environments_quarantined_total 4\n" in text
    assert 'openenv_steps_total{outcome="ok"} 1\n' in text
    assert 'openenv_resets_total{outcome="env_error"} 1\n' in text
    assert 'openenv_step_duration_seconds_bucket{le="0.005"} 1\n' in text


def test_a_connections_share_counts_at_once_and_stays_when_it_ends() -> None:
    counter = Counter("bytes_total", "Bytes.", ["door"])
    counter.add(1, "ws")
    cell = counter.cell("ws")
    cell.amount += 10
    assert counter.value("ws") == 11
    cell.settle()
    cell.settle()
    assert counter.value("ws") == 11
    assert list(counter.lines())[-1] == 'bytes_total{door="ws"} 11'
