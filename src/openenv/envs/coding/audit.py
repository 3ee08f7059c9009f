"""What the rewards pay for: fixed policies, played through the environment, with their returns.

    python -m openenv.envs.coding.audit --split test --tasks 5

A sound reward pays the oracle 1 on every task and everybody else 0. The exit code is 1 if it does not.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from openenv.envs.coding.environment import CodingEnvironment
from openenv.envs.coding.tasks import CodingTasks, Problem
from openenv.envs.coding.workspace import Confinement
from openenv.protocol.mcp_types import CallToolAction

Files = dict[str, str]
Policy = Callable[[Problem, random.Random], Files]
"""Given a problem, the files to write before submitting."""

_WORDS = (
    "0 1 -1 n x args None True False '' [] {} return pass print( ) def solve : + * if else for in range(3)"
)


def _oracle(problem: Problem, rng: random.Random) -> Files:
    return dict(problem.oracle)


def _no_op(problem: Problem, rng: random.Random) -> Files:
    return {}


def _empty(problem: Problem, rng: random.Random) -> Files:
    return dict.fromkeys({problem.submission, *problem.oracle}, "")


def _crashing(problem: Problem, rng: random.Random) -> Files:
    return {problem.submission: "raise RuntimeError('crashed')\n"}


def _random(problem: Problem, rng: random.Random) -> Files:
    words = _WORDS.split()
    body = " ".join(rng.choice(words) for _ in range(rng.randint(1, 8)))
    name = problem.entry_point or "main"
    text = f"def {name}(*args):\n    return {rng.choice(words)}\nprint({rng.choice(words)})\n{body}\n"
    return {problem.submission: text}


POLICIES: dict[str, Policy] = {
    "no-op": _no_op,
    "empty": _empty,
    "crashing": _crashing,
    "random": _random,
    "oracle": _oracle,
}
"""The policies, by name."""


@dataclass(frozen=True)
class Returns:
    """What one policy earned.

    Attributes:
        policy: its name.
        returns: the return of each episode, by the task's id.
        components: mean of each named part of the last reward.
    """

    policy: str
    returns: dict[str, float]
    components: dict[str, float]

    @property
    def mean(self) -> float:
        """Mean return."""
        return sum(self.returns.values()) / len(self.returns)

    @property
    def sound(self) -> bool:
        """Whether it earned what it should: the oracle 1 everywhere, everybody else 0."""
        due = 1.0 if self.policy == "oracle" else 0.0
        return all(value == due for value in self.returns.values())


def audit(
    split: str = "test",
    tasks: int | None = None,
    *,
    seed: int = 0,
    provider: CodingTasks | None = None,
    confinement: Confinement | None = None,
) -> list[Returns]:
    """Play every policy on the first tasks of a split.

    Args:
        split: the split.
        tasks: how many of its tasks; all by default.
        seed: seeds the random policy.
        provider: the tasks; the built-in ones by default.
        confinement: how the sandboxes are made.

    Raises:
        TaskNotFoundError: there is no such split.
        IsolationError: this machine cannot isolate as strongly as demanded.
    """
    from openenv import make

    source = provider or CodingTasks()
    problems = source.problems(split)[:tasks]

    class Audited(CodingEnvironment, name="coding", tasks=source):
        """The coding environment over these tasks."""

        def __init__(self) -> None:
            super().__init__(confinement)

    found = []
    with make(Audited) as env:
        for name, policy in POLICIES.items():
            rng = random.Random(f"audit/{seed}/{name}")  # noqa: S311 (reproducible by design)
            returns: dict[str, float] = {}
            sums: dict[str, float] = {}
            for problem in problems:
                env.reset(split=split, task=problem.id)
                total = 0.0
                for path, content in policy(problem, rng).items():
                    call = {"path": path, "content": content}
                    total += env.step(CallToolAction(tool_name="write_file", arguments=call)).reward or 0.0
                last = env.step(CallToolAction(tool_name="submit", arguments={}))
                returns[problem.id] = total + (last.reward or 0.0)
                for part, value in last.components.items():
                    sums[part] = sums.get(part, 0.0) + value
            means = {part: value / len(problems) for part, value in sums.items()}
            found.append(Returns(name, returns, means))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the audit; see the module."""
    parser = argparse.ArgumentParser(prog="python -m openenv.envs.coding.audit", description=__doc__)
    parser.add_argument("--split", default="test")
    parser.add_argument("--tasks", type=int, default=None, help="how many; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    given = parser.parse_args(arguments)
    found = audit(given.split, given.tasks, seed=given.seed)
    if given.json:
        document = [{"policy": r.policy, "returns": r.returns, "components": r.components} for r in found]
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        for one in found:
            values = one.returns.values()
            sys.stdout.write(
                f"{one.policy:<9} mean {one.mean:.3f}  min {min(values):g}  max {max(values):g}  "
                f"passed {one.components['passed_fraction']:.3f}  {'ok' if one.sound else 'UNSOUND'}\n"
            )
    return 0 if all(one.sound for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
