from __future__ import annotations

import threading

import pytest

from openenv.errors import ReplyGoneError
from openenv.session.replies import ReplyLog


def test_a_new_request_is_run_and_kept() -> None:
    log, got = ReplyLog(), list[bytes]()
    assert log.take(0, got.append)
    log.finish(0, b"zero")
    assert got == []
    assert not log.take(0, got.append)
    assert got == [b"zero"]
    assert (log.last_id, len(log)) == (0, 1)


def test_a_claim_takes_what_is_new_only() -> None:
    log, got = ReplyLog(), list[bytes]()
    assert log.claim(3)
    assert not log.claim(3)
    assert not log.claim(2)
    log.finish(3, b"three")
    assert not log.take(3, got.append)
    assert got == [b"three"]


def test_one_that_runs_is_waited_for_by_all_who_ask() -> None:
    log, got = ReplyLog(), list[bytes]()
    assert log.take(5, got.append)
    assert not log.take(5, got.append)
    assert not log.take(5, got.append)
    assert got == []
    log.finish(5, b"five")
    assert got == [b"five"] * 2


def test_ids_that_were_passed_over_are_refused() -> None:
    log = ReplyLog()
    log.take(5, print)
    with pytest.raises(ReplyGoneError, match="up to 5"):
        log.take(4, print)


def test_the_oldest_go_first_and_never_one_that_runs() -> None:
    log, got = ReplyLog(most=2), list[bytes]()
    for id in range(4):
        assert log.take(id, got.append)
    for id in (1, 2, 3):
        log.finish(id, b"%d" % id)
    with pytest.raises(ReplyGoneError):
        log.take(1, got.append)
    assert not log.take(0, got.append)
    log.finish(0, b"0")
    assert got == [b"0"]


def test_bytes_are_bounded_and_the_last_is_kept() -> None:
    log, got = ReplyLog(most_bytes=10), list[bytes]()
    for id, size in enumerate((4, 4, 4, 100)):
        log.take(id, got.append)
        log.finish(id, b"x" * size)
    assert len(log) == 1
    assert not log.take(3, got.append)
    log.take(4, got.append)
    log.finish(4, b"")
    assert len(log) == 1


def test_each_request_runs_once_whatever_the_threads_do() -> None:
    log, runs, got = ReplyLog(), list[int](), list[bytes]()

    def ask() -> None:
        for id in range(2000):
            try:
                if log.take(id, got.append):
                    runs.append(id)
                    log.finish(id, b"%d" % id)
            except ReplyGoneError:
                pass

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == len(set(runs))
    assert len(runs) > 1000
