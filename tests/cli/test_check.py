from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Invoke, openenv
from .environments import CALM, GAME


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    (tmp_path / "calm.py").write_text(CALM)
    (tmp_path / "bad.py").write_text(
        CALM.replace("self.total += 1 if up else -1", "self.total += id(self) % 7 + 1")
    )
    (tmp_path / "game.py").write_text(GAME)


def test_a_sound_environment(invoke: Invoke) -> None:
    result = invoke("check", "calm.py")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].startswith("calm.py keeps the contract: ")


def test_a_finding_names_place_and_fix(invoke: Invoke) -> None:
    result = invoke("check", "bad.py", "--seed", "3")
    assert result.exit_code == 1
    assert "  at " in result.stdout
    assert "bad.py:" in result.stdout
    assert "  fix: " in result.stdout
    assert "does not keep the contract" in result.stdout.splitlines()[-1]


def test_what_the_environment_prints_is_not_the_answer(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(CALM.replace("self.total += 1", 'print("LOUD"); self.total += 1', 1))
    done = openenv("check", "loud.py", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["target"] == "loud.py"
    assert "LOUD" in done.stderr


def test_as_json(invoke: Invoke) -> None:
    for target, ok in (("calm.py", True), ("bad.py", False)):
        document = json.loads(invoke("check", target, "--json").stdout)
        assert document["schema_version"] == 1
        assert document["target"] == target
        assert document["ok"] is ok
        assert len(document["checks"]) > 10
        for finding in document["findings"]:
            assert finding.keys() == {"id", "severity", "message", "location", "fix"}
