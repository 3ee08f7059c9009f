"""Problems with hidden tests, and the task set that hands them out.

A test is a question and the expected answer. Only questions enter the sandbox that runs a submission; the
answers stay in the server's process, which compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from openenv.errors import UsageError
from openenv.tasks import Task, TaskSet

FREE = "free"
"""Id and split of the episode that has no task."""


@dataclass(frozen=True)
class CallCase:
    """A call of a function of the submission.

    Attributes:
        args: positional arguments; JSON values.
        expected: the value that is right; tuples count as lists.
        target: ``module:function`` in the submission.
    """

    args: tuple[Any, ...]
    expected: Any
    target: str = "solution:solve"


@dataclass(frozen=True)
class RunCase:
    """A run of a program of the submission.

    Attributes:
        argv: the command, in the folder of the submission.
        stdin: what it reads.
        stdout: what it must print; white space at the end of lines and of the text does not count.
        exit_code: how it must end.
    """

    argv: tuple[str, ...]
    stdin: str
    stdout: str
    exit_code: int = 0

    def __post_init__(self) -> None:
        if not self.stdout.strip():
            raise UsageError("a test must expect output: an exit code alone is what any program can give")


Case = CallCase | RunCase


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        id: its name.
        kind: ``function``, ``program`` or ``repository``.
        prompt: what is asked.
        cases: the hidden tests.
        submission: the file that `submit` writes given code to.
        entry_point: name of the function that is asked for; empty where none is.
        files: what the work folder holds at the start.
        build: command that makes the submission ready, before the tests; empty for none.
        test_command: what an agent may run to try its work; judges nothing.
        oracle: files of a right solution.
        time_limit_s: seconds for one test, and for the build.
    """

    id: str
    kind: str
    prompt: str
    cases: tuple[Case, ...]
    submission: str = "solution.py"
    entry_point: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    build: tuple[str, ...] = ()
    test_command: str = ""
    oracle: Mapping[str, str] = field(default_factory=dict)
    time_limit_s: float = 10.0

    def __post_init__(self) -> None:
        if not self.cases:
            raise UsageError(f"problem {self.id!r} has no tests: an empty submission would pass")

    @cached_property
    def item(self) -> dict[str, Any]:
        """The item of a `TaskSet`: what the policy may know, and the problem itself as hidden answer."""
        return {
            "id": self.id,
            "kind": self.kind,
            "prompt": self.prompt,
            "submission": self.submission,
            "entry_point": self.entry_point,
            "files": dict(self.files),
            "test_command": self.test_command,
            "answer": self,
        }


class CodingTasks(TaskSet):
    """Problems in splits. A reset that names neither split nor task plays freely, without a task.

    Args:
        splits: problems by split; None for the built-in ones.
    """

    def __init__(self, splits: Mapping[str, Iterable[Problem]] | None = None) -> None:
        if splits is None:
            super().__init__({"train": _BuiltIn("train"), "test": _BuiltIn("test")})
        else:
            super().__init__({name: [one.item for one in problems] for name, problems in splits.items()})

    def select(self, *, seed: int, split: str | None = None, index: int | str | None = None) -> Task:
        """Return the task of an episode, as `TaskSet.select`; the free one if nothing is named."""
        if index == FREE or (split in (None, FREE) and index is None):
            return Task(FREE, 0, FREE)
        return super().select(seed=seed, split=split, index=index)

    def problem(self, split: str, index: int | str) -> Problem:
        """Return a problem, with its tests.

        Raises:
            TaskNotFoundError: there is none.
        """
        found = self.select(seed=0, split=split, index=index).answer
        if not isinstance(found, Problem):
            raise UsageError(f"{split}/{index} is no problem")
        return found

    def problems(self, split: str) -> list[Problem]:
        """Return the problems of a split."""
        return [self.problem(split, index) for index in range(self.num_tasks(split))]


class _BuiltIn:
    """The built-in problems of a split, each made when it is asked for."""

    def __init__(self, split: str) -> None:
        self._split = split

    def __len__(self) -> int:
        return len(self._makers)

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        item: dict[str, Any] = self._makers[index]().item
        return item

    @cached_property
    def _makers(self) -> list[Any]:
        from openenv.envs.coding.problems import built_in

        return built_in(self._split)
