"""Every cheat is contained: as root and as an ordinary user, with namespaces and where they are denied."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from .arena import run_bounded
from .corpus import load

NAMES = [snippet.name for snippet in load()]
RUNS: dict[str, tuple[bool, list[str], str]] = {
    "as this user": (False, [], "A"),
    "as an ordinary user": (True, [], "A"),
    "namespaces denied": (False, ["--deny-namespaces"], "C"),
    "ordinary and denied": (True, ["--deny-namespaces"], "C"),
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", RUNS)
def test_the_whole_corpus_is_contained(name: str) -> None:
    """One test for a whole run, under one set of outer bounds."""
    ordinary, options, tier = RUNS[name]
    printed = run_bounded(["tests.hostile.runner", *options], ordinary=ordinary, timeout_s=800)
    found: dict[str, Any] = json.loads(printed)
    assert found["tier"] == tier
    assert (found["user"] != 0) if ordinary else (found["user"] == os.geteuid())
    assert set(found["verdicts"]) == set(NAMES)
    assert {one: verdict for one, verdict in found["verdicts"].items() if verdict} == {}


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    assert len(NAMES) >= 120
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.timeout(300)
def test_one_of_each_kind_is_contained() -> None:
    chosen = (
        "read_answers write_answers environment unix_abstract signal_server daemon unshare_user x32 "
        "loop_without_interrupt memory fork_bomb output forged_frames half_a_frame poisoned_modules "
        "exit_zero_at_exit"
    ).split()
    printed = run_bounded(["tests.hostile.runner", "--only", *chosen], ordinary=False, timeout_s=250)
    assert json.loads(printed)["verdicts"] == {name: [] for name in sorted(chosen, key=NAMES.index)}


@pytest.mark.timeout(300)
def test_the_judge_notices_what_gets_through() -> None:
    chosen = ["read_answers", "write_answers", "environment", "unix_path", "exit_zero_at_exit"]
    printed = run_bounded(
        ["tests.hostile.runner", "--naked", "--only", *chosen], ordinary=False, timeout_s=250
    )
    verdicts = json.loads(printed)["verdicts"]
    assert verdicts["read_answers"] == ["the secret"]
    assert "a file of the server changed" in verdicts["write_answers"]
    assert "PWNED" in verdicts["unix_path"]
    assert verdicts["exit_zero_at_exit"] == []
