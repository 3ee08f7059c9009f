"""`openenv run`: numbers that can be checked by hand, failures that are counted and not rewarded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openenv.catalog import resolve
from openenv.server.app import make_app
from openenv.server.run import BackgroundServer

from .conftest import Invoke
from .environments import CALM, GAME, STRICT


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    (tmp_path / "calm.py").write_text(CALM)
    (tmp_path / "game.py").write_text(GAME)
    (tmp_path / "strict.py").write_text(STRICT)


def summary(invoke: Invoke, *argv: str, code: int = 0) -> dict[str, Any]:
    result = invoke("run", *argv, "--json")
    assert result.exit_code == code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_the_sum_is_that_of_the_episodes(invoke: Invoke) -> None:
    facts = summary(invoke, "calm.py", "--episodes", "20", "--seed", "5")
    episodes = facts["rollouts"]
    assert facts["schema_version"] == 1
    assert facts["episodes"] == len(episodes) == 20
    assert facts["steps"] == 80
    assert facts["length"] == {"mean": 4.0, "std": 0.0, "min": 4.0, "max": 4.0}
    assert [episode["seed"] for episode in episodes] == list(range(5, 25))
    returns = [episode["return"] for episode in episodes]
    assert facts["return"]["mean"] == pytest.approx(sum(returns) / 20)
    assert facts["return"]["min"] == min(returns) < max(returns) == facts["return"]["max"]
    assert facts["statuses"] == {"truncated": 20}
    assert facts["reasons"] == {"max_steps": 20}
    assert facts["outcomes"] == {"ok": 80}
    assert facts["steps_per_s"] > 0


def test_the_same_seed_gives_the_same_run(invoke: Invoke) -> None:
    one, two, other = (summary(invoke, "calm.py", "--seed", seed) for seed in ("7", "7", "1007"))
    for facts in (one, two, other):
        for episode in facts["rollouts"]:
            del episode["seconds"]
    assert one["rollouts"] == two["rollouts"]
    assert [episode["return"] for episode in one["rollouts"]] != [
        episode["return"] for episode in other["rollouts"]
    ]


def test_a_seed_is_drawn_and_told(invoke: Invoke) -> None:
    facts = summary(invoke, "calm.py", "-n", "2")
    assert facts["rollouts"][0]["seed"] == facts["seed"]


def test_an_episode_that_does_not_end_is_left(invoke: Invoke) -> None:
    facts = summary(invoke, "echo", "-n", "2", "--max-steps", "3")
    assert facts["steps"] == 6
    assert facts["statuses"] == {"running": 2}


def test_the_environments_failures_are_unscored_and_fail_the_run(invoke: Invoke) -> None:
    facts = summary(invoke, "game.py", "-n", "30", "--seed", "0", "--timeout", "0.1", code=1)
    assert facts["outcomes"]["env_error"] == facts["statuses"]["unscored"] - facts["outcomes"]["timeout"]
    assert facts["episodes"] == 30
    failed = [episode for episode in facts["rollouts"] if episode["status"] == "unscored"]
    assert all(episode["return"] is None for episode in failed)
    assert len(facts["errors"]) == len(failed)
    assert any("nine is not allowed" in item["error"] for item in facts["errors"])


def test_only_deadlines_that_passed_is_code_7(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(GAME.replace("if move == 9:", "if move == 99:"))
    facts = summary(invoke, "slow.py", "-n", "8", "--seed", "0", "--timeout", "0.1", code=7)
    assert set(facts["outcomes"]) == {"ok", "timeout"}


def test_actions_that_a_server_refuses_are_counted(invoke: Invoke) -> None:
    with BackgroundServer(make_app(resolve("strict.py"))) as url:
        facts = summary(invoke, url, "-n", "2", "--max-steps", "5")
    assert facts["outcomes"] == {"invalid_action": 10}
    assert facts["steps"] == 0


def test_a_space_that_cannot_be_sampled_is_said(invoke: Invoke) -> None:
    result = invoke("run", "strict.py")
    assert result.exit_code == 2
    assert "say please" in result.stderr


def test_json_lines(invoke: Invoke) -> None:
    result = invoke("run", "calm.py", "-n", "2", "--seed", "1", "--jsonl")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["kind"] for line in lines] == [*(["reset"] + ["step"] * 4 + ["episode"]) * 2, "summary"]
    assert [line["step"] for line in lines[:5]] == [0, 1, 2, 3, 4]
    assert lines[1]["action"].keys() >= {"up"}
    assert lines[-1]["return"] == summary(invoke, "calm.py", "-n", "2", "--seed", "1")["return"]


def test_the_table(invoke: Invoke) -> None:
    result = invoke("run", "calm.py", "--seed", "1")
    words = [line.split()[0] for line in result.stdout.splitlines()]
    assert words == ["calm.py", "episodes", "steps", "return", "length", "ended", "outcomes", "speed", "seed"]
    assert "truncated 10  (max_steps 10)" in result.stdout
    assert result.stderr == ""


def test_errors_below_the_table(invoke: Invoke) -> None:
    result = invoke("run", "game.py", "-n", "40", "--seed", "0", "--timeout", "0.1")
    assert result.exit_code == 1
    assert "nine is not allowed" in result.stdout
    assert "more; --json lists them all" in result.stdout
