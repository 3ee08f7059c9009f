"""The checker: every villain is found by its own check and by no other, good environments by none."""

import asyncio
import logging
import os
import random
from pathlib import Path

import pytest
from pydantic import field_validator

import openenv
from openenv import Environment, Observation, Outcome, State, TaskSet, action, hidden, tool
from openenv.errors import OrderError
from openenv.protocol.mcp_types import (
    CallToolAction,
    CallToolObservation,
    ListToolsAction,
    ListToolsObservation,
    Tool,
    ToolError,
    ToolErrorType,
)
from openenv.testing import Report, Severity, assert_env, check_env, checks
from openenv.testing.checks import CHECKS
from openenv.types import Action

VILLAINS = Path(__file__).with_name("villains.py")
QUICK = {"budget_s": 0.3}


def villain(name: str) -> str:
    return f"{VILLAINS}:{name}"


def ids(report: Report) -> list[str]:
    return [finding.id for finding in report.findings]


@pytest.fixture(autouse=True)
def files_closed():
    """Close what the villain of open files leaves behind."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    for number in set(os.listdir("/proc/self/fd")) - before:
        path = f"/proc/self/fd/{number}"
        if os.path.exists(path) and os.readlink(path) == os.devnull:
            os.close(int(number))


@pytest.mark.parametrize("check", [check.id for check in CHECKS])
def test_each_villain_is_found_by_its_check_and_by_no_other(check):
    name = check.title().replace("-", "")
    report = check_env(villain(name), **QUICK)
    assert set(ids(report)) == {check}, report
    finding = report.findings[0]
    assert finding.message
    assert finding.fix
    lines = VILLAINS.read_text().splitlines()
    file, _, line = finding.location.rpartition(":")
    assert Path(file) == VILLAINS
    start = next(index for index, text in enumerate(lines) if text.startswith(f"class {name}("))
    end = next(
        index for index, text in enumerate([*lines[start + 1 :], "class "]) if text.startswith("class ")
    )
    inherited = check in {"hidden-values", "interleaved"} and lines[int(line) - 1].strip().startswith(
        "number"
    )
    assert start < int(line) <= start + end + 1 or inherited, (finding.location, lines[int(line) - 1])


def test_the_saint_is_found_by_none_and_every_check_runs():
    report = check_env(villain("Saint"), **QUICK)
    assert report.findings == []
    assert report.skipped == {}
    assert report.checks == [check.id for check in CHECKS]
    assert report.ok
    assert str(report).endswith(f"keeps the contract ({len(CHECKS)} checks)")


def test_the_documented_table_lists_the_checks_in_order():
    rows = [
        line.split()[0] for line in (checks.__doc__ or "").split("==\n")[2].splitlines() if line[:1].isalpha()
    ]
    assert rows == [check.id for check in CHECKS]


def test_shipped_environments_keep_the_contract():
    assert assert_env("echo", **QUICK).ok
    assert check_env("openenv.envs.echo:TypedEcho", **QUICK).ok


def test_an_environment_that_hangs_is_reported_with_its_line():
    report = check_env(villain("Hangs"), timeout_s=0.3)
    assert ids(report) == ["hangs"]
    assert "step did not return within 0.3 seconds" in report.findings[0].message
    line = int(report.findings[0].location.rpartition(":")[2])
    assert "time.sleep(3)" in VILLAINS.read_text().splitlines()[line - 1]


def test_what_is_declared_unrepeatable_is_not_compared():
    report = check_env(villain("Unrepeatable"), **QUICK)
    assert report.findings == []
    assert set(report.skipped) == {"seed-repeats", "reset-restarts", "hash-seed", "interleaved"}
    assert set(report.skipped.values()) == {"the class declares deterministic=False"}


def test_a_failed_check_keeps_those_that_build_on_it_from_running():
    report = check_env(villain("SeedRepeats"), **QUICK)
    assert report.skipped["hash-seed"] == "it builds on seed-repeats"
    assert "hash-seed" not in report.checks
    started = check_env(villain("Starts"), **QUICK)
    assert set(started.skipped.values()) == {"it builds on starts"}


class Async(Environment, max_steps=5):
    """An asynchronous environment bound to its loop."""

    total: int = 0

    async def reset(self) -> str:
        self.loop = asyncio.get_running_loop()
        self.total = 0
        await asyncio.sleep(0)
        return "ready"

    async def step(self, amount: int) -> int:
        assert asyncio.get_running_loop() is self.loop
        await asyncio.sleep(0)
        self.total += amount
        return self.total

    async def close(self):
        await asyncio.sleep(0)


class Tools(Environment, max_steps=5):
    """A bag."""

    items: list[str] = []

    def reset(self) -> str:
        self.items = []
        return "an empty bag"

    @tool
    def put(self, name: str) -> int:
        self.items.append(name)
        return len(self.items)

    @tool
    def take(self) -> Outcome[str]:
        if not self.items:
            raise LookupError("the bag is empty")
        return Outcome(self.items.pop(), reward=1.0)


class Actions(Environment, max_steps=5):
    """Two actions."""

    at: int = 0

    def reset(self) -> int:
        self.at = 0
        return 0

    @action
    def walk(self, steps: int) -> int:
        self.at += steps
        return self.at

    @action
    def rest(self) -> int:
        return self.at


class Move(Action):
    dx: int


class Where(Observation):
    x: int


class Published(Environment):
    """The published form: own state, no class keywords, never calls super().__init__()."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self):
        self._state = State()

    def reset(self, seed=None, episode_id=None, **kwargs):
        self._state = State(episode_id=episode_id, step_count=0)
        self._x = 0
        return Where(x=0)

    def step(self, action: Move, **kwargs):
        self._state.step_count += 1
        self._x += action.dx
        return Where(x=self._x, reward=0.0, done=self._state.step_count >= 3)

    @property
    def state(self):
        return self._state


class Quiz(
    Environment, max_steps=3, tasks=TaskSet([{"question": f"{n}?", "answer": f"no {n}"} for n in range(9)])
):
    """Answers a question."""

    def reset(self) -> str:
        return str(self.episode.task["question"])

    def step(self, text: str) -> Outcome[bool]:
        right = text == self.episode.task.answer
        return Outcome(right, reward=float(right), terminated=True)


class Leaking(Quiz):
    def reset(self) -> str:
        return f"{super().reset()} (It is {self.episode.task.answer})"


@pytest.mark.parametrize("kind", [Async, Tools, Actions, Published, Quiz])
def test_every_style_can_keep_the_contract(kind):
    report = check_env(kind, **QUICK)
    assert report.ok, report
    assert [finding for finding in report.findings if finding.severity is not Severity.NOTE] == []


def test_a_hidden_part_of_the_task_that_shows_is_found():
    report = check_env(Leaking, **QUICK)
    assert ids(report) == ["hidden-values"]
    assert "task.answer" in report.findings[0].message


def test_it_runs_inside_a_running_loop_and_for_local_classes():
    async def inside():
        class Local(Tools):
            pass

        return check_env(Local, **QUICK)

    report = asyncio.run(inside())
    assert report.ok
    assert "inside a function" in report.skipped["hash-seed"]


def test_a_factory_and_a_spec_are_targets_too():
    report = check_env(lambda: Published(), **QUICK)
    assert report.ok, report
    assert "made by a function" in report.skipped["hash-seed"]
    assert check_env(openenv.environment.describe(Published), **QUICK).ok


def test_one_session_at_a_time_is_not_interleaved():
    class Single(Published):
        SUPPORTS_CONCURRENT_SESSIONS = False

    assert "concurrent" in check_env(Single, **QUICK).skipped["interleaved"]


def test_a_constructor_that_raises_is_reported():
    class Broken(Tools):
        def __init__(self):
            raise OSError("no display")

    report = check_env(Broken)
    assert ids(report) == ["starts"]
    assert "the constructor failed" in report.findings[0].message
    assert "no display" in report.findings[0].message


def test_global_generators_and_the_log_level_are_as_before():
    random.seed(9)
    before = random.getstate(), logging.getLogger("openenv.session").level
    check_env(villain("GlobalRandom"), **QUICK)
    assert (random.getstate(), logging.getLogger("openenv.session").level) == before


def test_numpys_global_generator_is_watched_too():
    import numpy as np

    class Drawing(Tools):
        def reset(self) -> str:
            np.random.seed(5)
            return super().reset()

    report = check_env(Drawing, **QUICK)
    assert ids(report) == ["global-random"]
    assert "numpy.random" in report.findings[0].message
    assert (
        "np.random.seed(5)"
        in Path(__file__).read_text().splitlines()[int(report.findings[0].location.rpartition(":")[2]) - 1]
    )


class PublishedTools(Published):
    """Tools that only an instance knows."""

    def step(self, action: CallToolAction | ListToolsAction, **kwargs):
        if isinstance(action, ListToolsAction):
            schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
            return ListToolsObservation(tools=[Tool(name="add", description="Adds.", input_schema=schema)])
        self._state.step_count += 1
        if action.tool_name != "add":
            error = ToolError(error_type=ToolErrorType.TOOL_NOT_FOUND, message="no such tool")
            return CallToolObservation(tool_name=action.tool_name, error=error)
        self._x += action.arguments["n"]
        return CallToolObservation(tool_name="add", result=self._x, done=self._state.step_count > 3)


def test_tools_that_only_an_instance_knows_are_asked_for():
    report = check_env(PublishedTools, **QUICK)
    assert report.findings == [], report


class Careless(PublishedTools):
    def step(self, action: CallToolAction | ListToolsAction, **kwargs):
        seen = super().step(action)
        return (
            seen
            if isinstance(seen, ListToolsObservation) or not seen.error
            else CallToolObservation(tool_name="x")
        )


def test_a_tool_call_that_nothing_refuses_is_found():
    report = check_env(Careless, **QUICK)
    assert ids(report) == ["invalid-actions"]
    assert "no_such_tool" in report.findings[0].message
    assert "was carried out" in report.findings[0].message


class Effects(Environment, max_steps=5):
    """A validator that changes things."""

    class Move(Action):
        n: int

        @field_validator("n")
        @classmethod
        def counted(cls, value: int) -> int:
            if value > 50:
                Effects.refusals.append(value)
                raise ValueError("too large")
            return value

    refusals = []

    def step(self, action: Move) -> Observation:
        return Observation()

    @property
    def state(self):
        return {"refusals": len(self.refusals)}


def test_a_validator_with_effects_is_found():
    report = check_env(Effects, **QUICK)
    assert "invalid-actions" in ids(report)
    assert "changed the state" in next(f for f in report.findings if f.id == "invalid-actions").message


class Drifting(Environment, max_steps=8):
    """Refusals move its generator on."""

    def reset(self) -> str:
        return "go"

    def step(self, n: int) -> int:
        return self.rng.randint(0, 10**6)

    @property
    def state(self):
        return {}


class Impure(Drifting):
    class Move(Action):
        n: int

        @field_validator("n", mode="before")
        @classmethod
        def roll(cls, value):
            if current:
                current[-1].rng.random()
            return value

    def __init__(self):
        current[:] = [self]

    def step(self, action: Move) -> Observation:
        return Observation(metadata={"drawn": self.rng.randint(0, 10**6)})


current: list[Impure] = []


def test_refusals_that_change_what_follows_are_found():
    report = check_env(Impure, **QUICK)
    assert "goes another way" in next(f for f in report.findings if f.id == "invalid-actions").message


class Listing(Environment, max_steps=5):
    """Names all options, the hidden one among them."""

    choice: str = hidden("")

    def reset(self) -> str:
        self.choice = self.rng.choice("ABCD")
        return "Is it A, B, C or D?"

    def step(self, text: str) -> Outcome[str]:
        return Outcome("no" if text != self.choice else "yes", terminated=True)


class Showing(Listing):
    def reset(self) -> str:
        super().reset()
        return self.choice


def test_a_text_that_names_all_options_shows_none():
    assert check_env(Listing, **QUICK).findings == []
    report = check_env(Showing, **QUICK)
    assert ids(report) == ["hidden-values"]
    assert report.findings[0].severity is Severity.ERROR
    assert "is observation.result after reset" in report.findings[0].message


class Unready(Environment, max_steps=3, requires_reset=False):
    """Says it needs no reset, and refuses."""

    def reset(self) -> str:
        return "go"

    def step(self, n: int) -> int:
        if self.episode.id != "check":
            raise OrderError("reset me first")
        return n


def test_an_author_who_refuses_steps_that_are_allowed_is_told():
    report = check_env(Unready, **QUICK)
    assert ids(report) == ["order"]
    assert "and yet: reset me first" in report.findings[0].message


class Nan(Environment, max_steps=3):
    """Values on the edge of JSON."""

    def step(self) -> dict[str, float]:
        return {"x": float("nan")}


def test_values_that_json_changes_are_warnings():
    report = check_env(Nan, **QUICK)
    assert ids(report) == ["serializable"]
    assert report.findings[0].severity is Severity.WARNING
    assert "becomes null" in report.findings[0].message
    assert report.ok


class Unsteady(Tools):
    """Fails in its second session only."""

    made = 0

    def __init__(self):
        type(self).made += 1
        if type(self).made == 5:
            raise OSError("port in use")


def test_a_failure_in_the_middle_of_a_check_is_a_finding_of_that_check():
    report = check_env(Unsteady, **QUICK)
    failed = [finding for finding in report.findings if "port in use" in finding.message]
    assert len(failed) == 1
    assert failed[0].severity is Severity.ERROR
