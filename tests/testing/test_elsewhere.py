"""Episodes in other processes."""

import sys
import types
from pathlib import Path

import pytest

from openenv.environment import describe
from openenv.testing import check_env
from openenv.testing.context import Context, Skipped
from openenv.testing.elsewhere import play_elsewhere
from openenv.testing.episodes import fingerprint
from openenv.testing.player import Stage

SOURCE = """
import os
from openenv import Environment

if os.environ.get("PYTHONHASHSEED", "") == os.environ.get("REFUSED", "none"):
    raise RuntimeError("not in this process")


class Walk(Environment, max_steps=3):
    at: int = 0

    def reset(self) -> int:
        print("noise on standard output")
        self.at = self.rng.randint(0, 9)
        return self.at

    def step(self, by: int) -> int:
        self.at += by
        return self.at
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "walk.py"
    path.write_text(SOURCE)
    return path


def context_of(target, cls):
    spec = describe(cls)
    return Context(target, spec, Stage(spec), (0,), 3, 1.0, 30.0)


def module_of(file: Path, name: str) -> types.ModuleType:
    """Execute a file as a module without import machinery, like a script."""
    module = types.ModuleType(name)
    module.__file__ = str(file)
    sys.modules[name] = module
    exec(compile(file.read_text(), str(file), "exec"), vars(module))
    return module


def test_the_same_episode_is_played_in_each_process(file, monkeypatch):
    module = module_of(file, "walk_of_a_script")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    context = context_of(module.Walk, module.Walk)
    here = fingerprint(context.reference(0))
    assert play_elsewhere(context, 0) == [here, here]


def test_an_environment_that_runs_nowhere_else_is_skipped_with_the_reason(file, monkeypatch):
    monkeypatch.setenv("REFUSED", "2")
    report = check_env(str(file), budget_s=0.1)
    assert report.findings == []
    assert list(report.skipped) == ["hash-seed"]
    assert report.skipped["hash-seed"].startswith("the environment does not run in another process: ")
    assert "RuntimeError: not in this process" in report.skipped["hash-seed"]


def test_a_class_without_a_file_is_skipped(file, monkeypatch):
    module = module_of(file, "walk_without_file")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    module.__file__ = None
    with pytest.raises(Skipped, match="in no file"):
        play_elsewhere(context_of(module.Walk, module.Walk), 0)
