"""The audit tells a sound reward from one that pays for nothing."""

from __future__ import annotations

import json

import pytest

from openenv.envs.coding import CallCase, CodingTasks, Problem
from openenv.envs.coding.audit import POLICIES, audit, main
from openenv.envs.coding.workspace import Confinement


def test_only_the_oracle_earns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--split", "train", "--tasks", "3", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["policy"] for one in document] == list(POLICIES)
    for one in document:
        due = 1.0 if one["policy"] == "oracle" else 0.0
        assert set(one["returns"].values()) == {due}
        assert one["components"]["all_passed"] == due
        assert len(one["returns"]) == 3


def test_tasks_that_pay_the_wrong_policy_are_found(confinement: Confinement) -> None:
    given = Problem(
        "given", "function", "", (CallCase((), 1, "solution:f"),), files={"solution.py": "def f(): return 1"}
    )
    found = audit("train", provider=CodingTasks({"train": [given]}), confinement=confinement)
    sound = {one.policy: one.sound for one in found}
    assert sound == {"no-op": False, "empty": True, "crashing": True, "random": True, "oracle": True}


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--split", "test", "--tasks", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split() == ["oracle", "mean", "1.000", "min", "1", "max", "1", "passed", "1.000", "ok"]
