"""The coding environment: the published action form and the tools, over one sandbox per session."""

from __future__ import annotations

import ast
from typing import Any

from openenv.environment import Environment, Transition
from openenv.environment.toolcalls import ToolCalls
from openenv.environment.toolset import marked_tools, tool_spec
from openenv.envs.coding.grading import Verdict, grade, unfit
from openenv.envs.coding.models import CodeAction, CodeObservation, CodeState
from openenv.envs.coding.tasks import CodingTasks, Problem
from openenv.envs.coding.toolbox import Toolbox
from openenv.envs.coding.transforms import named_transforms
from openenv.envs.coding.workspace import Confinement, Ran, Workspace
from openenv.errors import InvalidActionError, SandboxFileError, SandboxGoneError
from openenv.protocol.mcp_types import (
    CallToolAction,
    CallToolObservation,
    ListToolsAction,
    ListToolsObservation,
)
from openenv.sandbox import Snapshot
from openenv.transforms import CompositeTransform
from openenv.types import Outcome

_CALLS = ToolCalls(Toolbox, tuple(tool_spec(Toolbox, *named) for named in marked_tools(Toolbox).items()))
_REWARDS = ("all", "fraction")


class CodingEnvironment(
    Environment[CodeAction | CallToolAction | ListToolsAction, CodeObservation, CodeState],
    name="coding",
    version="1.0.0",
    host="thread",
    requires_reset=False,
    deterministic=False,
    tasks=CodingTasks(),
):
    """Write, run and submit code: real CPython and a shell in a sandbox, tasks with hidden tests.

    Args:
        confinement: how the sandboxes are made: the agent's and, apart from it, the grader's.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, confinement: Confinement | None = None) -> None:
        super().__init__()
        self._confinement = confinement or Confinement()
        self._workspace = Workspace(self._confinement)
        self._tools = Toolbox(self._workspace, self._submit)
        self._problem: Problem | None = None
        self._state = CodeState()
        self._credit, self._style = "all", 0.0
        self._scores: CompositeTransform | None = None

    def reset(
        self,
        *,
        episode_id: str | None = None,
        transforms: list[str] | None = None,
        reward: str = "all",
        style: float = 0.0,
    ) -> CodeObservation:
        """Start an episode in an empty work folder, with the task's files if a split or task is named.

        Args:
            episode_id: names it.
            transforms: scores of code by its looks: `safety`, `quality`; none by default.
            reward: of a submission: `all` pays 1 if every hidden test passes, `fraction` the part passed.
            style: part of the reward, 0 to 1, that goes by style where every test passes.

        Raises:
            InvalidActionError: an option makes no sense.
            IsolationError: this machine cannot isolate code as strongly as demanded.
        """
        if reward not in _REWARDS:
            raise _bad("reward", f"expected one of {', '.join(_REWARDS)}", reward)
        if isinstance(style, bool) or not isinstance(style, int | float) or not 0 <= style <= 1:
            raise _bad("style", "expected a number from 0 to 1", style)
        self._scores = named_transforms(transforms or [])
        self._credit, self._style = reward, float(style)
        task = self.episode.task
        self._problem = task.answer if task is not None else None
        self._workspace.begin(self._problem.files if self._problem else {})
        self._state = CodeState(episode_id=episode_id or self.episode.id)
        facts = {"task": task.public()} if task is not None and self._problem else {}
        return self._scored(CodeObservation(reward=0.0, metadata=facts))

    def step(self, action: CodeAction | CallToolAction | ListToolsAction) -> Any:
        """Run code, list the tools or call one.

        Args:
            action: what to do.

        Returns:
            `CodeObservation` for code, the tool family's observation for tools; with a submission's outcome.
        """
        self._count(action)
        if not isinstance(action, CodeAction):
            return self._call(action)
        if action.metadata.get("submit") is True:
            return self._handed_in(action.code)
        ran = self._workspace.run_python(action.code)
        self._note(ran)
        facts: dict[str, Any] = {"last_code": action.code}
        if ran.restarted:
            facts["restarted"] = True
        return self._scored(
            CodeObservation(
                stdout=ran.stdout, stderr=ran.stderr, exit_code=ran.exit_code, reward=0.0, metadata=facts
            )
        )

    @property
    def state(self) -> CodeState:
        """The published state."""
        return self._state

    def close(self) -> None:
        """End the sandbox."""
        self._workspace.close()

    # ------------------------------------------------------------------ steps

    def _count(self, action: CodeAction | CallToolAction | ListToolsAction) -> None:
        if isinstance(action, ListToolsAction):
            return
        state = self._state
        state.step_count += 1
        state.step = state.step_count
        state.last_action = action.model_dump(exclude={"metadata"})

    def _note(self, ran: Ran) -> None:
        self._state.last_exit_code, self._state.stdout = ran.exit_code, ran.stdout

    def _call(
        self, action: CallToolAction | ListToolsAction
    ) -> Outcome[CallToolObservation] | CallToolObservation | ListToolsObservation:
        made: Transition = _CALLS.step(self._tools, action, None, {})
        seen = made.observation
        ran = self._tools.take()
        if ran is not None:
            self._note(ran)
        if not isinstance(seen, CallToolObservation):
            return ListToolsObservation.model_validate(seen)
        if not made.done:
            seen.reward = 0.0 if seen.error is None else None
            return seen
        return Outcome(seen, terminated=True, reason=made.reason, components=made.components)

    def _handed_in(self, code: str) -> Outcome[CodeObservation]:
        if self._problem is None:
            raise _bad("metadata.submit", "expected a task to submit to: reset with a split or a task", True)
        outcome = self._submit(code)
        seen = CodeObservation(stdout=f"{outcome.value}\n", metadata={"last_code": code})
        return Outcome(
            seen, outcome.reward, terminated=True, reason=outcome.reason, components=outcome.components
        )

    def _scored(self, observation: CodeObservation) -> CodeObservation:
        changed: CodeObservation = observation if self._scores is None else self._scores(observation)
        return changed

    # ------------------------------------------------------------------ the end

    def _submit(self, code: str | None) -> Outcome[dict[str, Any]]:
        problem = self._problem
        if problem is None:
            raise ValueError("there is no task to submit to: reset with a split or a task")
        submission = Snapshot()
        try:
            if code is not None:
                self._workspace.sandbox.write(problem.submission, code)
            submission = self._workspace.submission()
            verdict = grade(problem, submission, self._confinement)
        except (SandboxFileError, SandboxGoneError) as error:
            # Files that cannot be handed in are the agent's doing: worth nothing, but a result.
            verdict = unfit(problem, error.message)
        data = submission.files.get(problem.submission, (b"", 0))[0]
        components = reward_components(verdict, style_score(data.decode("utf-8", "replace")))
        earned = components["all_passed" if self._credit == "all" else "passed_fraction"]
        if self._style and verdict.all_passed:
            earned = (1 - self._style) * earned + self._style * components["style"]
        told = {"passed": verdict.passed, "total": len(verdict.findings), "findings": verdict.summary()}
        return Outcome(told, reward=earned, terminated=True, reason="submitted", components=components)


def reward_components(verdict: Verdict, style: float) -> dict[str, float]:
    """Return the named parts of a submission's reward."""
    return {
        "passed_fraction": verdict.fraction,
        "all_passed": float(verdict.all_passed),
        "timeout": float(verdict.timed_out),
        "style": style,
    }


def style_score(source: str) -> float:
    """Score Python source by its looks, 0 to 1: it can be parsed, lines fit, functions say what they do."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return 0.0
    lines = [line for line in source.splitlines() if line.strip()]
    if not lines:
        return 0.0
    fitting = sum(len(line) <= 100 and line == line.rstrip() for line in lines) / len(lines)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    told = sum(ast.get_docstring(node) is not None for node in functions) / len(functions) if functions else 0
    return round((fitting + told) / 2, 4)


def _bad(name: str, wanted: str, given: Any) -> InvalidActionError:
    message = f"{name}: {wanted}, got {given!r}"
    entry = {"type": "value_error", "loc": [name], "msg": message, "input": given}
    return InvalidActionError(message, errors=[entry])
