"""Episodes under injected faults are those of the fault-free run, or they are lost with a typed error."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.campaign import Campaign, Episode
from tests.faults.chain import judged, plan
from tests.faults.long import RATES, Sample, Watch, faults, sample, soak
from tests.faults.proxy import KINDS, REPLY_FAULTS, REQUEST_FAULTS, ChaosProxy, Faults
from tests.faults.served import ChainServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ChainServer]:
    with ChainServer(tmp_path) as running:
        yield running


def test_without_faults(server: ChainServer) -> None:
    report = Campaign(server.url, 60, 5).run()
    assert report.wrong == []
    assert (report.equal, report.reconnects) == (60, 0)
    assert server.judged(5) == (60 * 6, [])


def test_the_same_seed_makes_the_same_faults() -> None:
    def drawn(seed: int, lane: str, attempt: int) -> list[str]:
        with ChaosProxy(("127.0.0.1", 1), seed=seed, rates={"batch": 0.5, "": 0.0}) as proxy:
            faults = Faults(proxy, lane, attempt)
            return [faults.draw("to", REQUEST_FAULTS) + faults.draw("from", REPLY_FAULTS) for _ in range(100)]

    assert drawn(1, "batch-0", 0) == drawn(1, "batch-0", 0)
    assert drawn(1, "batch-0", 0) != drawn(1, "batch-0", 1)
    assert drawn(1, "batch-0", 0) != drawn(2, "batch-0", 0)
    assert not any(drawn(1, "sync-0", 0))


def test_the_journal_tells_what_is_wrong() -> None:
    actions = plan("k", 3)
    calls = ["k 0 0", *(f"k {number} {by}" for number, by in enumerate(actions, 1))]
    assert judged("\n".join(calls), 3) == (4, [])
    assert judged("\n".join(calls[:2]), 3) == (2, []), "an episode may end early"
    for wrong in (
        [*calls[:2], f"k 2 {actions[0]}"],  # a step made twice
        [*calls, f"k 4 {actions[0]}"],  # one too many
        [*calls[:2], "k 0 0"],  # begun twice
        [*calls[:2], calls[3]],  # one that was left out
        [calls[0], f"k 1 {actions[0] + 1}"],  # another action
    ):
        assert judged("\n".join(wrong), 3)[1]


def test_a_trajectory_that_is_not_the_foretold_one() -> None:
    episode, other = Episode("k", 3), Episode("other", 3)
    assert episode.observed({"result": episode.expected[0]}, 0) is None
    assert "counted as 2" in str(episode.observed({"result": episode.expected[1]}, 2))
    assert "observed" in str(other.observed({"result": episode.expected[0]}, 0))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_thousand_episodes(server: ChainServer) -> None:
    with ChaosProxy(server.address, seed=11, rates=RATES) as proxy:
        campaign = Campaign(proxy.url, 2000, 20, deadlines=0.1)
        killer = threading.Thread(target=_kill_at, args=(server, campaign, (500, 1000, 1500)))
        killer.start()
        report = campaign.run()
        killer.join()
        faults = proxy.faults
    calls, wrong = server.judged(20)
    assert report.wrong == []
    assert wrong == []
    assert report.episodes == 2000
    assert report.equal > 1400, report
    assert report.lost > 0, "the server was killed under its sessions"
    assert calls >= 21 * report.equal
    assert server.kills == 3
    assert set(faults) == KINDS, "every kind of fault was made"
    assert min(report.ways.values()) > 100, report.ways


def _kill_at(server: ChainServer, campaign: Campaign, numbers: tuple[int, ...]) -> None:
    deadline = time.monotonic() + 250
    for number in numbers:
        while campaign.report.episodes < number and time.monotonic() < deadline:
            time.sleep(0.01)
        server.kill()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_long_forms_give_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert faults(["--episodes", "60", "--kills", "1"]) == 0
    assert "verdict: good" in capsys.readouterr().out
    assert soak(["--minutes", "0.1"]) == 0
    assert "soak: flat" in capsys.readouterr().out


def test_what_grows_is_found_out(capsys: pytest.CaptureFixture[str]) -> None:
    watch = Watch({"it": 0}, 0.0)
    watch.samples["it"] = [Sample(50_000, 10 * n, 5) for n in range(40)]
    assert not watch.verdict()
    assert "descriptors: 145 -> 345 GROWS" in capsys.readouterr().out
    own = sample(os.getpid())
    assert min(own.memory, own.descriptors, own.threads) > 0
