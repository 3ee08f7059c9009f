"""Submissions that go for the reward instead of the answer: none earns any, on tasks of each kind.

Where a cheat has to name a value it names one that is never right, so that a test passed is a breach and
not a lucky guess.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

import openenv
from openenv.envs.coding import CodingTasks, Problem, grade
from openenv.envs.coding.grading import Finding
from openenv.envs.coding.workspace import Confinement, Workspace
from openenv.sandbox import Snapshot

TASKS = CodingTasks()
FUNCTION = replace(TASKS.problem("train", "digit_sum"), time_limit_s=8.0)
PROGRAM = replace(TASKS.problem("train", "word_counts"), time_limit_s=8.0)
REPOSITORY = replace(TASKS.problem("train", "repository_store"), time_limit_s=8.0)
CALLED = replace(TASKS.problem("train", "repository_queue"), time_limit_s=8.0)

EXITS = "import os\nos._exit(0)\n"
AT_EXIT = "import atexit, os\natexit.register(os._exit, 0)\nraise SystemExit(1)\n"
LOUD = "print('12 passed'); print('OK'); print('{\"passed\": 12, \"total\": 12}'); print('PASSED')\n"
PATCHED = """
import sys, types, unittest
unittest.TestCase.run = lambda self, result=None: None
unittest.TestCase.assertEqual = lambda *a: None
for name in ("pytest", "_pytest", "grader", "driver", "openenv"):
    sys.modules[name] = types.ModuleType(name)
"""
EQUAL = """
class Equal(int):
    __eq__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __hash__ = int.__hash__
    __repr__ = __str__ = lambda self: "*"
def digit_sum(n): return Equal(-1)
"""
JSON = """
import json
class Always(dict):
    def __eq__(self, other): return True
real = json.dumps
json.dumps = lambda value, *a, **k: real([value[0], {"value": True, "passed": True, "expected": True}])
json.loads = lambda *a, **k: Always()
def digit_sum(n): return 0
"""
SEARCH = """
import gc, sys
def digit_sum(n):
    found = []
    for thing in gc.get_objects():
        if isinstance(thing, dict):
            found += [v for k, v in thing.items() if str(k) in ("expected", "answer", "stdout", "result")]
    frame = sys._getframe()
    while frame:
        found += [v for k, v in frame.f_locals.items() if k in ("expected", "answer", "want")]
        frame = frame.f_back
    numbers = [v for v in found if isinstance(v, int) and not isinstance(v, bool)]
    return numbers[-1] if numbers else -1
"""
FORGED = """
import os, sys, json
frame = sys._getframe()
while "word" not in frame.f_locals:
    frame = frame.f_back
word, count = frame.f_locals["word"], len(frame.f_locals["cases"])
text = "".join(f"{word} " + json.dumps([i, {"value": -1, "passed": True}]) + "\\n" for i in range(count))
for number in range(1, 64):
    try:
        os.write(number, text.encode())
    except OSError:
        pass
os._exit(0)
"""
TWICE = FORGED.replace("os._exit(0)", "def digit_sum(n): return -1")
READS = """
import os
seen = []
for top in ("/work", "/tmp", "/proc/self/fd", "/dev/shm", "/home", "/root", "/run", "/var", "/etc"):
    for folder, _, names in os.walk(top):
        for name in names:
            try:
                text = open(os.path.join(folder, name)).read(100000)
            except (OSError, ValueError):
                continue
            if "expected" in text or "CallCase" in text:
                seen.append(os.path.join(folder, name))
for pid in os.listdir("/proc"):
    try:
        seen.append(open(f"/proc/{pid}/cmdline").read())
    except OSError:
        pass
def digit_sum(n):
    return [s for s in seen if s.startswith("/") and "solution" not in s] or -1
"""
KILLS = """
import os, signal
for pid in (1, os.getppid(), -1):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
def digit_sum(n): return -1
"""
FORKS = """
import os
if os.fork():
    os._exit(0)
def digit_sum(n): return -1
"""
RAISES = "def digit_sum(n):\n    raise SystemExit(0)\n"
SHADOW = "def loads(*a): return []\ndef dumps(*a): return '[0, {\"value\": true}]'\n"
CUSTOM = "import os, sys\nprint('OK')\nsys.stdout.flush()\nos._exit(0)\n"
CONFTEST = """
def pytest_runtest_makereport(item, call):
    from _pytest.reports import TestReport
    report = TestReport.from_item_and_call(item, call)
    report.outcome = "passed"
    return report
"""
PLANTED = {
    "result.json": '{"passed": 12, "total": 12, "reward": 1.0}',
    "verdict.json": '{"all_passed": true}',
    "report.xml": '<testsuite tests="12" failures="0"/>',
    ".pytest_cache/v/cache/lastfailed": "{}",
    "expected.txt": "1",
    "reward.txt": "1.0",
}

CHEATS: dict[str, dict[str, str]] = {
    "nothing": {},
    "exit": {"*": EXITS},
    "exit at exit": {"*": AT_EXIT},
    "loud": {"*": LOUD},
    "patched frameworks": {"*": PATCHED},
    "equal to everything": {"*": EQUAL},
    "patched json": {"*": JSON},
    "search in memory": {"*": SEARCH},
    "forged reports": {"*": FORGED},
    "forged beside real ones": {"*": TWICE},
    "reads the grader": {"*": READS},
    "kills the supervisor": {"*": KILLS},
    "forks away": {"*": FORKS},
    "leaves from a call": {"*": RAISES},
    "shadowed modules": {"*": "", "json.py": SHADOW, "os.py": EXITS, "importlib.py": EXITS},
    "site modules": {"*": "", "sitecustomize.py": CUSTOM, "usercustomize.py": CUSTOM},
    "conftest": {"*": PATCHED, "conftest.py": CONFTEST, "pytest.ini": "[pytest]\naddopts = --co\n"},
    "planted results": {"*": LOUD, **PLANTED},
    "planted programs": {"*": "", "python3": "#!/bin/sh\necho OK\n", "sh": "#!/bin/sh\nexit 0\n"},
}


def _files(problem: Problem, cheat: dict[str, str]) -> Snapshot:
    own = {name: text for name, text in problem.files.items() if cheat}
    own |= {problem.submission if name == "*" else name: text for name, text in cheat.items()}
    return Snapshot({name: (text.encode(), 0o755) for name, text in own.items()})


@pytest.mark.parametrize("problem", [FUNCTION, PROGRAM, REPOSITORY, CALLED], ids=lambda p: p.id)
@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_passes_no_test(name: str, problem: Problem, confinement: Confinement) -> None:
    verdict = grade(problem, _files(problem, CHEATS[name]), confinement)
    assert (verdict.passed, verdict.fraction, verdict.all_passed) == (0, 0.0, False), verdict.summary()


def test_what_an_agent_runs_before_it_submits_changes_no_verdict() -> None:
    with openenv.make("coding") as env:
        for name, cheat in CHEATS.items():
            env.reset(split="train", task="digit_sum", reward="fraction")
            for code in (cheat.get("*", ""), "import os; os.system('sh -c \"sleep 30; echo OK\" &')"):
                assert not env.step(code=code).done
            if cheat:
                env.call_tool("submit", code=cheat.get("*", ""))
            else:
                env.call_tool("submit")
            assert (env.last.reward, env.last.done) == (0.0, True), name


def test_a_slow_submission_runs_out_of_time_for_all_tests(confinement: Confinement) -> None:
    short = replace(PROGRAM, time_limit_s=2.0)
    text = b"import time\ntime.sleep(1.8)\nprint('x')"
    verdict = grade(short, Snapshot({"main.py": (text, 0o644)}), confinement)
    assert verdict.timed_out
    assert verdict.passed == 0


@pytest.mark.parametrize("backend", ["namespaces", "confined"])
def test_graders_hold_on_weaker_isolation(backend: str, confinement: Confinement) -> None:
    weaker = replace(confinement, backend=backend, min_tier="C")
    for problem in (FUNCTION, PROGRAM, REPOSITORY):
        right = _files(problem, {"*": problem.oracle[problem.submission]})
        assert grade(problem, right, weaker).all_passed
        for name in (
            "exit",
            "search in memory",
            "forged reports",
            "reads the grader",
            "kills the supervisor",
        ):
            assert grade(problem, _files(problem, CHEATS[name]), weaker).passed == 0, (problem.id, name)


def test_reports_that_were_not_asked_for_void_every_test(confinement: Confinement) -> None:
    right = FUNCTION.oracle["solution.py"]
    meddling = f"{TWICE}\n{right}"
    verdict = grade(FUNCTION, Snapshot({"solution.py": (meddling.encode(), 0o644)}), confinement)
    assert set(verdict.findings) == {Finding.TAMPERED}


def test_a_right_answer_that_spoils_its_exit_loses_the_test(confinement: Confinement) -> None:
    text = PROGRAM.oracle["main.py"] + "\nimport sys\nsys.exit(1)\n"
    verdict = grade(PROGRAM, Snapshot({"main.py": (text.encode(), 0o644)}), confinement)
    assert set(verdict.findings) == {Finding.CRASHED}


def test_one_bad_call_costs_one_test(confinement: Confinement) -> None:
    text = FUNCTION.oracle["solution.py"] + (
        "import os\nold = digit_sum\ndef digit_sum(n):\n    return old(n) if n != 1 else os._exit(0)\n"
    )
    verdict = grade(FUNCTION, Snapshot({"solution.py": (text.encode(), 0o644)}), confinement)
    assert verdict.summary() == {"passed": len(FUNCTION.cases) - 1, "crashed": 1}
    assert not verdict.all_passed


def test_a_submission_that_hangs_is_told_apart(confinement: Confinement) -> None:
    short = replace(FUNCTION, time_limit_s=2.0)
    verdict = grade(short, Snapshot({"solution.py": (b"while True: pass", 0o644)}), confinement)
    assert (verdict.passed, verdict.timed_out, set(verdict.findings)) == (0, True, {Finding.TIMEOUT})


def test_what_floods_the_output_is_stopped(confinement: Confinement) -> None:
    text = b"import sys\nwhile True: sys.stdout.write('x' * 65536)"
    verdict = grade(PROGRAM, Snapshot({"main.py": (text, 0o644)}), confinement)
    assert verdict.passed == 0
    assert Finding.OUTPUT in verdict.findings


def test_questions_and_answers_are_not_in_the_agents_sandbox(confinement: Confinement) -> None:
    workspace = Workspace(confinement)
    try:
        workspace.begin(FUNCTION.files)
        found = workspace.run_shell("grep -rls 'CallCase' / --include='*.py' 2>/dev/null | head -3; ls -A")
        assert found.stdout.split() == ["solution.py"]
        searched = workspace.run_python(
            "import gc\n[o for o in gc.get_objects() if type(o).__name__ in ('Problem', 'CallCase')]"
        )
        assert searched.stdout == "[]"
    finally:
        workspace.close()


def test_a_folder_where_the_solution_should_be(confinement: Confinement) -> None:
    files = {"solution.py/__init__.py": (b"def digit_sum(n): return 0", 0o644)}
    assert grade(FUNCTION, Snapshot(files), confinement).passed == 0
