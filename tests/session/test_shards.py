from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from tests.session.environments import Count, Slow
from tests.session.test_hosts import wait_until

from openenv import Environment
from openenv.environment import describe
from openenv.errors import StepTimeoutError
from openenv.session import Limits, SessionManager, ThreadHost
from openenv.session.pace import PROOF, Pace
from openenv.session.quarantine import Quarantine
from openenv.session.shards import SHARDS, STUCK_S, Shard, ShardHost, Shards


@pytest.fixture
def shard() -> Iterator[Shard]:
    shard = Shard("test-shard", Quarantine())
    yield shard
    shard.stop()


def ran(shard: Shard) -> int:
    """Wait until the shard ran a job, and return the thread that did."""
    idents: list[int] = []
    shard.submit(lambda: idents.append(threading.get_ident()))
    wait_until(lambda: bool(idents))
    return idents[0]


class Lines:
    """Reads lines from a socket in a shard's thread."""

    def __init__(self, shard: Shard) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.read: list[bytes] = []
        self.threads: set[int] = set()
        self.parts = 0
        self._shard = shard
        shard.add_reader(self.ours.fileno(), self)

    def readable(self) -> None:
        data = os.read(self.ours.fileno(), 100)
        self.threads.add(threading.get_ident())
        if data == b"break":
            raise ValueError("broken reader")
        self._shard.submit(lambda: self.read.append(data))
        self._shard.defer(lambda: self.send(data.upper()))

    def send(self, data: bytes) -> None:
        self.ours.send(data)

    def part(self) -> None:
        self.parts += 1

    def close(self) -> None:
        self._shard.remove_reader(self.ours.fileno())
        self.ours.close()
        self.theirs.close()


def test_jobs_of_all_sessions_run_in_one_thread_in_order(shard: Shard) -> None:
    order: list[int] = []
    for index in range(100):
        shard.submit(lambda index=index: order.append(index))  # type: ignore[misc]
    assert ran(shard) == shard.thread_id != threading.get_ident()
    assert order == list(range(100))


def test_no_job_waits_for_a_wake_up_that_does_not_come(shard: Shard) -> None:
    late: list[int] = []

    def keep_asking() -> None:
        answered = threading.Event()
        for number in range(3000):
            answered.clear()
            shard.submit(answered.set)
            if not answered.wait(20):
                late.append(number)
                return

    askers = [threading.Thread(target=keep_asking) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert not late


def test_a_job_that_fails_does_not_end_the_shard(shard: Shard, caplog: pytest.LogCaptureFixture) -> None:
    before = ran(shard)
    shard.submit(lambda: 1 / 0)
    assert ran(shard) == before
    assert "ZeroDivisionError" in caplog.text


def test_a_socket_is_read_by_the_shard_and_replies_leave_at_the_end_of_a_turn(shard: Shard) -> None:
    lines = Lines(shard)
    lines.theirs.send(b"hello")
    assert lines.theirs.recv(100) == b"HELLO"
    assert lines.read == [b"hello"]
    assert lines.threads == {shard.thread_id}
    lines.theirs.send(b"break")
    lines.theirs.settimeout(5)
    ran(shard)
    lines.theirs.send(b"again")
    assert lines.theirs.recv(100) == b"AGAIN"
    lines.close()


def test_what_goes_wrong_at_the_end_of_a_turn_is_logged(
    shard: Shard, caplog: pytest.LogCaptureFixture
) -> None:
    shard.submit(lambda: shard.defer(lambda: 1 / 0))  # type: ignore[arg-type, return-value]
    ran(shard)
    wait_until(lambda: "ZeroDivisionError" in caplog.text)


def test_a_stuck_shard_is_seen_its_readers_part_and_come_back(shard: Shard) -> None:
    lines, released, sent, back = Lines(shard), threading.Event(), threading.Event(), threading.Event()

    def stuck() -> None:
        shard.defer(sent.set)
        released.wait(30)

    shard.submit(stuck)
    wait_until(shard.check, 30)
    assert sent.is_set()  # what was ready to leave has left
    assert lines.parts >= 1
    shard.when_recovered(back.set)
    assert shard.check()
    assert not back.is_set()
    released.set()
    wait_until(lambda: not shard.check())
    assert back.is_set()
    lines.close()


def test_an_abandoned_job_keeps_its_thread_and_a_new_one_takes_over(shard: Shard) -> None:
    quarantine = shard._quarantine
    released, before = threading.Event(), ran(shard)
    began = threading.Event()

    def stuck() -> None:
        began.set()
        released.wait(30)

    shard.submit(stuck)
    assert began.wait(5)
    shard.abandon()
    assert ran(shard) != before
    assert quarantine.count == 1
    released.set()
    wait_until(lambda: quarantine.count == 0)
    assert ran(shard) != before


def test_a_stopped_shard_runs_what_was_submitted_and_leaves_nothing() -> None:
    shard, order = Shard("test-stop", Quarantine()), list[int]()
    for index in range(10):
        shard.submit(lambda index=index: order.append(index))  # type: ignore[misc]
    shard.stop()
    wait_until(lambda: not any(t.name == "test-stop" for t in threading.enumerate()))
    assert order == list(range(10))
    assert shard._epoll.closed
    assert shard._bell == -1
    shard.submit(lambda: order.append(10))  # nobody runs it, and nothing breaks
    shard.remove_reader(0)


def test_places_go_to_the_shard_with_the_fewest_sessions() -> None:
    shards = Shards(Pace(), Quarantine())
    hosts = [shards.place() for _ in range(2 * SHARDS)]
    assert len({host.shard for host in hosts}) == SHARDS
    hosts[0].stop()
    hosts[0].stop()
    assert shards.place().shard is hosts[0].shard
    assert [host.shard.sessions for host in hosts[:SHARDS]] == [2] * SHARDS
    shards.shutdown()


def test_a_stuck_shard_makes_its_environment_slow() -> None:
    pace = Pace()
    for _ in range(PROOF):
        pace.record(0.0)
    assert pace.fast
    shards, released = Shards(pace, Quarantine()), threading.Event()
    shards.place().submit(lambda: released.wait(30))

    def seen() -> bool:
        shards.check()
        return not pace.fast

    wait_until(seen, 30)
    released.set()
    shards.shutdown()


class Bound(Environment):
    """Lives on one thread, where no event loop runs."""

    def __init__(self) -> None:
        super().__init__()
        self.threads = {threading.get_ident()}

    def reset(self) -> str:
        self.threads.add(threading.get_ident())
        return asyncio.run(self.greet())

    async def greet(self) -> str:
        return "ready"

    def step(self) -> int:
        self.threads.add(threading.get_ident())
        return len(self.threads)


async def test_sessions_of_a_class_that_proved_fast_go_to_shards() -> None:
    manager = SessionManager(describe(Count))
    first = await manager.open(owner="test")
    assert isinstance(first.host, ThreadHost)
    for _ in range(PROOF):
        await first.acall("reset")
    later = await manager.open(owner="test")
    assert isinstance(later.host, ShardHost)
    assert isinstance(first.host, ThreadHost)
    assert (await later.acall("reset", seed=1)).seed == 1
    assert await manager.close(later.id)
    assert later.host.shard.sessions == 0
    await manager.drain(1)


async def test_a_class_that_is_slow_or_asks_for_threads_stays_there() -> None:
    for manager in (SessionManager(describe(Count), host="thread"), SessionManager(describe(Slow))):
        first = await manager.open(owner="test")
        for _ in range(3):
            await first.acall("reset")
            if manager.spec.cls is Slow:
                await first.acall("step", action={"mode": "sleep", "seconds": 0.06})
        for _ in range(PROOF - 3):
            await first.acall("reset")
        assert isinstance((await manager.open(owner="test")).host, ThreadHost)
        await manager.drain(1)


async def test_an_environment_stays_on_its_shards_thread_and_may_run_a_loop() -> None:
    before = set(threading.enumerate())  # other tests' shards among them
    manager = SessionManager(describe(Bound), host="shard", max_sessions=8)
    sessions = [await manager.open(owner="test") for _ in range(8)]
    for session in sessions:
        assert (await session.acall("reset")).observation.result == "ready"
        assert (await session.acall("step", action={})).observation.result == 1
    shards = {t for t in threading.enumerate() if t.name.startswith("openenv-shard")} - before
    assert shards
    await manager.drain(1)
    wait_until(lambda: not any(shard.is_alive() for shard in shards), 30)


async def test_a_deadline_on_a_shard_answers_and_delays_nobody_for_long() -> None:
    manager = SessionManager(describe(Slow), host="shard", limits=Limits(step_timeout_s=0.3), max_sessions=9)
    stuck, *others = [await manager.open(owner="test") for _ in range(9)]
    for session in (stuck, *others):
        await session.acall("reset")
    started = time.monotonic()
    sleeping = asyncio.create_task(stuck.acall("step", action={"mode": "sleep", "seconds": 30}))
    await asyncio.sleep(0.05)
    answers = await asyncio.gather(*(one.acall("step", action={"mode": "answer"}) for one in others))
    assert len(answers) == 8
    with pytest.raises(StepTimeoutError):
        await sleeping
    assert time.monotonic() - started < 20
    assert (await stuck.acall("reset")).observation.result == "ready"
    assert manager.statistics().quarantined == 1
    await manager.drain(1)


async def test_the_manager_looks_after_its_shards() -> None:
    manager = SessionManager(describe(Slow), host="shard")
    session = await manager.open(owner="test")
    await session.acall("reset")
    assert isinstance(session.host, ShardHost)
    parted: list[bool] = []
    session.host.shard.when_recovered(lambda: parted.append(True))
    await session.acall("step", action={"mode": "sleep", "seconds": 2 * STUCK_S})
    for _ in range(100):
        if parted:
            break
        await asyncio.sleep(0.05)
    assert parted
    await manager.drain(1)
