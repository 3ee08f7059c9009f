"""The published form byte for byte, the tools, tasks and rewards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import openenv
from openenv.client import Env
from openenv.environment import describe
from openenv.envs.coding import CodeAction, CodingEnvironment, Problem, RunCase
from openenv.envs.coding.environment import style_score
from openenv.envs.coding.workspace import Confinement
from openenv.errors import InvalidActionError, TaskNotFoundError, UsageError
from openenv.protocol.mcp_types import CallToolAction
from openenv.protocol.plain import encode_result, encode_state
from openenv.sandbox import Limits
from openenv.session import Session


@pytest.fixture
def session() -> Iterator[Session]:
    made = Session(describe(CodingEnvironment))
    yield made
    made.close()


@pytest.fixture
def env() -> Iterator[Env]:
    with openenv.make("coding") as made:
        yield made


def _sent(session: Session, data: dict[str, Any]) -> Any:
    return json.loads(encode_result(session.step(session.spec.validate_action(data))))


def test_a_reset_is_the_published_one(session: Session) -> None:
    assert encode_result(session.reset(seed=1)) == (
        b'{"type":"observation","data":{"observation":{"metadata":{},"stdout":"","stderr":"","exit_code":0},'
        b'"reward":0.0,"done":false}}'
    )


@pytest.mark.parametrize(
    ("code", "stdout"),
    [
        ("x = 8", ""),
        ("6 * 7", "42"),
        ("print('a')", "a\n"),
        ("print('a')\n'q'", 'a\n\n"q"'),
        ("(1, 2.5, None)", "[1, 2.5, null]"),
        ("{1: 'x'}", '{"1": "x"}'),
        ("1 < 2", "true"),
        ("float('nan')", "NaN"),
        ("-float('inf')", "-Infinity"),
        ("object", "<class 'object'>"),
        ("{1}", "{1}"),
        ("'é'", '"\\u00e9"'),
        ("None", ""),
        ("", ""),
    ],
)
def test_code_is_answered_as_published(session: Session, code: str, stdout: str) -> None:
    session.reset(seed=1)
    text, shown = json.dumps(code, ensure_ascii=False), json.dumps(stdout, ensure_ascii=False)
    assert encode_result(session.step(session.spec.validate_action({"code": code}))).decode() == (
        f'{{"type":"observation","data":{{"observation":{{"metadata":{{"last_code":{text}}},'
        f'"stdout":{shown},"stderr":"","exit_code":0}},"reward":0.0,"done":false,'
        f'"metadata":{{"last_code":{text}}}}}}}'
    )


def test_the_schemas_are_the_published_ones() -> None:
    spec = describe(CodingEnvironment)
    assert spec.action_schema()["required"] == ["code"]
    assert list(spec.observation_schema()["properties"]) == [
        "done", "reward", "metadata", "stdout", "stderr", "exit_code",
    ]  # fmt: skip
    assert {"episode_id", "step_count", "last_exit_code", "step", "last_action", "stdout"} == set(
        spec.state_schema()["properties"]
    )


def test_the_state(session: Session) -> None:
    session.reset(seed=1, episode_id="e")
    _sent(session, {"code": "print(1)\nraise SystemExit(3)", "metadata": {"note": 1}})
    assert json.loads(encode_state(session.state())) == {
        "type": "state",
        "data": {
            "episode_id": "e",
            "step_count": 1,
            "last_exit_code": 3,
            "step": 1,
            "last_action": {"code": "print(1)\nraise SystemExit(3)"},
            "stdout": "1\n",
        },
    }


def test_an_error_keeps_what_was_printed(env: Env) -> None:
    env.reset()
    seen = env.step(code="print('before')\n1 / 0").observation
    assert (seen.stdout, seen.exit_code) == ("before\n", 1)
    assert seen.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert env.step(code="def broken(").observation.exit_code == 1


def test_names_stay_within_an_episode_and_no_longer(env: Env) -> None:
    env.reset()
    env.step(code="import math\ndef double(n):\n    return 2 * n")
    assert env.step(code="double(math.floor(3.5))").observation.stdout == "6"
    env.reset()
    assert "NameError" in env.step(code="double").observation.stderr


def test_a_session_that_died_is_replaced(env: Env) -> None:
    env.reset()
    seen = env.step(code="print('last', flush=True)\nimport os\nos._exit(0)").observation
    assert (seen.stdout, seen.exit_code, seen.metadata["restarted"]) == ("last\n", 137, True)
    assert env.step(code="1 + 1").observation.stdout == "2"


def test_time_is_up() -> None:
    environment = CodingEnvironment(Confinement(limits=Limits(wall_s=1.0)))
    try:
        environment.reset()
        seen = environment.step(CodeAction(code="print('begun', flush=True)\nwhile True: pass"))
        assert (seen.stdout, seen.exit_code) == ("begun\n", 124)
        assert environment.step(CodeAction(code="'alive'")).stdout == '"alive"'
        late = environment._workspace.run_shell("echo begun; sleep 60")
        assert (late.stdout, late.exit_code) == ("begun\n", 124)
    finally:
        environment.close()


def test_tools_share_files_and_session_with_code(env: Env) -> None:
    env.reset()
    assert [tool.name for tool in env.list_tools()] == [
        "run_python", "run_shell", "write_file", "read_file", "list_files", "submit",
    ]  # fmt: skip
    assert env.call_tool("write_file", path="a/b.py", content="N = 5\n") == {"path": "a/b.py", "bytes": 6}
    assert env.call_tool("read_file", path="a/b.py") == "N = 5\n"
    assert {"path": "a/b.py", "kind": "file", "bytes": 6} in env.call_tool("list_files")
    env.step(code="m = __import__('a.b', fromlist=['N']).N")
    assert env.call_tool("run_python", code="m + 1")["stdout"] == "6"
    ran = env.call_tool("run_shell", command="cat a/b.py; echo no >&2; exit 4")
    assert ran == {"stdout": "N = 5\n", "stderr": "no\n", "exit_code": 4}
    assert (env.state().last_exit_code, env.state().stdout, env.last.reward) == (4, "N = 5\n", 0.0)


def test_tools_that_fail_say_why(env: Env) -> None:
    env.reset()
    for name, arguments, outcome, words in [
        ("read_file", {"path": "missing"}, "tool_error", "missing"),
        ("list_files", {"path": "missing"}, "tool_error", "missing"),
        ("write_file", {"path": "x", "content": "y" * (2 << 20)}, "tool_error", "content: expected at most"),
        ("submit", {}, "tool_error", "no task to submit to"),
        ("nothing", {}, "invalid_action", "Unknown tool"),
        ("run_python", {"cod": "1"}, "invalid_action", "code"),
    ]:
        result = env.step(CallToolAction(tool_name=name, arguments=arguments))
        assert (result.outcome, result.reward, result.done) == (outcome, None, False)
        assert words in result.observation.error.message
    with pytest.raises(InvalidActionError, match=r"metadata\.submit"):
        env.step(code="1", metadata={"submit": True})
    assert env.call_tool("run_python", code="1")["exit_code"] == 0


def test_files_that_cannot_be_handed_in_are_worth_nothing(env: Env) -> None:
    for mess in ("mkdir solution.py", "head -c 20000000 /dev/zero > big"):
        env.reset(split="train", task="digit_sum")
        env.call_tool("run_shell", command=f"rm -f solution.py; {mess}")
        told = env.call_tool("submit", code="def digit_sum(n):\n    return sum(map(int, str(n)))")
        assert (told["passed"], env.last.reward, env.last.done) == (0, 0.0, True)


def test_a_task_is_solved_step_by_step(env: Env) -> None:
    first = env.reset(split="train", task="digit_sum")
    task = first.metadata["task"]
    assert (task["id"], task["kind"], task["entry_point"]) == ("digit_sum", "function", "digit_sum")
    assert "answer" not in json.dumps(task)
    assert "NotImplementedError" in env.call_tool("read_file", path="solution.py")
    env.call_tool("write_file", path="solution.py", content="def digit_sum(n):\n    return n % 9\n")
    told = env.call_tool("submit")
    assert 0 < told["passed"] < told["total"]
    assert (env.last.reward, env.last.done, env.last.reason) == (0.0, True, "submitted")
    env.reset(split="train", task="digit_sum", reward="fraction")
    env.call_tool("submit", code="def digit_sum(n):\n    return n % 9\n")
    assert env.last.reward == pytest.approx(told["passed"] / told["total"])
    assert env.last.components == {
        "passed_fraction": env.last.reward, "all_passed": 0.0, "timeout": 0.0, "style": 0.5,
    }  # fmt: skip


def test_a_code_action_can_hand_in(env: Env) -> None:
    env.reset(split="train", task="digit_sum")
    result = env.step(code="def digit_sum(n):\n    return sum(map(int, str(n)))", metadata={"submit": True})
    assert (result.reward, result.done, result.components["all_passed"]) == (1.0, True, 1.0)


def test_style_is_paid_only_where_it_was_asked_for_and_every_test_passes(env: Env) -> None:
    good = 'def digit_sum(n):\n    """Add digits."""\n    return sum(map(int, str(n)))\n'
    for code, reward in [(good, 1.0), (good.replace('    """Add digits."""\n', ""), 0.9), ("", 0.0)]:
        env.reset(split="train", task="digit_sum", style=0.2)
        env.call_tool("submit", code=code)
        assert env.last.reward == pytest.approx(reward)
    assert [style_score(text) for text in ("", "def (", "x = 1 \n")] == [0.0, 0.0, 0.0]


def test_the_seed_chooses_the_task(env: Env) -> None:
    chosen = {env.reset(seed=seed, split="test").metadata["task"]["id"] for seed in (1, 1, 2, 3, 4)}
    assert 1 < len(chosen) <= 4
    assert env.reset(seed=1, split="test").metadata == env.reset(seed=1, split="test").metadata
    assert env.reset(seed=1).metadata == {}
    with pytest.raises(TaskNotFoundError):
        env.reset(split="nowhere")


def test_options_that_make_no_sense(env: Env) -> None:
    for options in ({"transforms": ["beauty"]}, {"reward": "none"}, {"style": 2}, {"style": True}):
        with pytest.raises(InvalidActionError) as caught:
            env.reset(**options)
        assert next(iter(options)) in str(caught.value)


def test_published_scores_are_there_by_name(env: Env) -> None:
    env.reset(transforms=["safety", "quality"])
    assert env.last.reward == 0.0
    rewards = {
        "1 + 1": 0.1,
        "import os": -0.9,
        "from subprocess import run": -0.9,
        "eval('1')": -0.9,
        "print('import os')": 0.1,
        "def (": -0.1,
        "x = 1  #" + "-" * 100: 0.0,
    }
    for code, reward in rewards.items():
        assert env.step(code=code).reward == pytest.approx(reward), code
    env.reset()
    assert env.step(code="import os").reward == 0.0


def test_a_problem_needs_tests_that_expect_something() -> None:
    with pytest.raises(UsageError, match="no tests"):
        Problem("p", "function", "", ())
    with pytest.raises(UsageError, match="must expect output"):
        RunCase(("true",), "", " \n")
